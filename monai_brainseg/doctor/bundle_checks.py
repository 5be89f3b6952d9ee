"""Is a bundle fit to run? The model zoo's rules, MONAI's properties, MONAI Label's contract, versions, overlays."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigWorkflow

from monai_brainseg.errors import InputError
from monai_brainseg.findings import ERROR, NOTE, WARNING, Finding
from monai_brainseg.runs.commands import Command, load_config
from monai_brainseg.runs.config_checks import check_command
from monai_brainseg.runs.recipes import list_files
from monai_brainseg.serving.label_contract import check_contract
from monai_brainseg.serving.model_zoo import check_form, read_metadata
from monai_brainseg.serving.plain_networks import read_network

# Files that make a config, and its kind as MONAI names it.
_CONFIGS = {("train.yaml",): "train", ("inference.yaml",): "infer", ("inference.yaml", "evaluate.yaml"): "infer"}
_FRAMEWORKS = {"monai_version": "monai", "pytorch_version": "torch", "numpy_version": "numpy"}


class _Unread(ConfigWorkflow):
    """A workflow whose properties are looked up but not built, so that MONAI's check runs no code of the config."""

    def _get_property(self, name: str, property: dict) -> Any:  # noqa: A002 - MONAI's name
        try:
            found = self._get_prop_id(name, property)
        except KeyError as error:
            raise AttributeError(name) from error
        return None if found is None else self.parser[found]


def check_bundle(bundle: Path) -> list[Finding]:
    """Return what is wrong with a bundle; only networks of monai, torch and this package are built.

    Args:
        bundle: its folder.
    """
    found = [
        *check_form(bundle, weights=False),
        *_check_licence(bundle),
        *_check_versions(bundle / "configs" / "metadata.json"),
    ]
    for names, kind in _CONFIGS.items():
        files = [bundle / "configs" / name for name in names]
        if all(file.is_file() for file in files):
            found += _check_properties(files, kind)
    found += _check_plain(bundle)
    found += [
        replace(each, level=NOTE) if _waits_for_weights(each.where) else each
        for each in check_contract(bundle, served=False, trusted=False)
    ]
    return list(dict.fromkeys(found))


def _check_plain(bundle: Path) -> Iterator[Finding]:
    content = _load(bundle / "configs/inference.yaml")
    with suppress(InputError):  # a reference to nothing; building the network reports it
        if "network_def" in content and read_network(content) is None:
            what = "network_def is not only a network of monai, torch or this package: weights not compared"
            yield Finding(WARNING, bundle, what, "review the bundle's configs first")


def _waits_for_weights(where: str | Path) -> bool:
    """A bundle without weights of its own is complete: it can be trained."""
    return Path(where).name == "model.pt" and not Path(where).exists()


def check_overlays(bundle: Path, folder: Path) -> list[Finding]:
    """Return the overlays and recipes in ``folder`` that name an id which the bundle's configs lack.

    Overlays whose ``bundle_root`` names another bundle are not checked; the bundle's own ``multi_gpu_train.yaml`` and
    ``evaluate.yaml`` are.
    """
    configs, found = bundle / "configs", []
    evaluate = configs / "evaluate.yaml"
    own = [file for file in (configs / "multi_gpu_train.yaml", evaluate) if file.is_file()]
    for file in [*own, *sorted(folder.glob("*.yaml")), *sorted(folder.glob("recipes/*.yaml"))]:
        run_id, base = ("evaluating", "inference.yaml") if file == evaluate else ("training", "train.yaml")
        try:
            if Path(str(load_config(file).get("bundle_root", bundle))).name != bundle.resolve().name:
                continue
            check_command(Command(run_id, (str(configs / base), *map(str, list_files(file))), {}))
        except InputError as error:
            remedy = f"correct it, or use it on another bundle than {bundle.name}"
            found.append(Finding(ERROR, error.where, error.what, remedy))
    return found


def _check_licence(bundle: Path) -> Iterator[Finding]:
    if (bundle / "models").is_dir() and not (bundle / "docs" / "data_license.txt").is_file():
        where = bundle / "docs" / "data_license.txt"
        yield Finding(WARNING, where, "is missing, but weights have the licence of their data", "write it")


def _check_versions(file: Path) -> Iterator[Finding]:
    try:
        metadata = read_metadata(file)
    except InputError:
        return  # the check of the bundle's form reports it
    frameworks = {name: metadata[key] for key, name in _FRAMEWORKS.items() if key in metadata}
    for name, wanted in {**frameworks, **metadata.get("required_packages_version", {})}.items():
        yield from check_version(name, str(wanted), str(file))
    for name, wanted in metadata.get("optional_packages_version", {}).items():
        yield from (one for one in check_version(name, str(wanted), str(file)) if "not installed" not in one.what)


def check_version(name: str, wanted: str, where: str) -> Iterator[Finding]:
    """Yield findings about a package that ``where`` names with the version that was tested."""
    from packaging.version import InvalidVersion, Version

    try:
        here = version(name)
    except PackageNotFoundError:
        yield Finding(ERROR, where, f"{name} {wanted} is not installed", f"pip install '{name}'")
        return
    try:
        have, want = Version(here).release, Version(wanted).release
    except InvalidVersion:
        yield Finding(ERROR, where, f"{name}: {wanted!r} is not a version", "write one such as 1.2.3")
        return
    if have[:2] < want[:2]:
        yield Finding(WARNING, where, f"{name} is {here}, older than {wanted}", f"pip install '{name}>={wanted}'")
    elif have != want:
        yield Finding(NOTE, where, f"{name} is {here}, tested with {wanted}", "nothing to do unless a run fails")


def _check_properties(files: Sequence[Path], kind: str) -> Iterator[Finding]:
    logging.getLogger("monai.bundle.workflows").setLevel(logging.ERROR)
    file, given = files[-1], [str(each) for each in files]
    metadata = file.with_name("metadata.json")
    if not metadata.is_file():
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the other key for packages, which the model zoo requires
            workflow = _Unread(config_file=given, meta_file=str(metadata), logging_file=False, workflow_type=kind)
        missing = workflow.check_properties() or []
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        yield Finding(ERROR, file, f"MONAI cannot read it ({' '.join(str(error).split())[:120]})", "correct it")
        return
    for name in missing:
        id_ = workflow.properties[name]["id"] if workflow.properties else name
        yield Finding(ERROR, file, f"MONAI needs {name!r} as the id {id_!r}, which is missing", "add it")


def _load(file: Path) -> dict[str, Any]:
    try:
        return load_config(file)
    except (InputError, OSError):
        return {}  # reading it reports the problem


def read_settings(file: Path) -> dict[str, Any]:
    """Return the plain top-level values of a training config, which decide its time and memory."""
    return {name: value for name, value in _load(file).items() if isinstance(value, (int, float, list))}

"""A bundle in the format of MONAI's model zoo: as a zip, and the checks of the zoo's CI, offline.

The checks are those of ``ci/verify_bundle.py`` and ``CONTRIBUTING.md`` of the repository Project-MONAI/model-zoo. Left
out: the metadata's schema, which it downloads; instead, the keys are checked that the schema of 2024-07-25 requires.
`brainseg doctor` makes the same checks of a bundle that is not packed, which may lack weights.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser, ckpt_export, create_workflow, verify_net_in_out

from monai_brainseg.errors import InputError
from monai_brainseg.files import write_beside
from monai_brainseg.findings import ERROR, Finding, sum_up
from monai_brainseg.prediction.segmenters import load_network
from monai_brainseg.runs.bundle_folders import own_scripts
from monai_brainseg.runs.commands import load_config
from monai_brainseg.weights.checkpoints import SEEN, read_checkpoint

_MOST_MIB = 25  # a file of the zoo's repository; larger ones are listed as downloads in large_files.yml
_FILES = ("LICENSE", "configs/metadata.json", "configs/inference.yaml", "docs/README.md")
_WEIGHTS = "models/model.pt"
_KEYS = (
    "schema", "version", "changelog", "monai_version", "pytorch_version", "numpy_version", "name", "task",
    "description", "authors", "copyright", "network_data_format", "required_packages_version", "supported_apps",
)  # fmt: skip
_INFERENCE_KEYS = ("bundle_root", "device", "network_def", "inferer", "output_dir")


def write_archive(bundle: Path, weights: Path, output: Path) -> None:
    """Write a bundle and weights as a zip of one folder with the bundle's name, after every check has passed.

    What differs from the bundle's folder: ``bundle_root`` and the commands are relative to it; ``model.pt`` is a bare
    state dict, and ``seen.json`` holds the hashes of its patients; ``inference.json`` is beside the YAML, because
    ``monai.bundle.load`` reads only JSON.

    Args:
        bundle: its folder.
        weights: what ``models/model.pt`` is made of.
        output: the zip.

    Raises:
        InputError: the weights are another network's, or the bundle does not pass the checks.
    """
    load_network(bundle, [weights])
    name = bundle.resolve().name
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / name
        shutil.copytree(bundle, folder, ignore=shutil.ignore_patterns("__pycache__", ".*", "*.pt", "*.ts", "*.onnx"))
        _root_commands(folder, name)
        _write_weights(weights, folder / "models" / "model.pt")
        ConfigParser.export_config_file(
            ConfigParser.load_config_file(folder / "configs" / "inference.yaml"),
            str(folder / "configs" / "inference.json"),
            indent=2,
        )
        if findings := check_zoo_form(folder):
            raise sum_up(findings, {folder: bundle})
        with write_beside(output) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                # Without the time of writing, so that the same bundle gives the same bytes.
                entry = zipfile.ZipInfo(f"{name}/{file.relative_to(folder).as_posix()}")
                entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
                archive.writestr(entry, file.read_bytes())


def _root_commands(folder: Path, name: str) -> None:
    """Make paths in configs and documents relative to the bundle's own folder, like the zoo's."""
    for file in (*folder.glob("configs/*.yaml"), *folder.glob("docs/*.md")):
        text = re.sub(rf"^bundle_root: bundles/{name}$", "bundle_root: .", file.read_text(), flags=re.MULTILINE)
        file.write_text(text.replace(f"bundles/{name}/", ""))


def _write_weights(weights: Path, file: Path) -> None:
    content = read_checkpoint(weights)
    file.parent.mkdir(exist_ok=True)
    torch.save(OrderedDict(content["model"]), file)
    if seen := content.get("seen"):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        file.with_name(SEEN).write_text(json.dumps({"sha256": digest, "seen": seen}, indent=1) + "\n")


def check_zoo_form(folder: Path) -> list[Finding]:
    """Return what the zoo's CI would refuse in a bundle of the zoo's format; an empty list is a pass."""
    findings = [*check_form(folder, weights=True), *_check_sizes(folder)]
    with own_scripts(folder):
        return findings or [*_check_properties(folder), *_check_network(folder)]


def check_form(folder: Path, *, weights: bool) -> Iterator[Finding]:
    """Yield the files, metadata keys and ids that the zoo requires and a bundle lacks; its code is not run.

    Args:
        folder: of the bundle.
        weights: require its weights too.
    """
    for name in (*_FILES, _WEIGHTS) if weights else _FILES:
        if not _find_config(folder / name).is_file():
            yield Finding(ERROR, folder / name, "is missing, but the zoo requires it", "add it")
    yield from _check_metadata(folder / "configs" / "metadata.json")
    yield from _check_ids(_find_config(folder / "configs" / "inference.yaml"))


def _find_config(file: Path) -> Path:
    """Return the JSON in place of a missing YAML."""
    return file.with_suffix(".json") if file.suffix == ".yaml" and not file.is_file() else file


def _check_sizes(folder: Path) -> Iterator[Finding]:
    listed = folder / "large_files.yml"
    downloads = ConfigParser.load_config_file(listed)["large_files"] if listed.is_file() else []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        elsewhere = any(each["path"] == file.relative_to(folder).as_posix() for each in downloads)
        if file.stat().st_size > _MOST_MIB * 2**20 and not elsewhere:
            size = file.stat().st_size / 2**20
            what = f"has {size:.0f} MiB, but the zoo accepts at most {_MOST_MIB}"
            yield Finding(
                ERROR,
                file,
                what,
                "put it where it can be downloaded and list it in large_files.yml beside configs/, as `large_files: "
                "[{path: models/model.pt, url: ...}]`, or share the bundle's folder and the file as they are",
            )


def read_metadata(file: Path) -> dict[str, Any]:
    """Return a bundle's metadata.

    Raises:
        InputError: the file cannot be read, or its changelog or its lists of packages are not tables.
    """
    try:
        metadata: dict[str, Any] = dict(json.loads(file.read_bytes()))
        for name in {"changelog", "required_packages_version", "optional_packages_version"} & set(metadata):
            metadata[name] = dict(metadata[name] or {})
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:100]
        raise InputError(file, f"is not valid metadata ({reason})", "correct it") from error
    return metadata


def _check_metadata(file: Path) -> Iterator[Finding]:
    try:
        metadata = read_metadata(file)
    except InputError as error:
        yield Finding(ERROR, file, error.what, error.remedy)
        return
    for key in _KEYS:
        if key not in metadata:
            yield Finding(ERROR, file, f"has no '{key}', which the zoo requires", "add it")
    number = str(metadata.get("version"))
    if number not in metadata.get("changelog", {}):
        yield Finding(ERROR, file, f"version {number} is not in its changelog", "describe it there")


def _check_ids(file: Path) -> Iterator[Finding]:
    try:
        config = load_config(file)
    except (InputError, OSError):
        return  # reading it reports the problem
    for key in _INFERENCE_KEYS:
        if key not in config:
            yield Finding(ERROR, file, f"has no '{key}'", "add it: the zoo requires this id")


def _check_properties(folder: Path) -> Iterator[Finding]:
    """Require the properties that MONAI requires."""
    file = _find_config(folder / "configs" / "inference.yaml")
    workflow = create_workflow(
        workflow_type="inference",
        bundle_root=str(folder),
        config_file=str(file),
        logging_file=False,
        meta_file=str(folder / "configs" / "metadata.json"),
    )
    if missing := workflow.check_properties():
        yield Finding(ERROR, file, f"lacks the properties {', '.join(map(str, missing))}", "add them")


def _check_network(folder: Path) -> Iterator[Finding]:
    """Let MONAI run the network on inputs as in the metadata, and convert its weights to TorchScript."""
    known = {
        "net_id": "network_def",
        "meta_file": str(folder / "configs" / "metadata.json"),
        "config_file": str(folder / "configs" / "inference.yaml"),
        "bundle_root": str(folder),
    }
    weights = folder / "models" / "model.pt"
    try:
        verify_net_in_out(**known, device="cpu", n=4)
    except (RuntimeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        yield Finding(
            ERROR, Path(known["meta_file"]), f"the network does not match it ({reason})", "correct network_data_format"
        )
    try:
        with tempfile.TemporaryDirectory() as temporary:
            ckpt_export(**known, ckpt_file=str(weights), filepath=str(Path(temporary) / "verified.ts"))
    except (RuntimeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        yield Finding(ERROR, weights, f"cannot be converted to TorchScript ({reason})", "write it for torch.jit.script")

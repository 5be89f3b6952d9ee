"""``brainseg doctor``: is this bundle, this machine, this data set fit to run? Offline, in seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from monai_brainseg.errors import InputError
from monai_brainseg.findings import ERROR, NOTE, WARNING, Finding

_REPOSITORY = Path(__file__).resolve().parents[2]
_PACKAGE = "monai-brainseg"


@dataclass
class Examination:
    """What the doctor found.

    Attributes:
        findings: all findings, the most serious first.
        facts: lines about the machine, the data, and the time and memory of a training.
    """

    findings: list[Finding] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)


def examine(bundle: str, dataset_dir: Path | None = None, output_dir: Path = Path("runs")) -> Examination:
    """Examine everything that a run needs; nothing is written, no network is used.

    Args:
        bundle: name or folder.
        dataset_dir: a prepared folder; None leaves the data out.
        output_dir: where runs would be written.

    Raises:
        InputError: there is no such bundle.
    """
    # MONAI takes seconds to load; a mistyped bundle is reported before.
    from monai_brainseg.runs.bundle_folders import find_bundle

    folder = find_bundle(bundle, "train.yaml", "inference.yaml")
    from monai_brainseg.doctor import bundle_checks
    from monai_brainseg.runs import machine_checks

    found = Examination()
    found.facts.append(f"machine: {machine_checks.describe(output_dir)}")
    found.findings += [*_check_requirements(), *_check_constraints()]
    found.findings += [*machine_checks.check_disk(output_dir), *machine_checks.check_gpu()]
    found.findings += bundle_checks.check_bundle(folder)
    found.findings += bundle_checks.check_overlays(folder, _find_overlays())
    if dataset_dir is not None:
        _examine_data(found, folder, dataset_dir)
    order = [ERROR, WARNING, NOTE]
    found.findings = sorted(dict.fromkeys(found.findings), key=lambda advice: order.index(advice.level))
    return found


def _find_overlays() -> Path:
    return Path("configs") if Path("configs/recipes").is_dir() else _REPOSITORY / "configs"


def _check_requirements() -> Iterator[Finding]:
    """Yield required packages that are missing or have a wrong version."""
    from packaging.requirements import Requirement

    for text in _list_requirements():
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            here = version(wanted.name)
        except PackageNotFoundError:
            yield Finding(ERROR, wanted.name, "is not installed", f"pip install '{wanted}'")
            continue
        if not wanted.specifier.contains(here, prereleases=True):
            yield Finding(ERROR, wanted.name, f"is {here}, but {wanted.specifier} is needed", f"pip install '{wanted}'")


def _list_requirements() -> list[str]:
    """Return what the package requires; a source tree that is not installed lists it in ``setup.cfg``."""
    try:
        return requires(_PACKAGE) or []
    except PackageNotFoundError:
        settings = ConfigParser()
        settings.read(_REPOSITORY / "setup.cfg")
        return settings.get("options", "install_requires", fallback="").split("\n")[1:]


def _check_constraints() -> Iterator[Finding]:
    """Yield what is installed in another version than the tests ran with."""
    from monai_brainseg.doctor.bundle_checks import check_version

    file = _REPOSITORY / "constraints.txt"
    for line in file.read_text().splitlines() if file.is_file() else ():
        name, _, wanted = line.partition("==")
        if wanted:
            optional = check_version(name.strip(), wanted.strip(), file.name)
            yield from (advice for advice in optional if "not installed" not in advice.what)


def _examine_data(found: Examination, bundle: Path, dataset_dir: Path) -> None:
    from monai_brainseg.data.splits import read_datalist
    from monai_brainseg.doctor import bundle_checks
    from monai_brainseg.runs import machine_checks

    try:
        datalist = read_datalist(dataset_dir)
    except InputError as error:
        found.findings.append(Finding(ERROR, error.where, error.what, error.remedy))
        return
    items = [*datalist["training"], *datalist["test"]]
    found.findings += machine_checks.check_files(items)
    settings = bundle_checks.read_settings(bundle / "configs" / "train.yaml")
    load = machine_checks.measure_load(datalist["training"], settings)
    found.facts.append(
        f"data: {load.training} patients to train on, {load.validation} to validate on, {len(items)} in all"
    )
    if not load.training or not load.validation:
        what = f"no patient {'outside' if load.validation else 'in'} fold {settings.get('fold')}"
        found.findings.append(Finding(ERROR, dataset_dir, what, "give --fold, or prepare again with more folds"))
    _estimate(found, bundle, settings, load)


def _estimate(found: Examination, bundle: Path, settings: Mapping[str, Any], load: Any) -> None:
    """Add the time and memory of a training, from one small step of the bundle's network, if that is safe to build."""
    from monai_brainseg.runs import machine_checks
    from monai_brainseg.runs.commands import load_config
    from monai_brainseg.runs.slice_sizes import GIB
    from monai_brainseg.runs.workloads import estimate_epoch, measure_workload
    from monai_brainseg.serving.plain_networks import make_network, read_network

    train = bundle / "configs" / "train.yaml"
    try:
        definition = read_network(load_config(train))
        if definition is None or "patch_size" not in settings:
            found.facts.append("estimate: none, because the network is not only of monai, torch and this package")
            return
        workload = measure_workload(make_network(definition), settings, int(definition.get("in_channels", 3)))
    except Exception as error:  # any error of an unknown network
        reason = " ".join(str(error.__cause__ or error).split())[:120]
        found.findings.append(Finding(ERROR, train, f"network_def cannot be trained ({reason})", "correct it"))
        return
    seconds = estimate_epoch(workload, load.training, settings)
    on_cpu = workload.device == "cpu"
    base, step = machine_checks.BASE_BYTES, workload.step_bytes
    peak = load.cache + (load.slices + max(step, base) if on_cpu else base)
    gpu = "" if on_cpu else f", {(step + load.slices) / GIB:.1f} GiB on the GPU"
    found.facts.append(
        f"estimate: an epoch about {_say_time(seconds)} without validation ({workload.slices_per_second:.0f} slices a "
        f"second in {workload.precision} on {workload.device}), {settings.get('epochs', '?')} epochs; peak memory "
        f"about {peak / GIB:.1f} GiB{gpu}"
    )
    found.findings += machine_checks.check_memory(load, workload.step_bytes if on_cpu else 0.0)


def _say_time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def format_examination(found: Examination) -> str:
    """Return what is printed: facts, findings, and how many there are."""
    levels = Counter(advice.level for advice in found.findings)
    total = f"{levels[ERROR]} errors, {levels[WARNING]} warnings, {levels[NOTE]} notes"
    return "\n".join([*found.facts, *map(str, found.findings), total])

"""Can this machine run a training: disk, memory, GPU, and the time and memory that it takes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil

from monai_brainseg.data.splits import Item
from monai_brainseg.errors import InputError
from monai_brainseg.findings import ERROR, NOTE, WARNING, Finding
from monai_brainseg.runs.slice_sizes import GIB, count_bytes

# What a run writes besides its masks: weights, optimiser state and TensorBoard of the U-Net bundle are 0.3 GB.
_DISK_LEAST, _DISK_ENOUGH = 64 * 2**20, GIB
_CONTAINER = Path("/sys/fs/cgroup")
_VALIDATION_BYTES = 3 * 2  # a cached voxel on the network's grid: three channels in float16; of the label 1 on its own
# Libraries and one step of the U-Net bundle: 1.57 GiB of 68 patients less their 6 MB each.
BASE_BYTES = 1.2 * GIB


@dataclass(frozen=True)
class Load:
    """What a training reads and keeps.

    Attributes:
        training: volumes that are trained on.
        validation: volumes that are validated on.
        slices: bytes of the training slices that a process keeps on its device.
        cache: bytes of the validation volumes that are kept in memory.
        processes: that train on this machine.
    """

    training: int
    validation: int
    slices: float
    cache: float
    processes: int = 1


def check_disk(folder: Path) -> Iterator[Finding]:
    """Yield findings about the disk that ``folder`` will be written to; the folder need not exist."""
    place = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    if not os.access(place, os.W_OK):
        yield Finding(ERROR, folder, "cannot be written to", "choose another --output_dir, or change its permissions")
    free = shutil.disk_usage(place).free
    if free < _DISK_ENOUGH:
        level = ERROR if free < _DISK_LEAST else WARNING
        yield Finding(
            level, folder, f"has {free / 2**20:.0f} MiB of disk free", "free some space, or choose another disk"
        )


def find_memory() -> tuple[int, int]:
    """Return bytes of memory that are free and that there are, within a container's limit."""
    memory = psutil.virtual_memory()
    limit, used = (_read_number(_CONTAINER / name) for name in ("memory.max", "memory.current"))  # unknown to psutil
    if limit is not None and used is not None and limit < memory.total:
        return min(memory.available, max(0, limit - used)), limit
    return memory.available, memory.total


def _take(settings: Mapping[str, Any], name: str, default: float) -> float:
    value = settings.get(name, default)
    return value if isinstance(value, (int, float)) else default  # MONAI evaluates expressions


def _read_number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def check_gpu() -> Iterator[Finding]:
    """Yield a warning if there is an NVIDIA GPU that torch cannot use."""
    import torch

    if not torch.cuda.is_available() and Path("/proc/driver/nvidia/version").is_file():
        build = "is built for the CPU" if torch.version.cuda is None else f"is built for CUDA {torch.version.cuda}"
        yield Finding(WARNING, "GPU", f"is there, but this torch {build}", "install the build for your driver")


def measure_load(items: Sequence[Item], settings: Mapping[str, Any]) -> Load:
    """Read the headers of a datalist's training part and return what a training with these settings keeps.

    Args:
        items: entries of the training part.
        settings: ``fold``, ``pixel_size``, ``patch_size``, ``slice_memory`` and ``cache_num`` of the config.
    """
    fold, most = _take(settings, "fold", 0), int(_take(settings, "cache_num", 0))
    training = [item for item in items if item.get("fold") != fold]
    validation = [item for item in items if item.get("fold") == fold]
    kept = sorted(_count_validation_bytes(Path(item["image"][0]), settings) for item in validation)[::-1][:most]
    # Of several processes, each keeps a part of the training volumes; those of a machine share its memory.
    processes, here = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    bound = _take(settings, "slice_memory", 0) * GIB
    slices = min(sum(_count_slice_bytes(item) for item in training) / processes, bound)
    return Load(len(training), len(validation), slices, sum(kept), here)


def _count_slice_bytes(item: Item) -> int:
    try:
        return count_bytes(item)
    except InputError:  # said by the check of the files
        return 0


def _count_validation_bytes(file: Path, settings: Mapping[str, Any]) -> float:
    """Return what a volume on the network's grid and its label take in memory; only the header is read."""
    try:
        image = nib.load(file)
        shape, spacing = np.array(image.shape[:3], float), np.array(image.header.get_zooms()[:3], float)
    except Exception:  # said by the check of the files
        return 0.0
    pixel = _take(settings, "pixel_size", 1.0)
    voxels = (shape[:2] * spacing[:2] / pixel).prod() * shape[2]
    return float(voxels * _VALIDATION_BYTES + shape.prod())


def check_memory(load: Load, step: float = 0.0) -> Iterator[Finding]:
    """Yield findings about the memory that a training takes; ``step`` is what one step takes on the CPU."""
    import torch

    on_gpu = torch.cuda.is_available()
    available, _ = find_memory()
    free = torch.cuda.mem_get_info()[0] if on_gpu else available / load.processes
    if load.slices > free:
        what = f"the training slices take {load.slices / GIB:.1f} GiB, but {free / GIB:.1f} GiB are free"
        yield Finding(ERROR, "GPU" if on_gpu else "memory", what, f"give --slice_memory {0.5 * free / GIB:.2g}")
    need = (load.cache + max(BASE_BYTES, step) + (0 if on_gpu else load.slices)) * load.processes
    if need > available:
        what = f"a training takes about {need / GIB:.1f} GiB, but {available / GIB:.1f} GiB are free"
        yield Finding(
            WARNING, "memory", what, "end other programs, or lower --slice_memory, --cache_num or --batch_size"
        )


def check_start(output_dir: Path, items: Sequence[Item], settings: Mapping[str, Any]) -> list[Finding]:
    """Return the findings that are quick to get when a training starts: disk and memory."""
    found = list(check_disk(output_dir))
    if items and "cache_num" in settings:
        found += check_memory(measure_load(items, settings))
    return found


def describe(output_dir: Path) -> str:
    """Return one line about the machine."""
    import torch

    from monai_brainseg.records import describe_machine

    free, total = find_memory()
    place = next(parent for parent in (output_dir.absolute(), *output_dir.absolute().parents) if parent.exists())
    disk, threads = shutil.disk_usage(place).free, torch.get_num_threads()
    memory = f"{free / GIB:.1f} of {total / GIB:.1f} GiB of memory free"
    return f"{describe_machine()}, {threads} threads; {memory}, {disk / GIB:.1f} GiB of disk free"


def check_files(items: Sequence[Item]) -> Iterator[Finding]:
    """Yield errors where the headers of a case's files disagree; voxels are not read, `brainseg check` does."""
    for item in items:
        shapes = {}
        for file in (*item["image"], item["label"]):
            try:
                shapes[file] = tuple(nib.load(file).shape[:3])
            except Exception as error:  # nibabel raises a dozen kinds
                reason = " ".join(str(error).split())[:100]
                yield Finding(ERROR, file, f"cannot be read ({reason})", "write it again with brainseg prepare")
        if len(set(shapes.values())) > 1:
            grids = ", ".join("x".join(map(str, shape)) for shape in shapes.values())
            yield Finding(
                ERROR, item["label"], f"the files of {item['patient']} differ in size ({grids})", "prepare again"
            )
    listed = {Path(file).resolve() for item in items for file in (*item["image"], item["label"])}
    folders = {file.parent for file in listed}
    extra = sorted(file for folder in folders for file in folder.glob("*.nii.gz") if file.resolve() not in listed)
    if extra:
        what = f"is one of {len(extra)} files that the datalist does not list"
        yield Finding(NOTE, extra[0], what, "remove them, or write the folder again with brainseg prepare")

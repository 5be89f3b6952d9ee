"""Finding on the machine: disk, memory and cores, also where they cannot be known."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from support.bundle_runs import BUNDLE

from monai_brainseg.data.splits import read_datalist
from monai_brainseg.doctor.examination import examine
from monai_brainseg.findings import ERROR
from monai_brainseg.runs import machine_checks
from monai_brainseg.runs.machine_checks import (
    GIB,
    Load,
    check_disk,
    check_memory,
    check_start,
    find_memory,
    measure_load,
)
from monai_brainseg.runs.processors import list_cores, read_peak_memory


def test_machine_with_room_has_nothing_to_say(tmp_path: Path) -> None:
    assert list(check_disk(tmp_path / "not" / "yet")) == []
    assert check_start(tmp_path, [], {}) == []


def test_slices_that_the_device_has_no_memory_for_are_an_error_that_names_a_fitting_number() -> None:
    errors = [advice for advice in check_memory(Load(1, 1, 1e6 * GIB, 0.0)) if advice.level == ERROR]
    assert [advice.what.split(", but ")[0] for advice in errors] == ["the training slices take 1000000.0 GiB"]
    assert "give --slice_memory " in errors[0].remedy


def test_machine_without_affinity_and_resource_is_examined_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepared_phantoms: Path
) -> None:
    """As on Windows, where the peak of the memory is psutil's, and on macOS, where any core may be used."""
    monkeypatch.delattr(psutil.Process, "cpu_affinity")
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr(psutil.Process, "memory_info", lambda process: SimpleNamespace(peak_wset=GIB))
    assert list_cores() == list(range(psutil.cpu_count() or 1))
    assert read_peak_memory() == GIB
    assert check_start(tmp_path, read_datalist(prepared_phantoms)["training"], {"cache_num": 1}) == []
    found = examine(str(BUNDLE), prepared_phantoms)
    assert "of memory free" in found.facts[0]
    assert any("slices a second" in fact for fact in found.facts)


def test_the_peak_of_the_memory_grows_with_what_is_held() -> None:
    before = read_peak_memory()
    held = np.ones((before + GIB // 4) // 8)
    assert read_peak_memory() - before > GIB // 8
    del held


def test_the_memory_of_a_container_is_what_its_limit_leaves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine_checks, "_CONTAINER", tmp_path)
    free, total = find_memory()
    assert 0 < free <= total == psutil.virtual_memory().total
    (tmp_path / "memory.current").write_text(f"{2**20}\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert find_memory()[1] == total
    (tmp_path / "memory.max").write_text(f"{2**22}\n")
    assert find_memory() == (3 * 2**20, 2**22)


def test_load_counts_both_sides_of_the_fold_and_the_cache(prepared_phantoms: Path) -> None:
    items = read_datalist(prepared_phantoms)["training"]
    settings = {"fold": 0, "pixel_size": 1.0, "patch_size": [32, 32], "cache_num": 100, "slice_memory": 4}
    load = measure_load(items, settings)
    assert (load.training, load.validation) == (4, 4)
    assert load.slices == 4 * 64 * 64 * 8 * 8
    assert load.cache == 4 * 64 * 64 * 8 * (6 + 1)
    assert measure_load(items, settings | {"cache_num": 0}).cache == 0
    assert measure_load(items, settings | {"slice_memory": 0.0005}).slices == 0.0005 * GIB

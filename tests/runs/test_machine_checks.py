"""Finding on the machine: disk, memory and cores, also where they cannot be known."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from monai.bundle import ConfigParser
from support.bundle_runs import BUNDLE

from monai_brainseg.data.splits import read_datalist
from monai_brainseg.doctor.checks import examine
from monai_brainseg.findings import ERROR
from monai_brainseg.runs import machine_checks
from monai_brainseg.runs.commands import load_config
from monai_brainseg.runs.machine_checks import GIB, Load, check_disk, check_memory, check_start, measure_load


def test_machine_with_room_has_nothing_to_say(tmp_path: Path) -> None:
    assert list(check_disk(tmp_path / "not" / "yet")) == []
    assert check_start(tmp_path, [], {}) == []


def test_slices_that_the_device_has_no_memory_for_are_an_error_that_names_a_fitting_number() -> None:
    errors = [advice for advice in check_memory(Load(1, 1, 1e6 * GIB, 0.0)) if advice.level == ERROR]
    assert [advice.what.split(" and ")[0] for advice in errors] == ["the training slices take 1000000.0 GiB"]
    assert "give --slice_memory " in errors[0].remedy


def test_machine_that_is_no_linux_leaves_out_what_it_cannot_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepared_phantoms: Path
) -> None:
    """As on macOS and Windows: no affinity, no /proc, and no module `resource`."""
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(machine_checks, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setitem(sys.modules, "resource", None)
    assert machine_checks.find_memory() is None
    assert list(machine_checks.check_memory(Load(1, 1, 1e15, 1e15))) == []
    assert check_start(tmp_path, read_datalist(prepared_phantoms)["training"], {"cache_num": 1}) == []
    found = examine(str(BUNDLE), prepared_phantoms)
    assert "of memory free" not in found.facts[0]
    assert any("slices a second" in fact for fact in found.facts)
    config = load_config(BUNDLE / "configs/train.yaml")
    workers = ConfigParser({name: config[name] for name in ("imports", "reading_threads")})
    assert 1 <= workers.get_parsed_content("reading_threads") <= 8


def test_load_counts_both_sides_of_the_fold_and_the_cache(prepared_phantoms: Path) -> None:
    items = read_datalist(prepared_phantoms)["training"]
    settings = {"fold": 0, "pixel_size": 1.0, "patch_size": [32, 32], "cache_num": 100, "slice_memory": 4}
    load = measure_load(items, settings)
    assert (load.training, load.validation) == (4, 4)
    assert load.slices == 4 * 64 * 64 * 8 * 8
    assert load.cache == 4 * 64 * 64 * 8 * (6 + 1)
    assert measure_load(items, settings | {"cache_num": 0}).cache == 0
    assert measure_load(items, settings | {"slice_memory": 0.0005}).slices == 0.0005 * GIB

"""Dealing slices to folds: each once, each fold its number, every patient on both sides in its share."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_brainseg.benchmarking.slice_splits import deal_slices
from monai_brainseg.data.splits import read_datalist
from monai_brainseg.errors import InputError

patients = st.lists(st.lists(st.booleans(), min_size=20, max_size=60), min_size=2, max_size=12)


@given(patients, st.integers(2, 5), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_each_slice_is_in_one_fold_and_every_patient_in_every_fold(
    tumor: list[list[bool]], folds: int, seed: int
) -> None:
    total = sum(map(len, tumor))
    sizes = [len(part) for part in np.array_split(np.arange(total), folds)]
    dealt = deal_slices([np.array(shows) for shows in tumor], sizes, np.random.default_rng(seed))
    assert [len(fold) for fold in dealt] == [len(shows) for shows in tumor]
    assert np.bincount(np.concatenate(dealt), minlength=folds).tolist() == sizes
    for fold, shows in zip(dealt, tumor, strict=True):
        counts = np.bincount(fold, minlength=folds)
        assert counts.min() >= 1
        assert np.abs(counts - len(shows) / folds).max() <= folds


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_slices_with_tumour_are_left_out_in_their_share(seed: int) -> None:
    tumor = [np.arange(30) < 12] * 10
    dealt = deal_slices(tumor, [60] * 5, np.random.default_rng(seed))
    for fold, shows in zip(dealt, tumor, strict=True):
        assert np.bincount(fold[shows], minlength=5).min() >= 1


def test_dealing_depends_on_the_seed_alone() -> None:
    tumor = [np.arange(30) < 12] * 4

    def deal(seed: int) -> list[int]:
        return np.concatenate(deal_slices(tumor, [40, 40, 40], np.random.default_rng(seed))).tolist()

    assert deal(1) == deal(1)
    assert deal(1) != deal(2)


def test_datalist_with_a_person_on_both_sides_is_read_only_where_it_says_that_it_is_split_by_slice(
    tmp_path: Path,
) -> None:
    sides = [
        {"patient": name, "subject": "p", "fold": fold, "image": "i", "label": "l"} for fold, name in enumerate("ab")
    ]
    (tmp_path / "leak.json").write_text(json.dumps({"training": sides}))
    with pytest.raises(InputError, match="p in two parts"):
        read_datalist(tmp_path / "leak.json", check_files=False)
    (tmp_path / "leak.json").write_text(json.dumps({"training": sides, "split": "slice"}))
    assert len(read_datalist(tmp_path / "leak.json", check_files=False)["training"]) == 2
    (tmp_path / "leak.json").write_text(json.dumps({"training": sides[:1], "test": sides[1:], "split": "slice"}))
    with pytest.raises(InputError, match="p in two parts"):
        read_datalist(tmp_path / "leak.json", check_files=False)

"""Whole patients, balanced parts, and a datalist that MONAI reads."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import load_decathlon_datalist

from monai_brainseg.data.splits import Datalist, Item, read_datalist, split_by_patient, write_datalist
from monai_brainseg.errors import InputError


@st.composite
def draw_patients(draw: st.DrawFn) -> tuple[dict[str, str], dict[str, float]]:
    """Return site and tumour size of 6 to 60 patients, some alike."""
    names = draw(st.lists(st.text("ABC1-_ é", min_size=1, max_size=5), min_size=6, max_size=60, unique=True))
    sites = {name: draw(st.sampled_from(["CS", "DU", "HT", "unknown"])) for name in names}
    return sites, {name: draw(st.sampled_from([0.0, 1.0, 20.0, 20.5, 9e5])) for name in names}


@settings(max_examples=60, deadline=None)
@given(
    patients=draw_patients(),
    seed=st.integers(0, 2**32),
    test_share=st.floats(0, 0.4),
    folds=st.integers(2, 5),
    order=st.randoms(),
)
def test_split_is_whole_balanced_and_independent_of_order(
    patients: tuple[dict[str, str], dict[str, float]],
    seed: int,
    test_share: float,
    folds: int,
    order: Random,
) -> None:
    sites, sizes = patients
    count = int(test_share * len(sites) + 0.5)
    if len(sites) - count < folds:
        with pytest.raises(InputError, match="too few"):
            split_by_patient(sites, sizes, np.random.default_rng(seed), test_share, folds)
        return
    assigned = split_by_patient(sites, sizes, np.random.default_rng(seed), test_share, folds)
    assert list(assigned) == sorted(sites)  # every patient once
    in_fold = Counter(assigned.values())
    assert in_fold[None] == count
    members = [in_fold[fold] for fold in range(folds)]
    assert sum(members) == len(sites) - count
    assert max(members) - min(members) <= 1
    for site in set(sites.values()):
        of_site = [sum(assigned[p] == fold for p in sites if sites[p] == site) for fold in range(folds)]
        assert max(of_site) - min(of_site) <= 2
    shuffled = list(sites)
    order.shuffle(shuffled)
    again = split_by_patient({p: sites[p] for p in shuffled}, sizes, np.random.default_rng(seed), test_share, folds)
    assert list(again.items()) == list(assigned.items())


def test_tumor_sizes_are_balanced_better_than_by_chance() -> None:
    rng = np.random.default_rng(0)
    names = [f"p{index:02d}" for index in range(80)]
    sizes = {name: float(size) for name, size in zip(names, rng.lognormal(9, 1, 80), strict=True)}
    sites = dict(zip(names, map(str, rng.choice(["CS", "DU", "FG", "HT"], 80)), strict=True))
    ranks = {name: rank for rank, name in enumerate(sorted(names, key=sizes.__getitem__))}

    def spread(assigned: dict[str, int | None]) -> float:
        means = [np.mean([ranks[p] for p in names if assigned[p] == part]) for part in (0, 1, 2, 3, 4, None)]
        return float(max(means) - min(means))

    ours = [spread(split_by_patient(sites, sizes, np.random.default_rng(seed))) for seed in range(10)]
    parts = np.array([None] * 12 + [0, 1, 2, 3, 4] * 13 + [0, 1, 2])
    chance = [
        spread(dict(zip(names, np.random.default_rng(seed).permutation(parts), strict=True))) for seed in range(10)
    ]
    assert max(ours) < 6  # of 80 ranks
    assert max(ours) < min(chance)


def test_seeds_differ() -> None:
    sites = {f"p{index}": "CS" for index in range(40)}
    sizes = {patient: float(index) for index, patient in enumerate(sites)}
    parts = [tuple(split_by_patient(sites, sizes, np.random.default_rng(seed)).values()) for seed in (0, 1, 0)]
    assert parts[0] == parts[2] != parts[1]


def test_too_few_patients_are_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match=r"5 patients: are too few for 5 folds and 1 test patients; .*--folds"):
        split_by_patient(dict.fromkeys("abcde", "CS"), dict.fromkeys("abcde", 1.0), np.random.default_rng(0))


def make_item(folder: Path, patient: str, fold: int | None, images: int = 3, **more: str) -> Item:
    files = [folder / "imagesTr" / f"{patient}_{channel:04d}.nii.gz" for channel in range(images)]
    for file in (*files, folder / f"{patient}.nii.gz"):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"")
    item: Item = {"image": list(map(str, files)), "label": str(folder / f"{patient}.nii.gz"), "patient": patient}
    item |= {} if fold is None else {"fold": fold}
    return {**item, **more}  # type: ignore[typeddict-item]


def make_datalist(folder: Path) -> Datalist:
    training = [make_item(folder, "José 1", 0), make_item(folder, "b", 1, images=1)]
    return {"name": "few", "training": training, "test": [make_item(folder, "c", None)]}


def test_datalist_comes_back(tmp_path: Path) -> None:
    datalist = make_datalist(tmp_path)
    write_datalist(datalist, tmp_path / "datalist.json")
    assert read_datalist(tmp_path / "datalist.json") == datalist
    assert read_datalist(tmp_path) == datalist


def test_datalist_is_relative_ascii_and_gives_one_image_as_one_path(tmp_path: Path) -> None:
    write_datalist(make_datalist(tmp_path), tmp_path / "datalist.json")
    text = (tmp_path / "datalist.json").read_bytes().decode("ascii")
    assert str(tmp_path) not in text
    entries = json.loads(text)["training"]
    assert entries[0]["image"][2] == "imagesTr/José 1_0002.nii.gz"
    assert entries[1]["image"] == "imagesTr/b_0000.nii.gz"


def test_monai_reads_the_same_paths(tmp_path: Path) -> None:
    write_datalist(make_datalist(tmp_path), tmp_path / "datalist.json")
    ours = read_datalist(tmp_path)
    for part, items in {"training": ours["training"], "test": ours["test"]}.items():
        theirs = load_decathlon_datalist(str(tmp_path / "datalist.json"), data_list_key=part)
        for item, entry in zip(items, theirs, strict=True):
            assert item["image"] == ([entry["image"]] if isinstance(entry["image"], str) else entry["image"])
            assert {**entry, "image": item["image"]} == item


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: "{", "is not valid JSON"),
        (lambda d: "[1]", 'no "training" list'),
        (lambda d: json.dumps({**d, "training": []}), 'no "training" list'),
        (lambda d: json.dumps({"test": d["test"]}), 'no "training" list'),
        (lambda d: json.dumps({**d, "training": ["a.nii.gz"]}), "an entry of \"training\" has no 'patient'"),
        (lambda d: json.dumps({**d, "training": d["test"]}), "c of \"training\" has no 'fold'"),
        (lambda d: json.dumps({**d, "training": d["training"] * 2}), "lists the patient José 1 twice"),
        (lambda d: json.dumps({**d, "test": d["training"][1:]}), "lists the patient b twice"),
        (lambda d: json.dumps({**d, "test": [{**d["test"][0], "subject": "b"}]}), "has b in two parts"),
        (lambda d: json.dumps({**d, "test": [{**d["test"][0], "label": "gone.nii.gz"}]}), "gone.nii.gz: is missing"),
    ],
)
def test_broken_datalist_is_refused(change: Callable[[dict], str], message: str, tmp_path: Path) -> None:
    file = tmp_path / "datalist.json"
    write_datalist(make_datalist(tmp_path), file)
    file.write_text(change(json.loads(file.read_text())))
    with pytest.raises(InputError, match=message) as caught:
        read_datalist(file)
    assert str(file) in str(caught.value)
    assert "brainseg prepare" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_datalist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="datalist.json: no such datalist; write it again with brainseg prepare"):
        read_datalist(tmp_path)

"""Several prepared folders as one: what is kept, what is refused, and that a training can read it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from monai_brainseg.cli.main import main
from monai_brainseg.data.merge import merge
from monai_brainseg.data.prepare import prepare
from monai_brainseg.data.splits import read_datalist
from monai_brainseg.errors import InputError
from monai_brainseg.images.volumes import read_nifti
from monai_brainseg.phantoms.patients import write_phantoms


def make_source(folder: Path, name: str, seed: int, layout: str = "kaggle_3m") -> Path:
    write_phantoms(folder / f"{name}_published", 6, seed=seed, slices=8, size=64, layout=layout)
    prepare(folder / f"{name}_published", folder / name, test_share=0.2, folds=2, say=lambda line: None)
    return folder / name


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sources")
    found = [make_source(folder, "one", 0), make_source(folder, "two", 1)]
    content = json.loads((found[1] / "datalist.json").read_text())
    for part in ("training", "test"):
        for item in content[part]:
            item["patient"] = f"two_{item['patient']}"
            item["subject"] = item["patient"]
    (found[1] / "datalist.json").write_text(json.dumps(content))
    return found


def test_each_case_keeps_its_fold_and_its_voxels_and_gets_the_name_of_its_folder(
    sources: list[Path], tmp_path: Path
) -> None:
    assert main(["merge", *map(str, sources), "--output", str(tmp_path / "both")]) == 0
    merged = read_datalist(tmp_path / "both")
    for source in sources:
        alone = read_datalist(source)
        for part in ("training", "test"):
            kept = {item["patient"]: item for item in merged[part] if item["source"] == source.name}
            assert set(kept) == {item["patient"] for item in alone[part]}
            for item in alone[part]:
                assert kept[item["patient"]].get("fold") == item.get("fold")
                for old, new in zip(item["image"], kept[item["patient"]]["image"], strict=True):
                    assert np.array_equal(read_nifti(Path(old)).voxels, read_nifti(Path(new)).voxels)
    dataset = json.loads((tmp_path / "both" / "dataset.json").read_text())
    assert dataset["numTraining"] == len(merged["training"])


def test_it_is_replaced_only_if_that_was_asked(sources: list[Path], tmp_path: Path) -> None:
    merge(sources, tmp_path / "both", say=lambda line: None)
    with pytest.raises(InputError, match="is not empty"):
        merge(sources, tmp_path / "both", say=lambda line: None)
    merge(sources, tmp_path / "both", overwrite=True, say=lambda line: None)
    assert read_datalist(sources[0])["training"]  # its files were linked, and are still there


def test_the_same_images_or_names_in_two_folders_are_refused(sources: list[Path], tmp_path: Path) -> None:
    again = make_source(tmp_path, "again", 0)
    with pytest.raises(InputError, match="has the name of a patient in one; leave it out of one or again"):
        merge([sources[0], again], tmp_path / "both")
    content = (again / "datalist.json").read_text()
    renamed = json.loads(content)
    for item in [*renamed["training"], *renamed["test"]]:
        item["patient"] = item["subject"] = f"again_{item['patient']}"
    (again / "datalist.json").write_text(json.dumps(renamed))
    with pytest.raises(InputError, match="has the same images as a patient in one"):
        merge([sources[0], again], tmp_path / "both")
    assert not (tmp_path / "both").exists()


@pytest.mark.parametrize("count", [1, 2])
def test_one_folder_or_two_of_one_name_are_refused(count: int, sources: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two or more folders with names of their own"):
        merge([sources[0]] * count, tmp_path / "both")

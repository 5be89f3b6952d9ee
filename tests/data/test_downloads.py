"""`brainseg download`, all but the transfer: what it says, what it refuses, and what it hands over."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from monai_brainseg.cli.main import main
from monai_brainseg.data import downloads
from monai_brainseg.data.downloads import HANDLE, PATIENTS, SLICES, check_published
from monai_brainseg.data.splits import read_datalist
from monai_brainseg.errors import InputError
from monai_brainseg.phantoms.patients import write_phantoms

Stand = Callable[[str], None]


@pytest.fixture
def kagglehub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    """``kagglehub(body)`` puts a package of that name in place whose ``dataset_download(handle)`` has that body."""

    def make(body: str) -> None:
        place = tmp_path / "site" / "kagglehub"
        place.mkdir(parents=True)
        (place / "__init__.py").write_text(f"def dataset_download(handle):\n    {body}\n")
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        monkeypatch.delitem(sys.modules, "kagglehub", raising=False)

    return make


def make_names(folder: Path, patients: int = PATIENTS, slices: int = SLICES) -> Path:
    """Make a tree of the published names, spread over patients; the files are empty, as none is opened."""
    for patient in range(patients):
        name = f"TCGA_CS_{patient:04d}_20000101"
        (folder / "kaggle_3m" / name).mkdir(parents=True)
        for number in range(patient + 1, slices + 1, patients):
            for ending in (".tif", "_mask.tif"):
                (folder / "kaggle_3m" / name / f"{name}_{(number - 1) // patients + 1}{ending}").touch()
    return folder


def test_set_is_fetched_by_its_handle_counted_and_prepared(
    kagglehub: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_phantoms(tmp_path / "cache" / "kaggle_3m", 8, seed=3, size=64, slices=8)
    kagglehub(f"assert handle == {HANDLE!r}; return {str(tmp_path / 'cache')!r}")
    monkeypatch.setattr(downloads, "PATIENTS", 8)
    monkeypatch.setattr(downloads, "SLICES", 64)
    assert main(["download", "--output", str(tmp_path / "lgg")]) == 0
    said = capsys.readouterr().out
    for part in ("CC BY-NC-SA 4.0", "commercially", "Buda", "Mazurowski", "8 patients and 64 slices", "fold 4"):
        assert part in said
    assert said.index("CC BY-NC-SA") < said.index("published files")
    datalist = read_datalist(tmp_path / "lgg")
    assert len(datalist["training"]) + len(datalist["test"]) == 8
    assert main(["download", "--output", str(tmp_path / "lgg")]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main(["download", "--output", str(tmp_path / "lgg"), "--overwrite"]) == 0


def test_published_count_is_110_patients_and_3929_slices(tmp_path: Path) -> None:
    assert (PATIENTS, SLICES) == (110, 3929)
    whole = make_names(tmp_path)
    check_published(whole)
    for file in sorted(whole.rglob("*0007_20000101_36*.tif")):
        file.unlink()
    with pytest.raises(InputError, match="110 patients and 3,928 slices, but 110 and 3,929 are published") as raised:
        check_published(whole)
    assert "\n" not in str(raised.value)


def test_slice_without_its_mask_is_named(tmp_path: Path) -> None:
    whole = make_names(tmp_path)
    next(whole.rglob("*0007_20000101_2_mask.tif")).unlink()
    with pytest.raises(InputError, match="TCGA_CS_0007_20000101"):
        check_published(whole)


def test_set_that_is_not_whole_is_not_prepared(
    kagglehub: Stand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_phantoms(tmp_path / "cache" / "kaggle_3m", 2, size=64, slices=8)
    kagglehub(f"return {str(tmp_path / 'cache')!r}")
    assert main(["download", "--output", str(tmp_path / "lgg")]) == 1
    error = capsys.readouterr().err
    assert "2 patients and 16 slices, but 110 and 3,929" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "lgg").exists()


def test_failure_of_the_transfer_is_one_line_with_the_way_by_hand(
    kagglehub: Stand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kagglehub("raise ValueError('403 Client Error.\\n\\nYou do not have permission')")
    assert main(["download", "--output", str(tmp_path / "lgg")]) == 1
    error = capsys.readouterr().err
    assert "403 Client Error. You do not have permission" in error
    assert "https://www.kaggle.com/datasets/mateuszbuda/lgg-mri-segmentation" in error
    assert error.count("\n") == 1


def test_missing_kagglehub_is_said_with_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    assert main(["download", "--output", str(tmp_path / "lgg")]) == 1
    assert "pip install 'monai-brainseg[download]'" in capsys.readouterr().err


def test_folder_in_the_way_is_refused_before_anything_is_fetched(
    kagglehub: Stand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kagglehub("raise AssertionError('fetched')")
    (tmp_path / "lgg").mkdir()
    (tmp_path / "lgg" / "mine.txt").touch()
    assert main(["download", "--output", str(tmp_path / "lgg")]) == 1
    assert "is not empty" in capsys.readouterr().err

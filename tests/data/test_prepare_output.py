"""The prepared folder is there whole or not at all, and what lay in its place is not lost."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from support.published_sets import Make, cut, list_items, make_tree, read_all

from monai_brainseg.data.prepare import prepare
from monai_brainseg.errors import InputError
from monai_brainseg.images import volumes


def test_output_of_others_is_never_touched(tmp_path: Path, make_slices: Make) -> None:
    source, output = make_tree(tmp_path / "source", make_slices), tmp_path / "out"
    output.mkdir()
    (output / "thesis.txt").write_text("mine")
    for overwrite, message in {
        False: "is not empty; choose another --output, or",
        True: "thesis.txt: was not written",
    }.items():
        with pytest.raises(InputError, match=message):
            prepare(source, output, overwrite=overwrite)
    (output / "thesis.txt").unlink()
    prepare(source, output)  # an empty folder will do
    before = read_all(output)
    (output / "imagesTr" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="thesis.txt: was not written by brainseg prepare; move it away"):
        prepare(source, output, seed=1, overwrite=True)
    (output / "imagesTr" / "thesis.txt").unlink()
    assert read_all(output) == before


def test_prepared_folder_is_replaced_only_when_asked_and_only_as_a_whole(tmp_path: Path, make_slices: Make) -> None:
    source, output = make_tree(tmp_path / "source", make_slices), tmp_path / "out"
    prepare(source, output)
    before = read_all(output)
    with pytest.raises(InputError, match="out: is not empty; .*--overwrite"):
        prepare(source, output, seed=1)
    cut(source / "TCGA_CS_0000_20000101" / "TCGA_CS_0000_20000101_1.tif")
    with pytest.raises(InputError, match="cannot be read"):
        prepare(source, output, seed=1, overwrite=True)
    assert read_all(output) == before
    prepare(source, output, seed=1, overwrite=True, skip_bad=True)
    assert len(list_items(output)) == 7
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out", "source"]


@pytest.mark.parametrize("output", ["source", "source/out", "."])
def test_output_in_the_source_is_refused(output: str, tmp_path: Path, make_slices: Make) -> None:
    source = make_tree(tmp_path / "source", make_slices, 3)
    before = read_all(source)
    with pytest.raises(InputError, match="is inside the other; choose a folder outside"):
        prepare(source, tmp_path / output)
    assert read_all(source) == before


def test_output_that_cannot_be_made_is_refused_before_reading(tmp_path: Path, make_slices: Make) -> None:
    source = make_tree(tmp_path / "source", make_slices, 3)
    (tmp_path / "file").touch()
    said: list[str] = []
    with pytest.raises(InputError, match="file: is a file; choose another --output"):
        prepare(source, tmp_path / "file", say=said.append)
    with pytest.raises(InputError, match=r"cannot be written \(Not a directory\); choose a folder"):
        prepare(source, tmp_path / "file" / "out", say=said.append)
    assert said == []


def test_full_disk_names_the_file_and_leaves_nothing(
    tmp_path: Path, make_slices: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_tree(tmp_path / "source", make_slices)
    written: list[Path] = []

    def fill(self: Path, data: bytes) -> int:
        written.append(self)
        if len(written) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        with self.open("wb") as file:
            return file.write(data)

    monkeypatch.setattr(volumes.Path, "write_bytes", fill)
    with pytest.raises(
        InputError, match=r"nii\.gz: cannot be written \(No space left on device\); free some disk space"
    ):
        prepare(source, tmp_path / "out")
    assert len(written) > 5
    assert [file.name for file in tmp_path.iterdir()] == ["source"]


def test_interrupted_run_leaves_nothing_and_a_killed_one_is_cleared(tmp_path: Path, make_slices: Make) -> None:
    source = make_tree(tmp_path / "source", make_slices)

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(source, tmp_path / "out", say=interrupt)
    assert [file.name for file in tmp_path.iterdir()] == ["source"]
    (tmp_path / ".out.unfinished" / "imagesTr").mkdir(parents=True)
    (tmp_path / ".out.unfinished" / "imagesTr" / "killed_0000.nii.gz").touch()
    prepare(source, tmp_path / "out")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out", "source"]
    assert "killed" not in "".join(read_all(tmp_path / "out"))

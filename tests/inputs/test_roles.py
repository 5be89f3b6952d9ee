"""Which file plays which role in a study, what is refused instead, and that all of it is said and recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest
from support.fixed_bundles import draw_phantom, make_affine

from monai_brainseg.data.cases import Case
from monai_brainseg.inputs.search import find_studies, join_sequences
from monai_brainseg.phantoms.patients import Phantom

SEQUENCES = {"T1": 0, "FLAIR": 1, "T1ce": 2}


def save(file: Path, sequence: str = "FLAIR", seed: int = 0) -> Path:
    """Write one sequence of a person as NIfTI."""
    phantom: Phantom = draw_phantom(seed=seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(phantom.images[..., SEQUENCES[sequence]].astype("int16"), make_affine(phantom))
    image.header.set_xyzt_units("mm")
    nib.save(image, file)
    return file


def roles(case: Case) -> dict[str, str]:
    return {role: str(files[0].name) for role, files in case.images.items()}


def test_a_name_of_several_words_is_read_by_the_habits_of_the_field(
    predict: Callable[..., Any], tmp_path: Path
) -> None:
    save(tmp_path / "in" / "x_T2_FLAIR.nii.gz")
    save(tmp_path / "in" / "x_T1_post.nii.gz", "T1ce")
    save(tmp_path / "in" / "x_T1.nii.gz", "T1")
    (case,) = predict(tmp_path / "in")["cases"]
    assert case["case"] == "x"
    assert {role["sequence"]: Path(role["file"]).name for role in case["roles"]} == {
        "pre": "x_T1.nii.gz", "flair": "x_T2_FLAIR.nii.gz", "post": "x_T1_post.nii.gz",
    }  # fmt: skip
    assert {role["told_by"] for role in case["roles"]} == {"the names of its files"}
    assert case["warnings"] == []


@pytest.mark.parametrize("name", ["p_T1_FLAIR", "p_T1w_FLAIR", "Sag T1 FLAIR", "p_t1flair"])
def test_t1_flair_is_not_flair(
    name: str, predict: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = save(tmp_path / "in" / f"{name}.nii.gz", "T1")
    record = predict(tmp_path / "in", code=1)
    assert record["cases"] == []
    assert "its name says T1 FLAIR, which is T1-weighted" in capsys.readouterr().err
    # Who names it is believed, but warned.
    assert "its name says T1 FLAIR" in join_sequences(odd).doubts[0]
    found = find_studies([save(tmp_path / "in" / f"{name.split('T1')[0].split('t1')[0]}FLAIR.nii.gz").parent])
    assert [roles(case).keys() for case in found.cases] == [{"flair"}]
    assert [Path(file).name for file in found.left_out["are T1 FLAIR, which is T1-weighted"]] == [odd.name]


def test_sequences_of_one_person_without_flair_are_no_studies(tmp_path: Path) -> None:
    for sequence in ("T1", "T1ce"):
        save(tmp_path / f"x_{sequence}.nii.gz", sequence)
    found = find_studies([tmp_path])
    assert found.cases == []
    assert "x has no FLAIR" in str(found.bad["x"])


def test_a_folder_may_say_the_sequence(tmp_path: Path) -> None:
    for person in ("ann", "bob"):
        save(tmp_path / "FLAIR" / f"{person}.nii.gz")
        save(tmp_path / "T1" / f"{person}.nii.gz", "T1")
        save(tmp_path / "masks" / f"{person}.nii.gz")
    found = find_studies([tmp_path])
    assert [case.patient for case in found.cases] == ["ann", "bob"]
    assert [sorted(case.images) for case in found.cases] == [["flair", "pre"]] * 2
    assert found.cases[0].told == "the names of its folders"
    assert not found.bad


def test_folders_of_one_file_each_are_one_study_if_the_heads_match(
    predict: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place, seed in (("one", 0), ("two", 5)):
        save(tmp_path / "in" / place / "FLAIR" / "a.nii.gz")
        save(tmp_path / "in" / place / "T1" / "b.nii.gz", "T1", seed=seed)
    record = predict(tmp_path / "in", code=1)
    (case,) = record["cases"]
    assert (case["case"], [role["sequence"] for role in case["roles"]]) == ("one", ["pre", "flair"])
    assert "does not show the head of b.nii.gz" in record["failed"][0]["error"]


def test_numbers_of_people_behind_the_sequence_tell_them_apart(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"flair_000{number}.nii.gz", seed=number)
        save(tmp_path / f"t1_000{number}.nii.gz", "T1", seed=number)
    found = find_studies([tmp_path])
    assert [roles(case) for case in found.cases] == [
        {"pre": f"t1_000{number}.nii.gz", "flair": f"flair_000{number}.nii.gz"} for number in range(3)
    ]


@pytest.mark.parametrize("numbers", [(1, 2, 3), (0, 1, 2, 3), (0, 2), (1, 2), (3, 4, 5, 6)])
def test_numbered_files_of_several_people_are_studies_of_their_own(numbers: tuple[int, ...], tmp_path: Path) -> None:
    for number in numbers:
        save(tmp_path / f"patient_{number:04d}.nii.gz", seed=number)
    found = find_studies([tmp_path])
    assert [roles(case) for case in found.cases] == [{"flair": f"patient_{number:04d}.nii.gz"} for number in numbers]


def test_three_people_numbered_as_sequences_are_refused(
    predict: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        save(tmp_path / "in" / f"scan_000{number}.nii.gz", seed=number)
        save(tmp_path / "in" / f"whole_000{number}.nii.gz", ("T1", "FLAIR", "T1ce")[number])
    record = predict(tmp_path / "in", code=1)
    assert [case["case"] for case in record["cases"]] == ["whole"]
    assert "does not show the head of" in record["failed"][0]["error"]
    said = capsys.readouterr().out
    assert "whole: pre whole_0000.nii.gz; flair whole_0001.nii.gz; post whole_0002.nii.gz (told by the numbers" in said


def test_what_plays_which_role_is_said_for_ten_studies_and_recorded_for_all(
    predict: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(12):
        save(tmp_path / "in" / f"p{number:02d}_FLAIR.nii.gz")
    save(tmp_path / "in" / "p00_T2.nii.gz")
    record = predict(tmp_path / "in")
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "p00: flair p00_FLAIR.nii.gz (told by the names of its files)"
    assert said[10] == "and 2 more studies; run.json lists the files of all"
    assert said[11].startswith("left out (1), because they are not FLAIR")
    assert all(len(case["roles"]) == 1 for case in record["cases"])
    assert record["left_out"] == [
        {"why": "they are not FLAIR, pre- or post-contrast images", "count": 1,
         "files": [str(tmp_path / "in" / "p00_T2.nii.gz")]}
    ]  # fmt: skip


def test_equal_copies_count_once_and_different_ones_fail_alone(predict: Callable[..., Any], tmp_path: Path) -> None:
    for name in ("a", "b"):
        for ending in ("nii", "nii.gz"):
            save(tmp_path / "in" / name / f"{name}.{ending}")
    save(tmp_path / "in" / "b" / "b.nii", seed=1)
    record = predict(tmp_path / "in", code=1)
    assert [case["case"] for case in record["cases"]] == ["a"]
    assert record["left_out"][0]["why"] == "they are copies of another file"
    assert "b.nii.gz: differs from b.nii, which has its name" in record["failed"][0]["error"]


def test_a_broken_link_fails_alone(predict: Callable[..., Any], tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.nii.gz")
    for name in ("gone.nii.gz", "README"):
        (tmp_path / "in" / name).symlink_to(".git/annex/objects/nowhere")
    record = predict(tmp_path / "in" / "a.nii.gz", tmp_path / "in", tmp_path / "in" / "gone.nii.gz", code=1)
    assert [case["case"] for case in record["cases"]] == ["a"]
    assert [one["error"] for one in record["failed"]] == [
        f"{tmp_path / 'in' / 'gone.nii.gz'}: is a link to a file that is not there; fetch it (datalad get), or remove "
        "the link"
    ]


def test_links_name_studies_and_not_their_files(predict: Callable[..., Any], tmp_path: Path) -> None:
    for person in ("subj1", "subj2"):
        target = save(tmp_path / "in" / ".git" / "annex" / "objects" / f"MD5E-{person}" / f"MD5E-{person}.nii.gz")
        link = tmp_path / "in" / person / "anat" / "FLAIR.nii.gz"
        link.parent.mkdir(parents=True)
        link.symlink_to(os.path.relpath(target, link.parent))
    record = predict(tmp_path / "in")
    assert [case["case"] for case in record["cases"]] == ["subj1_anat", "subj2_anat"]
    (tmp_path / "linked").symlink_to(tmp_path / "in" / "subj1" / "anat")
    assert [case.patient for case in find_studies([tmp_path / "linked"]).cases] == ["linked"]


def test_a_folder_without_permission_fails_alone(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.nii.gz")
    save(tmp_path / "in" / "closed" / "b.nii.gz")
    (tmp_path / "in" / "closed").chmod(0)
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001 and os.geteuid() == 0:
            folder.chmod(folder.stat().st_mode | 0o055)
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom monai_brainseg.inputs.search import find_studies\n"
        "if os.geteuid() == 0: os.setuid(65534)\nfound = find_studies([Path(sys.argv[1])])\n"
        "print([case.patient for case in found.cases], *map(str, found.bad.values()))"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "in")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    (tmp_path / "in" / "closed").chmod(0o700)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (
        f"['a'] {tmp_path / 'in' / 'closed'}: cannot be read (Permission denied); change its permissions"
    )


@pytest.mark.parametrize(
    "variables", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_a_terminal_of_ascii_does_not_decide_success(
    variables: dict[str, str], bright_bundle: Path, tmp_path: Path
) -> None:
    save(tmp_path / "in" / "café_FLAIR.nii.gz")
    save(tmp_path / "in" / "zoé_T2.nii.gz")
    words = ["predict", tmp_path / "in", "--bundle", bright_bundle, "--output", tmp_path / "masks"]
    done = subprocess.run(
        [sys.executable, "-m", "monai_brainseg", *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "masks" / "run.json").read_text())
    assert len(record["cases"]) == 1
    assert record["failed"] == []
    assert "_FLAIR.nii.gz" in done.stdout


def test_say_does_not_decide_success(bright_bundle: Path, tmp_path: Path) -> None:
    from monai_brainseg import segment

    def refuse(line: str) -> None:
        raise BrokenPipeError(line)

    records = segment(save(tmp_path / "a.nii.gz"), tmp_path / "masks", bundle=str(bright_bundle), say=refuse)
    assert list(records) == ["a"]

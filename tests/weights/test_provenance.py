"""The leak guard: who was seen is known again, refused, and said in every output where it is allowed."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from monai_brainseg.cli.main import main
from monai_brainseg.data.splits import read_datalist
from monai_brainseg.errors import InputError
from monai_brainseg.weights.provenance import (
    describe_checkpoint,
    find_namesakes,
    find_seen,
    judge,
    list_hashes,
    read_seen,
    read_seen_by_mask,
)

ONE = {"patient": "a_1", "subject": "a", "hash": "11"}
SAME_PERSON = {"patient": "a_2", "subject": "a", "hash": "22"}
SAME_IMAGES = {"patient": "b", "subject": "b", "hash": "11"}
OTHER = {"patient": "c", "subject": "c", "hash": "33"}


def test_images_are_known_again_under_another_name_and_a_person_in_another_scan() -> None:
    seen = list_hashes([ONE])
    assert find_seen([ONE, SAME_PERSON, SAME_IMAGES, OTHER], seen) == ["a_1", "b"]
    assert find_namesakes([ONE, SAME_PERSON, SAME_IMAGES, OTHER], seen) == ["a_2"]


def test_a_namesake_with_other_images_is_not_refused_and_never_called_clean() -> None:
    verdict = judge([SAME_PERSON, OTHER], list_hashes([ONE]), allow_seen=False)
    assert verdict["state"] == "unknown"
    assert "a_2" in verdict["note"]
    allowed = judge([SAME_PERSON, OTHER], list_hashes([ONE]), allow_seen=True)
    assert (allowed["state"], allowed["patients"]) == ("seen", ["a_2"])


def test_without_hashes_of_images_nobody_is_called_clean() -> None:
    assert judge([{"patient": "c"}], list_hashes([ONE]), allow_seen=False)["state"] == "unknown"


def test_hashes_tell_no_name_and_are_one_each_however_often_a_person_is_listed() -> None:
    hashes = list_hashes([ONE, SAME_PERSON, ONE])
    assert len(hashes) == 3
    assert all(name not in " ".join(hashes).replace("images", "").replace("person", "") for name in ("a_1", "a_2"))


def test_items_of_a_label_server_without_patient_add_nothing() -> None:
    assert list_hashes([{"image": "x.nii.gz", "label": "y.nii.gz"}]) == []


def test_seen_patients_are_refused_by_name_unless_allowed_and_then_it_is_said() -> None:
    with pytest.raises(InputError, match=r"1 of 2 patients \(a_1\).*--allow-seen"):
        judge([ONE, OTHER], list_hashes([ONE]), allow_seen=False)
    verdict = judge([ONE, OTHER], list_hashes([ONE]), allow_seen=True)
    assert (verdict["state"], verdict["patients"]) == ("seen", ["a_1"])
    assert "NOT UNSEEN" in verdict["note"]
    assert judge([OTHER], list_hashes([ONE]), allow_seen=False)["state"] == "clean"


@pytest.mark.parametrize("seen", [None, []])
def test_what_is_not_known_is_never_clean(seen: list[str] | None) -> None:
    verdict = judge([OTHER], seen, allow_seen=True)
    assert verdict["state"] == "unknown"
    assert verdict["note"].startswith("provenance unknown")


def test_checkpoint_is_described_by_its_content(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    torch.save({"model": {}, "seen": ["images:11"]}, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert describe_checkpoint(file) == {"file": str(file), "sha256": digest, "seen": ["images:11"]}


def test_weights_that_know_no_images_call_nobody_clean() -> None:
    assert judge([OTHER], list_hashes([{"patient": "a"}]), allow_seen=False)["state"] == "unknown"


def test_record_of_several_weights_is_what_any_of_them_saw_and_one_silent_makes_it_unknown(tmp_path: Path) -> None:
    record = tmp_path / "run.json"
    assert read_seen(tmp_path) is None
    record.write_text(json.dumps({"checkpoint": [{"seen": ["x"]}, {"seen": ["y", "x"]}]}))
    assert read_seen(tmp_path) == ["x", "y"]
    silent: list[Any] = [{"checkpoint": [{"seen": ["x"]}, {"seen": None}]}, {"checkpoint": []}, {"command": []}, []]
    silent += [
        {"checkpoint": [{"seen": ["x"]}, {"seen": []}]},
        {"checkpoint": ["w.pt"]},
        {"checkpoint": [{"seen": "xy"}]},
    ]
    for content in silent:
        record.write_text(json.dumps(content))
        assert read_seen(tmp_path) is None
    record.write_text("{")
    with pytest.raises(InputError, match="run.json: is not valid JSON"):
        read_seen(tmp_path)


def test_masks_of_several_weights_in_one_folder_are_judged_each_by_its_own(tmp_path: Path) -> None:
    checkpoint: list[dict[str, Any]] = [
        {"sha256": "of_one", "seen": list_hashes([ONE])},
        {"sha256": "of_other", "seen": list_hashes([OTHER])},
    ]

    for patient in ("a_1", "c"):
        (tmp_path / f"{patient}.nii.gz").write_text(patient)

    def tell(*pairs: tuple[str, Any], mask: str | None = None) -> dict[str, Any]:
        cases = [
            {"case": patient, "mask_sha256": mask or hash_text(patient), "settings": {"weights": weights}}
            for patient, weights in pairs
        ]
        (tmp_path / "run.json").write_text(json.dumps({"checkpoint": checkpoint, "cases": cases}))
        return judge([ONE, OTHER], read_seen(tmp_path), False, read_seen_by_mask(tmp_path, ["a_1", "c"]))

    assert tell(("a_1", ["of_other"]), ("c", ["of_one"]))["state"] == "clean"
    for weights in (["of_one"], ["of_one", "of_other"]):
        with pytest.raises(InputError, match=r"1 of 2 patients \(a_1"):
            tell(("a_1", weights), ("c", ["of_one"]))
    for unknown in (["missing"], [], None, [1]):
        assert tell(("a_1", unknown), ("c", ["of_one"]))["state"] == "unknown"
    # A mask of another run, or one that was copied into the folder, is not the one of the record.
    assert tell(("c", ["of_one"]))["state"] == "unknown"
    assert tell(("a_1", ["of_other"]), ("c", ["of_one"]), mask="0")["state"] == "unknown"
    with pytest.raises(InputError, match=r"2 of 2 patients"):
        tell()  # without cases, the weights of all masks count
    checkpoint[0]["seen"] = None
    assert tell(("a_1", ["of_other"]), ("c", ["of_one"]))["state"] == "unknown"


def hash_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def predictions(prepared_phantoms: Path, tmp_path: Path) -> Path:
    """The truths of the test part as a folder of masks."""
    folder = tmp_path / "masks"
    folder.mkdir()
    for item in read_datalist(prepared_phantoms)["test"]:
        shutil.copy(item["label"], folder / f"{item['patient']}.nii.gz")
    return folder


def test_evaluate_says_in_every_output_what_the_weights_had_seen(
    prepared_phantoms: Path, predictions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = read_datalist(prepared_phantoms)["test"]
    words = ["evaluate", "--datalist", str(prepared_phantoms), "--predictions", str(predictions)]

    def evaluate(*options: str) -> tuple[int, str, str]:
        code = main([*words, "--output", str(tmp_path / "scores"), *options])
        return code, *capsys.readouterr()

    def outputs() -> tuple[str, str, list[str]]:
        rows = list(csv.DictReader((tmp_path / "scores/metrics.csv").open()))
        summary = json.loads((tmp_path / "scores/summary.json").read_text())
        page = (tmp_path / "scores/report.html").read_text()
        assert summary["provenance"]["note"] in page
        return summary["provenance"]["state"], summary["provenance"]["note"], [row["seen"] for row in rows]

    code, printed, _ = evaluate()
    state, note, column = outputs()
    assert (code, state, column) == (0, "unknown", ["", ""])
    assert note in printed

    (predictions / "run.json").write_text(json.dumps({"checkpoint": [{"seen": list_hashes(items[:1])}]}))
    shutil.rmtree(tmp_path / "scores")
    code, _, error = evaluate()
    assert code == 1
    assert items[0]["patient"] in error
    assert error.count("\n") == 1
    assert not (tmp_path / "scores").exists()

    code, printed, _ = evaluate("--allow-seen")
    state, note, column = outputs()
    assert (code, state, column) == (0, "seen", ["1", "0"])
    assert note in printed

    (predictions / "run.json").write_text(json.dumps({"checkpoint": [{"seen": ["images:0"]}]}))
    evaluate()
    assert outputs()[0::2] == ("clean", ["0", "0"])

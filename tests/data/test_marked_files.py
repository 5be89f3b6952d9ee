"""JSON and CSV that Windows wrote, with a mark of their encoding and CRLF, are read by package and bundle."""

from __future__ import annotations

import codecs
import csv
import json
from pathlib import Path

import pytest
from brainseg_unet_scripts.cases import find_cases, list_cases
from brainseg_unet_scripts.errors import BundleError

from monai_brainseg.benchmarking.figures import read_scores
from monai_brainseg.data import layouts
from monai_brainseg.data.splits import read_datalist
from monai_brainseg.errors import InputError
from monai_brainseg.files import read_json


def write_as_windows(path: Path, text: str) -> Path:
    path.write_bytes(codecs.BOM_UTF8 + text.replace("\n", "\r\n").encode())
    return path


def test_a_datalist_with_a_mark_is_read(prepared_phantoms: Path, tmp_path: Path) -> None:
    text = (prepared_phantoms / "datalist.json").read_text()
    file = write_as_windows(tmp_path / "datalist.json", text)
    plain = read_datalist(prepared_phantoms, check_files=False)
    assert [i["patient"] for i in read_datalist(file, check_files=False)["test"]] == [
        i["patient"] for i in plain["test"]
    ]
    listed = list_cases(str(file), "all")
    assert {len(item["image"]) for item in listed} == {3}
    assert all(Path(item["label"]).is_relative_to(tmp_path) for item in listed)
    assert len(find_cases(str(tmp_path), str(file))) == len(plain["test"])


def test_a_dataset_record_with_a_mark_is_read(tmp_path: Path) -> None:
    for name in ("imagesTr/p_0000.nii.gz", "labelsTr/p.nii.gz"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    write_as_windows(tmp_path / "dataset.json", json.dumps({"channel_names": {"0": "FLAIR"}}, indent=1))
    assert [case.patient for case in layouts.find_cases(tmp_path).cases] == ["p"]


def test_scores_with_a_mark_are_read(tmp_path: Path) -> None:
    write_as_windows(tmp_path / "metrics.csv", "patient,dice\na,0.5\n")
    assert read_scores((0, 0), tmp_path).rows == {"a": {"patient": "a", "dice": "0.5"}}
    with (tmp_path / "metrics.csv").open(newline="", encoding="utf-8-sig") as file:
        assert next(csv.reader(file)) == ["patient", "dice"]


def test_a_parse_error_is_said_with_its_line(tmp_path: Path) -> None:
    file = write_as_windows(tmp_path / "datalist.json", '{"training": [\n{"patient": "a"},\n]\n}')
    with pytest.raises(InputError, match=r"datalist\.json: is not valid JSON \(.*line 3"):
        read_datalist(file)
    with pytest.raises(BundleError, match=r"datalist\.json: .*line 3"):
        list_cases(str(file))
    (tmp_path / "x.json").write_bytes(b"\xff\xfe{\x00")
    with pytest.raises(InputError, match=r"x\.json: is not valid JSON"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_json_is_read_in_every_encoding_of_its_standard(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes('{"name": "é"}'.encode(encoding))
    assert read_json(tmp_path / "x.json") == {"name": "é"}

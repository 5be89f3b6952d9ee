"""Weights in other forms give the masks that they gave before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.networks.nets import UNet
from support.bundle_runs import run

from monai_brainseg.cli.main import main
from monai_brainseg.data.prepare import prepare
from monai_brainseg.errors import InputError
from monai_brainseg.prediction.familiarity import from_checkpoint
from monai_brainseg.reporting.evaluation import evaluate
from monai_brainseg.weights.checkpoints import check_checkpoint, pull_back, read_checkpoint, write_half_precision


def test_half_precision_halves_the_file_and_keeps_the_answer_and_what_was_seen(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = UNet(2, 3, 2, channels=[32, 64, 128], strides=[2, 2], num_res_units=2, norm="BATCH")
    images = torch.rand(4, 3, 64, 64)
    network(images)  # gives batch norm statistics of its own
    torch.save({"model": network.state_dict(), "seen": ["images:1"]}, tmp_path / "model.pt")
    write_half_precision(tmp_path / "model.pt", tmp_path / "half" / "model.pt")
    assert (tmp_path / "half/model.pt").stat().st_size < 0.55 * (tmp_path / "model.pt").stat().st_size
    content = torch.load(tmp_path / "half/model.pt", weights_only=True)
    assert content["seen"] == ["images:1"]
    again = UNet(2, 3, 2, channels=[32, 64, 128], strides=[2, 2], num_res_units=2, norm="BATCH")
    again.load_state_dict(content["model"])
    with torch.no_grad():
        one, other = network.eval()(images), again.eval()(images)
    assert torch.allclose(one, other, atol=2e-3)
    assert (one.argmax(1) == other.argmax(1)).float().mean() > 0.999


@pytest.mark.parametrize("content", [b"", b"no weights", {"model": 3}, {"model": {"a": "b"}}, [1]])
def test_what_holds_no_weights_is_refused_by_name(tmp_path: Path, content: object) -> None:
    file = tmp_path / "model.pt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(InputError, match="model.pt: is not a checkpoint of brainseg"):
        read_checkpoint(file)
    with pytest.raises(
        InputError, match="no weights there; train them with `run training`, or name a file of weights$"
    ):
        read_checkpoint(tmp_path / "nowhere.pt")
    with pytest.raises(InputError, match=f"^{tmp_path}: is a folder; name a file of weights"):
        read_checkpoint(tmp_path)


def test_weights_are_pulled_back_once_and_whom_they_have_seen_stays(tmp_path: Path) -> None:
    tuned, start = tmp_path / "model.pt", tmp_path / "start.pt"
    torch.save({"model": {"w": torch.tensor([4.0]), "n": torch.tensor(7)}, "seen": ["images:1"]}, tuned)
    torch.save({"model": {"w": torch.tensor([2.0]).half(), "n": torch.tensor(3)}, "seen": []}, start)
    for _ in range(2):
        pull_back(tuned, start, 0.25)
        content = torch.load(tuned, weights_only=True)
        assert content["model"] == {"w": torch.tensor([3.5]), "n": torch.tensor(7)}
        assert content["seen"] == ["images:1"]
    with pytest.raises(InputError, match="between 0 and 1"):
        pull_back(tuned, start, 1.5)


SHIPPED = Path("bundles/brainseg_unet/models/model.pt")


def test_shipped_weights_are_small_alone_in_their_folder_and_say_whom_they_have_seen() -> None:
    assert SHIPPED.stat().st_size < 15e6
    assert [file.name for file in SHIPPED.parent.glob("*.pt")] == ["model.pt"]
    content = read_checkpoint(SHIPPED)
    assert {value.dtype for value in content["model"].values()} == {torch.float16, torch.int64}
    assert sum(found.startswith("images:") for found in content["seen"]) == 108  # 80 of LGG, 28 of BraTS
    assert from_checkpoint(content, SHIPPED) is not None


@pytest.mark.slow
@pytest.mark.real_data
def test_shipped_weights_segment_real_patients_and_every_output_says_that_they_have_seen_them(
    real_patients: Callable[[int], Path], tmp_path: Path
) -> None:
    """No score of unseen patients: a floor, so that a broken file or transform is found."""
    prepare(real_patients(6), tmp_path / "data", test_share=0, folds=2, say=lambda line: None)
    options = {"part": "training", "allow_seen": True}
    refused = run("evaluating", "evaluate.yaml", tmp_path / "data", tmp_path / "refused", part="training")
    assert "the weights were trained or selected on these patients" in refused.stderr
    done = run("evaluating", "evaluate.yaml", tmp_path / "data", tmp_path / "masks", **options)
    assert done.returncode == 0, done.stderr[-2000:]
    summary = evaluate(tmp_path / "data", tmp_path / "masks", tmp_path / "scores", part="training", allow_seen=True)
    assert summary["provenance"]["state"] == "seen"
    assert summary["headline"]["value"] > 0.85


@pytest.mark.real_data
def test_flair_alone_of_another_data_set_reaches_070(shared: Path, tmp_path: Path) -> None:
    case = shared / "nifti" / "brats2013_pat0001"
    assert main(["predict", "--flair", str(case / "Flair_subtrMeanDivStd.nii.gz"), "--output", str(tmp_path)]) == 0
    (file,) = tmp_path.glob("*.nii.gz")
    mask, truth = np.asarray(nib.load(file).dataobj) > 0, np.asarray(nib.load(case / "OTMultiClass.nii.gz").dataobj) > 0
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.70


def test_checkpoint_of_another_network_is_refused_by_parameter(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    torch.save({"model": torch.nn.Conv2d(3, 2, 3).state_dict()}, file)
    check_checkpoint(file, torch.nn.Conv2d(3, 2, 3))
    with pytest.raises(InputError, match=r"weight should be \(4, 3, 3, 3\)"):
        check_checkpoint(file, torch.nn.Conv2d(3, 4, 3))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"no checkpoint at all"])
def test_broken_checkpoint_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.pt"
    file.write_bytes(content)
    with pytest.raises(InputError, match="model.pt"):
        check_checkpoint(file, torch.nn.Conv2d(3, 2, 3))

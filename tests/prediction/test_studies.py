"""`brainseg predict` as a user runs it: what its options do, what a second run does, and what is on record."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import entropy
from support.fixed_bundles import bright_state, draw_phantom, read_mask, save_flair, save_weights
from support.machines import MACHINES, imitate

from monai_brainseg.cli.main import main
from monai_brainseg.images.slices import decode_slices
from monai_brainseg.images.volumes import hash_images, read_nifti


def test_uncertainty_is_the_entropy_of_the_probability(predict: Callable[..., Any], tmp_path: Path) -> None:
    record = predict(save_flair(draw_phantom(), tmp_path / "scan.nii.gz"), "--probability", "--uncertainty")
    probability, doubt = (read_mask(tmp_path / "masks" / f"scan_{kind}.nii.gz") for kind in ("probability", "entropy"))
    np.testing.assert_allclose(doubt, entropy([probability, 1 - probability], base=2, axis=0), atol=1e-4)
    mask = read_mask(tmp_path / "masks" / "scan.nii.gz") > 0
    assert record["cases"][0]["confidence"] == pytest.approx(1 - doubt[mask].mean(), abs=1e-5)


def test_tta_and_operating_point_reach_the_bundle(predict: Callable[..., Any], tmp_path: Path) -> None:
    source = save_flair(draw_phantom(), tmp_path / "scan.nii.gz")
    balanced = predict(source)["cases"][0]["tumor_voxels"]
    assert predict(source, "--operating-point", "recall")["cases"][0]["tumor_voxels"] > balanced
    # This network sees single pixels, so that mirroring changes nothing.
    assert predict(source, "--tta")["cases"][0]["settings"]["tta"] is True


def test_clean_up_takes_what_is_minor_and_if_asked_what_one_slice_alone_shows(
    predict: Callable[..., Any], tmp_path: Path
) -> None:
    flair = np.zeros((64, 64, 8), dtype=np.float32)
    flair[8:56, 8:56] = 100 + np.random.default_rng(0).random((48, 48, 8))
    places = {
        "large": np.s_[12:24, 12:24, 3:7],
        "minor": np.s_[40:44, 12:16, 3:6],  # 48 voxels of 576
        "single": np.s_[30:40, 40:50, 1:2],
    }
    for place in places.values():
        flair[place] = 300
    flair[places["single"]] = 190  # a probability of 0.96
    nib.save(nib.Nifti1Image(flair, np.diag([-2.0, -2.0, 5.0, 1.0])), tmp_path / "scan.nii.gz")
    found = {}
    for words in ((), ("--smoothing",)):
        record = predict(tmp_path / "scan.nii.gz", *words)
        assert record["cases"][0]["settings"]["smoothing"] is bool(words)
        mask = read_mask(tmp_path / "masks" / "scan.nii.gz") > 0
        found[words] = {name for name, place in places.items() if mask[place].all()}
        assert mask.sum() == sum(mask[places[name]].size for name in found[words])
    assert found == {(): {"large", "single"}, ("--smoothing",): {"large"}}


def test_several_checkpoints_are_recorded_and_averaged(predict: Callable[..., Any], tmp_path: Path) -> None:
    source = save_flair(draw_phantom(), tmp_path / "scan.nii.gz")
    files = [save_weights(tmp_path / f"{n}.pt", bright_state(t), (str(n),)) for n, t in enumerate((1.2, 2.0))]
    sizes = [predict(source, "--checkpoint", file)["cases"][0]["tumor_voxels"] for file in files]
    record = predict(source, "--checkpoint", *files)
    assert [Path(one["file"]).name for one in record["checkpoint"]] == ["0.pt", "1.pt"]
    assert [one["seen"] for one in record["checkpoint"]] == [["0"], ["1"]]
    assert sizes[1] < record["cases"][0]["tumor_voxels"] < sizes[0]


def test_a_study_that_the_network_has_seen_is_told(
    predict: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save_flair(draw_phantom(), tmp_path / "scan.nii.gz")
    seen = save_weights(tmp_path / "seen.pt", bright_state(), (f"images:{hash_images([read_nifti(source)])}",))
    assert not predict(source)["cases"][0]["warnings"]
    assert "trained or selected on this patient" in predict(source, "--checkpoint", seen)["cases"][0]["warnings"][0]
    assert "scan: the weights were trained" in "".join(capsys.readouterr())


def test_a_second_run_does_what_is_missing(
    predict: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(3):
        save_flair(draw_phantom(seed=seed), tmp_path / "in" / f"s{seed}.nii.gz")
    masks = tmp_path / "masks"
    record = predict(tmp_path / "in")
    said = capsys.readouterr().out
    assert all(f"{case['case']}: {case['tumor_ml']:.1f} ml of tumour\n" in said for case in record["cases"])
    times = {file.name: file.stat().st_mtime_ns for file in masks.glob("s*.nii.gz")}
    (masks / "s1_preview.png").unlink()
    save_flair(draw_phantom(seed=9), tmp_path / "in" / "s2.nii.gz")
    record = predict(tmp_path / "in")
    again = {file.name for file in masks.glob("s*.nii.gz") if file.stat().st_mtime_ns != times[file.name]}
    assert again == {"s1.nii.gz", "s2.nii.gz"}
    assert "1 of 3 studies were segmented before" in capsys.readouterr().out
    assert len(record["cases"]) == 3
    assert (masks / "s1_preview.png").is_file()
    predict(tmp_path / "in", "--probability")
    predict(tmp_path / "in")
    assert not list(masks.glob("*_probability.nii.gz"))


def test_precision_is_said_and_recorded_and_only_one_that_is_asked_for_makes_masks_anew(
    predict: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = save_flair(draw_phantom(48), tmp_path / "scan.nii.gz")
    for machine, said in (("AVX-512 BF16", "bfloat16 (this CPU has"), ("AVX-512 alone", "float32 (this CPU has no")):
        imitate(monkeypatch, **MACHINES[machine][0])
        record = predict(source)
        assert f"precision: {said} bfloat16)" in capsys.readouterr().out
        assert record["precision"] == said.split()[0]
        assert record["cases"][0]["precision"] == "bfloat16"  # the second run found it done
    imitate(monkeypatch, **MACHINES["AVX-512 BF16"][0])
    record = predict(source, "--amp", "False")
    assert "precision: float32 (amp is False)" in capsys.readouterr().out
    assert record["precision"] == record["cases"][0]["precision"] == "float32"
    with pytest.raises(SystemExit):
        predict(source, "--amp", "yes")
    assert "--amp: invalid choice: 'yes'" in capsys.readouterr().err


def test_processes_share_the_studies(
    predict: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(5):
        save_flair(draw_phantom(48, seed=seed), tmp_path / "in" / f"s{seed}.nii.gz")
    masks = tmp_path / "masks"
    monkeypatch.setenv("WORLD_SIZE", "2")
    seen: list[set[str]] = []
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        record = predict(tmp_path / "in")
        seen.append({file.name for file in masks.glob("*.nii.gz")})
    assert seen == [{"s1.nii.gz", "s3.nii.gz"}, {f"s{n}.nii.gz" for n in range(5)}]
    assert [case["case"] for case in record["cases"]] == [f"s{n}" for n in range(5)]


@pytest.mark.slow
def test_torchrun_gives_each_study_to_one_process(bright_bundle: Path, tmp_path: Path) -> None:
    for seed in range(3):
        save_flair(draw_phantom(48, seed=seed), tmp_path / "in" / f"s{seed}.nii.gz")
    start = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        "-m",
        "monai_brainseg",
    ]
    words = ["predict", str(tmp_path / "in"), "--bundle", str(bright_bundle), "--output", str(tmp_path / "masks")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*start, *words], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "masks" / "run.json").read_text())
    assert [case["case"] for case in record["cases"]] == ["s0", "s1", "s2"]


def test_a_preview_shows_the_slices_with_the_outline(predict: Callable[..., Any], tmp_path: Path) -> None:
    predict(save_flair(draw_phantom(), tmp_path / "scan.nii.gz"))
    picture = decode_slices(tmp_path / "masks" / "scan_preview.png").pixels[0]
    red, green, blue = np.moveaxis(picture[..., :3].astype(int), -1, 0)
    outline = (red > 200) & (green < 120) & (blue < 60)
    assert 0.001 < outline.mean() < 0.1
    grey = ndimage.binary_erosion(~ndimage.binary_dilation(outline, iterations=3))
    assert ((red == green) & (green == blue))[grey].all()


def test_help_teaches_the_inputs_and_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    said = capsys.readouterr().out
    for word in ("DICOM", "NIfTI", "--flair F.nii.gz", "torchrun", "FLAIR alone is enough", "exit code 1"):
        assert word in said


def test_a_failure_leaves_the_mask_of_an_earlier_run_and_is_listed_until_mended(
    predict: Callable[..., Any], tmp_path: Path
) -> None:
    source = save_flair(draw_phantom(), tmp_path / "scan.nii.gz")
    content = source.read_bytes()
    predict(source)
    source.write_bytes(content[:300])
    record = predict(source, code=1)
    assert [one["case"] for one in record["failed"]] == ["scan"]
    assert (tmp_path / "masks" / "scan.nii.gz").is_file()
    source.write_bytes(content)
    assert predict(source)["failed"] == []


def test_masks_of_two_checkpoints_in_one_folder_keep_both_on_record(
    predict: Callable[..., Any], tmp_path: Path
) -> None:
    first, second = (save_flair(draw_phantom(seed=n), tmp_path / f"s{n}.nii.gz") for n in range(2))
    files = [save_weights(tmp_path / f"{n}.pt", bright_state(t), (str(n),)) for n, t in enumerate((1.2, 2.0))]
    predict(first, "--checkpoint", files[0])
    record = predict(second, "--checkpoint", files[1])
    assert {tuple(one["seen"]) for one in record["checkpoint"]} == {("0",), ("1",)}
    shutil.rmtree(tmp_path / "masks")
    assert len(predict(second, "--checkpoint", files[1])["checkpoint"]) == 1

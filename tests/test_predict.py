"""`brainseg predict` as a user runs it: what lies in the folder afterwards, what is said, and the exit code."""

from __future__ import annotations

import gzip
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
import tifffile
from fixed_bundles import BRIGHT, bright_state, dice, draw_phantom, make_bundle, read_mask, save_flair, save_weights
from scipy.stats import entropy

from monai_brainseg.cli import main
from monai_brainseg.slices import decode_slice
from monai_brainseg.volumes import hash_images, read_nifti, write_slices


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that marks what is bright in FLAIR."""
    return make_bundle(tmp_path_factory.mktemp("bundles") / "bright", BRIGHT, bright_state())


@pytest.fixture
def predict(bundle: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """``predict(words...)`` runs the command into ``tmp_path / "masks"``, and returns run.json."""

    def run(*words: object, code: int = 0) -> dict[str, Any]:
        output = tmp_path / "masks"
        arguments = ["predict", *map(str, words), "--bundle", str(bundle), "--output", str(output)]
        assert main(arguments) == code
        content: dict[str, Any] = json.loads((output / "run.json").read_text())
        return content

    return run


def save_slices(folder: Path, ending: str = ".tif", grey: bool = False, **options: Any) -> Path:
    images = draw_phantom(**options).images
    files = [folder / f"p_{number}{ending}" for number in range(1, images.shape[2] + 1)]
    write_slices(np.ascontiguousarray(images[..., 1] if grey else images), files)
    return folder


def test_nifti_gives_a_mask_with_its_header(predict: Callable[..., Any], tmp_path: Path) -> None:
    source = save_flair(draw_phantom(), tmp_path / "in" / "scan.nii.gz")
    image = nib.load(source)
    image.set_sform(image.affine + np.array([[0, 0.1, 0, 5], [0] * 4, [0] * 4, [0] * 4]), 2)
    image.set_qform(np.diag([-3.5, -3.5, 15.0, 1.0]), 1)
    image.header["descrip"] = b"Jane Doe, born 1966"
    image.header["intent_name"] = b"Jane Doe"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe"))
    nib.save(image, source)
    record = predict(source, "--probability", "--uncertainty")
    for kind, dtype in (("", np.uint8), ("_probability", np.float32), ("_entropy", np.float32)):
        file = tmp_path / "masks" / f"scan{kind}.nii.gz"
        mask = nib.load(file)
        assert mask.shape == image.shape
        assert mask.get_data_dtype() == dtype
        for kind_of in ("sform", "qform"):
            (one, code), (other, other_code) = (getattr(each, f"get_{kind_of}")(coded=True) for each in (mask, image))
            np.testing.assert_allclose(one, other, atol=1e-6)
            assert code == other_code
        assert mask.header.get_xyzt_units()[0] == "mm"
        assert b"Jane" not in gzip.decompress(file.read_bytes())
    (case,) = record["cases"]
    assert case["tumor_voxels"] == read_mask(tmp_path / "masks" / "scan.nii.gz").sum() > 0
    volume = abs(np.linalg.det(image.affine[:3, :3]))
    assert case["tumor_ml"] == pytest.approx(case["tumor_voxels"] * volume / 1000)


@pytest.mark.parametrize("kind", ["uncompressed", "big endian", "nifti 2", "scaled", "4D", "short name"])
def test_nifti_of_every_kind_gets_the_same_mask(predict: Callable[..., Any], tmp_path: Path, kind: str) -> None:
    phantom = draw_phantom()
    source = save_flair(phantom, tmp_path / "in" / "plain.nii.gz", dtype="int16")
    image = nib.load(source)
    voxels, name = np.asarray(image.dataobj), "x.nii.gz"
    if kind == "big endian":
        header = image.header.as_byteswapped(">")
        other = nib.Nifti1Image(voxels.astype(">i2"), image.affine, header)
    elif kind == "nifti 2":
        other = nib.Nifti2Image(voxels, image.affine, nib.Nifti2Header.from_header(image.header))
    elif kind == "scaled":
        other = nib.Nifti1Image(voxels, image.affine, image.header)
        other.header.set_slope_inter(0.01, -3)
    elif kind == "4D":
        other = nib.Nifti1Image(np.stack([voxels] * 3, -1), image.affine, image.header)
    else:
        other, name = image, "x.nii" if kind == "uncompressed" else "x.y.nii.gz"
    nib.save(other, tmp_path / "in" / name)
    predict(tmp_path / "in" / "plain.nii.gz", tmp_path / "in" / name)
    made = nib.load(tmp_path / "masks" / f"{name.split('.nii')[0]}.nii.gz")
    assert type(made) is (nib.Nifti2Image if kind == "nifti 2" else nib.Nifti1Image)
    assert made.shape == image.shape
    assert np.allclose(made.affine, image.affine)
    mask = np.asarray(made.dataobj)
    assert mask.any()
    assert dice(mask > 0, read_mask(tmp_path / "masks" / "plain.nii.gz") > 0) >= 0.99


@pytest.mark.parametrize("grey", [True, False])
@pytest.mark.parametrize("ending", [".tif", ".png"])
def test_slices_give_a_mask_file_each(predict: Callable[..., Any], tmp_path: Path, grey: bool, ending: str) -> None:
    folder = save_slices(tmp_path / "p", ending, grey, slices=12)
    record = predict(folder)
    files = sorted((tmp_path / "masks" / "p").iterdir())
    assert {file.name for file in files} == {f"p_{number}_mask.tif" for number in range(1, 13)}
    masks = [tifffile.imread(tmp_path / "masks" / "p" / f"p_{number}_mask.tif") for number in range(1, 13)]
    assert all(mask.shape == (64, 64) and mask.dtype == np.uint8 for mask in masks)
    assert {0, 255} == set(np.unique(masks))
    # The same voxels as NIfTI of unknown spacing, by nibabel: [column, row, slice], LPS.
    voxels = np.stack([decode_slice(folder / f"p_{number}{ending}") for number in range(1, 13)])
    volume = np.moveaxis(voxels if grey else voxels[..., 1], 0, -1).swapaxes(0, 1)
    (tmp_path / "in").mkdir()
    nib.save(nib.Nifti1Image(volume, np.diag([-1.0, -1.0, 1.0, 1.0])), tmp_path / "in" / "v.nii.gz")
    predict(tmp_path / "in" / "v.nii.gz")
    assert np.array_equal(read_mask(tmp_path / "masks" / "v.nii.gz") * 255, np.stack(masks).transpose(2, 1, 0))
    assert record["cases"][0]["tumor_ml"] is None


def test_a_head_of_four_times_the_pixels_gets_the_same_mask(predict: Callable[..., Any], tmp_path: Path) -> None:
    images = draw_phantom(128, 12).images[..., 1]
    for name, factor in (("small", 1), ("large", 4)):
        voxels = images.repeat(factor, 0).repeat(factor, 1)
        write_slices(voxels, [tmp_path / name / f"{name}_{z}.tif" for z in range(images.shape[2])])
    record = predict(tmp_path / "small", tmp_path / "large")
    scales = {case["case"]: case["scale"] for case in record["cases"]}
    assert scales["small"] == pytest.approx(4 * scales["large"], rel=0.05)
    small, large = (
        np.stack([tifffile.imread(tmp_path / "masks" / name / f"{name}_{z}_mask.tif") for z in range(12)]) > 0
        for name in ("small", "large")
    )
    # The finer one has smoother outlines.
    assert dice(small.repeat(4, 1).repeat(4, 2), large) > 0.85
    assert all("taken for" in case["warnings"][0] for case in record["cases"])
    kept = predict(tmp_path / "large", "--keep-scale")
    assert {case["case"]: case["scale"] for case in kept["cases"]}["large"] == 1


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
    assert "trained or chosen on this patient" in predict(source, "--checkpoint", seen)["cases"][0]["warnings"][0]
    assert "scan: the network was trained" in "".join(capsys.readouterr())


def test_a_second_run_does_what_is_missing(
    predict: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(3):
        save_flair(draw_phantom(seed=seed), tmp_path / "in" / f"s{seed}.nii.gz")
    masks = tmp_path / "masks"
    predict(tmp_path / "in")
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


def test_one_bad_study_is_listed_and_the_rest_goes_on(
    predict: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c"):
        save_flair(draw_phantom(), tmp_path / "in" / f"{name}.nii.gz")
    broken = tmp_path / "in" / "b.nii.gz"
    broken.write_bytes(broken.read_bytes()[:400])
    record = predict(tmp_path / "in", code=1)
    assert [case["case"] for case in record["cases"]] == ["a", "c"]
    assert [one["case"] for one in record["failed"]] == ["b"]
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("brainseg predict: 1 of 3 studies failed: b: ")
    assert "b.nii.gz: cannot be read" in said
    assert "--skip-bad" not in said
    assert not list((tmp_path / "masks").glob("b*"))
    save_flair(draw_phantom(), broken)
    assert predict(tmp_path / "in")["failed"] == []


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated NIfTI": (lambda f: _cut(save_flair(draw_phantom(), f / "x.nii.gz")), "cannot be read"),
    "truncated slice": (lambda f: _cut(save_slices(f, grey=True) / "p_3.tif"), "p_3.tif: cannot be read"),
    "text called NIfTI": (lambda f: (f / "x.nii").write_text("scan"), "cannot be read"),
    "mask as image": (lambda f: _save(f / "x.nii.gz", draw_phantom().mask.astype(np.uint8)), "as a mask has"),
    "NaN": (lambda f: _save(f / "x.nii.gz", np.full((9, 9, 9), np.nan)), "NaN or infinite"),
    "constant": (lambda f: _save(f / "x.nii.gz", np.full((9, 9, 9), 7.0)), "has the value 7 all over"),
    "no slices": (lambda f: _save(f / "x.nii.gz", np.zeros((9, 9, 0))), "not a 3D or 4D volume"),
    "two dimensions": (lambda f: _save(f / "x.nii.gz", np.zeros((9, 9))), "not a 3D or 4D volume"),
    "two channels": (lambda f: _save(f / "x.nii.gz", np.random.default_rng(0).random((9, 9, 9, 2))), "2 channels"),
    "mixed slices": (lambda f: tifffile.imwrite(save_slices(f) / "p_3.tif", np.ones((5, 5), "u1")), "slices of one"),
    "four colours": (lambda f: _write_rgba(f), "holds 4 channels"),
    "text called DICOM": (lambda f: (f / "x.dcm").write_text("scan"), "holds no DICOM image"),
}


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _save(file: Path, voxels: np.ndarray) -> None:
    nib.save(nib.Nifti1Image(voxels, np.diag([-1.0, -1.0, 1.0, 1.0])), file)


def _write_rgba(folder: Path) -> None:
    for number in range(3):
        tifffile.imwrite(folder / f"p_{number}.tif", np.random.default_rng(0).integers(0, 255, (9, 9, 4), np.uint8))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_input_is_one_line_and_leaves_no_mask(
    predict: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    make, said = FAULTS[fault]
    make(folder)
    predict(folder, code=1)
    errors = capsys.readouterr().err.strip().splitlines()
    assert said in errors[-1]
    assert errors[-1].startswith("brainseg predict: 1 of 1 studies failed")
    left = {path.name for path in (tmp_path / "masks").iterdir()} - {"run.json", ".run.json.lock", "records"}
    assert not left


def test_an_output_that_cannot_be_written_is_one_line(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save_flair(draw_phantom(), tmp_path / "scan.nii.gz")
    (tmp_path / "file").write_text("here")
    words = ["predict", str(source), "--bundle", str(bundle), "--output"]
    assert main([*words, str(tmp_path / "file")]) == 1
    assert "file: cannot be written" in capsys.readouterr().err


def test_a_full_disk_is_one_line_and_leaves_no_mask(bundle: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: run.json fits, the probability map does not."""
    source = save_flair(draw_phantom(), tmp_path / "in" / "scan.nii.gz")
    words = [sys.executable, "-m", "monai_brainseg", "predict", str(source), "--bundle", str(bundle), "--probability"]
    limited = ["bash", "-c", 'ulimit -f 24; exec "$@"', "limited", *words, "--output", str(tmp_path / "masks")]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "masks").glob("scan*"))
    assert not list((tmp_path / "masks").glob(".unfinished*"))


def test_without_weights_a_line_tells_how_to_get_some(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save_flair(draw_phantom(), tmp_path / "scan.nii.gz")
    words = ["predict", str(source), "--bundle", str(bundle), "--output", str(tmp_path / "masks")]
    assert main([*words, "--checkpoint", "gone.pt"]) == 1
    said = capsys.readouterr().err
    assert "gone.pt: no weights there" in said
    assert "run training" in said
    assert not (tmp_path / "masks").exists()


def test_what_was_asked_for_must_make_sense(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["predict", "--output", str(tmp_path / "masks"), "--bundle", str(bundle)]
    for words in ([], ["x.nii", "--flair", "y.nii"], ["x.nii", "--pre", "y.nii"], ["--post", "x.nii"]):
        assert main([*base, *words]) == 1
        assert "give one of them" in capsys.readouterr().err
    source = save_flair(draw_phantom(), tmp_path / "scan.nii.gz")
    assert main([*base, str(source), "--device", "cuda:99"]) == 1
    assert "--device cuda:99: there is no such device here" in capsys.readouterr().err


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
def test_torchrun_gives_each_study_to_one_process(bundle: Path, tmp_path: Path) -> None:
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
    words = ["predict", str(tmp_path / "in"), "--bundle", str(bundle), "--output", str(tmp_path / "masks")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*start, *words], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "masks" / "run.json").read_text())
    assert [case["case"] for case in record["cases"]] == ["s0", "s1", "s2"]


def test_a_preview_shows_the_slices_with_the_outline(predict: Callable[..., Any], tmp_path: Path) -> None:
    predict(save_flair(draw_phantom(), tmp_path / "scan.nii.gz"))
    picture = decode_slice(tmp_path / "masks" / "scan_preview.png")
    assert picture.shape[2] == 3
    assert (picture == (255, 77, 0)).all(-1).any()
    grey = picture[(picture != (255, 77, 0)).any(-1)]
    assert (grey[:, 0] == grey[:, 2]).all()


def test_a_prepared_folder_is_segmented_and_scored(
    predict: Callable[..., Any], prepared_phantoms: Path, tmp_path: Path
) -> None:
    predict(prepared_phantoms, "--keep-scale")
    patients = {item["patient"] for item in json.loads((prepared_phantoms / "datalist.json").read_text())["test"]}
    assert {file.name for file in (tmp_path / "masks").glob("*.nii.gz")} == {f"{name}.nii.gz" for name in patients}
    words = ["--datalist", prepared_phantoms, "--predictions", tmp_path / "masks", "--output", tmp_path / "scores"]
    assert main(["evaluate", *map(str, words)]) == 0
    assert json.loads((tmp_path / "scores" / "summary.json").read_text())["missing"] == []


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


@pytest.mark.real_data
def test_slices_of_a_real_patient_get_the_mask_of_their_prepared_volume(
    predict: Callable[..., Any], real_patients: Callable[[int], Path], tmp_path: Path
) -> None:
    source = real_patients(1)
    (folder,) = source.iterdir()
    record = predict(source)
    (case,) = record["cases"]
    count = len(list(folder.glob("*_mask.tif")))
    masks = [
        tifffile.imread(tmp_path / "masks" / case["case"] / f"{case['case']}_{n}_mask.tif") for n in range(1, count + 1)
    ]
    flair = np.stack([tifffile.imread(folder / f"{folder.name}_{n}.tif")[..., 1] for n in range(1, count + 1)])
    nib.save(nib.Nifti1Image(flair.transpose(2, 1, 0), np.diag([-1.0, -1.0, 1.0, 1.0])), tmp_path / "v.nii.gz")
    predict(tmp_path / "v.nii.gz")
    assert case["scale"] == 1
    assert np.any(masks)
    # The network of this test looks at FLAIR alone.
    assert np.array_equal(read_mask(tmp_path / "masks" / "v.nii.gz") * 255, np.stack(masks).transpose(2, 1, 0))


def test_files_that_are_not_used_are_named(
    predict: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_flair(draw_phantom(), tmp_path / "in" / "a_flair.nii.gz")
    save_flair(draw_phantom(), tmp_path / "in" / "a_seg.nii.gz")
    assert len(predict(tmp_path / "in")["cases"]) == 1
    assert "left out: 1 files" in (said := capsys.readouterr().out)
    assert "a_seg.nii.gz" in said


def test_masks_among_the_studies_are_no_studies(predict: Callable[..., Any], tmp_path: Path) -> None:
    save_flair(draw_phantom(), tmp_path / "scan.nii.gz")
    assert len(predict(tmp_path)["cases"]) == 1
    assert [case["case"] for case in predict(tmp_path)["cases"]] == ["scan"]


def test_a_fold_is_segmented_alone(predict: Callable[..., Any], prepared_phantoms: Path) -> None:
    record = predict(prepared_phantoms, "--part", "training", "--fold", "1", "--keep-scale")
    items = json.loads((prepared_phantoms / "datalist.json").read_text())["training"]
    assert [case["case"] for case in record["cases"]] == sorted(i["patient"] for i in items if i["fold"] == 1)

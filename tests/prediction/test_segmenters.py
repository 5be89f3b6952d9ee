"""Volumes through a bundle: the same masks as `run inferring`, however the volume lies, whatever its type and size."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from monai.transforms import Compose, MapTransform
from support.bundle_runs import NARROW_UNET
from support.fixed_bundles import (
    BRIGHT,
    bright_state,
    dice,
    draw_phantom,
    make_affine,
    make_bundle,
    random_state,
    read_mask,
    save_flair,
    save_weights,
)

from monai_brainseg.data.case_voxels import find_own
from monai_brainseg.data.naming import SEQUENCES
from monai_brainseg.errors import InputError
from monai_brainseg.images.volumes import Volume, read_nifti
from monai_brainseg.prediction.segmenters import Segmenter, load_bundle, predict_unique_windows

CPU = torch.device("cpu")
ORIENTATIONS = [
    (axes, flips) for axes in itertools.permutations(range(3)) for flips in itertools.product((1, -1), repeat=3)
]


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    """A bundle that marks what is bright in FLAIR, tiled by small windows; nothing is cleaned up."""
    folder = tmp_path_factory.mktemp("bundles") / "bright"
    changes = {"fill_holes": False, "remove_small": False, "patch_size": [32, 32]}
    make_bundle(folder, BRIGHT, bright_state(), **changes)
    return load_bundle(folder, [folder / "models" / "model.pt"], CPU, {})


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The U-Net bundle, narrow and untrained."""
    folder = tmp_path_factory.mktemp("bundles") / "noisy"
    # Its probabilities all lie near a half.
    points = {"balanced": 0.5, "recall": 0.45}
    state = random_state(NARROW_UNET, 0)
    return make_bundle(folder, NARROW_UNET, state, patch_size=[32, 32], operating_points=points)


def load(folder: Path, **overrides: object) -> Segmenter:
    return load_bundle(folder, [folder / "models" / "model.pt"], CPU, overrides)


def infer(folder: Path, scans: Path, output: Path, **overrides: object) -> None:
    """Segment as `python -m monai.bundle run inferring` does."""
    workflow = ConfigWorkflow(
        config_file=str(folder / "configs" / "inference.yaml"),
        workflow_type="infer",
        run_id="inferring",
        logging_file=str(folder / "configs" / "logging.conf"),
        dataset_dir=str(scans),
        output_dir=str(output),
        **overrides,
    )
    workflow.initialize()
    workflow.run()


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("point", ["balanced", "recall"])
def test_masks_are_those_of_run_inferring_to_the_voxel(noisy: Path, tmp_path: Path, flip: bool, point: str) -> None:
    phantom = draw_phantom()
    source = save_flair(phantom, tmp_path / "in" / "case.nii.gz")
    for number, sequence in enumerate(np.moveaxis(phantom.images, -1, 0)):
        nib.save(nib.Nifti1Image(sequence, make_affine(phantom)), tmp_path / "in" / f"three_000{number}.nii.gz")
    options = {"flip": flip, "operating_point": point}
    infer(noisy, tmp_path / "in", tmp_path / "out", **options)
    segmenter = load(noisy, **options)
    one = segmenter.segment({"flair": read_nifti(source)}).mask
    images = {s: read_nifti(tmp_path / "in" / f"three_000{n}.nii.gz") for n, s in enumerate(SEQUENCES)}
    three = segmenter.segment(images).mask
    assert 0 < one.sum() < one.size
    assert np.array_equal(one, read_mask(tmp_path / "out" / "case.nii.gz"))
    assert np.array_equal(three, read_mask(tmp_path / "out" / "three.nii.gz"))
    assert not np.array_equal(one, three)


@pytest.mark.real_data
@pytest.mark.slow
def test_masks_of_a_real_case_are_those_of_run_inferring(noisy: Path, shared: Path, tmp_path: Path) -> None:
    case = shared / "nifti" / "brats2013_pat0001"
    flair, post = (case / f"{name}_subtrMeanDivStd.nii.gz" for name in ("Flair", "T1c"))
    (tmp_path / "in").mkdir()
    for number, file in enumerate((flair, flair, post)):
        (tmp_path / "in" / f"case_000{number}.nii.gz").symlink_to(file)
    infer(noisy, tmp_path / "in", tmp_path / "out", patch_size=[128, 128])
    images = find_own({"flair": read_nifti(flair), "post": read_nifti(post)})
    mask = load(noisy, patch_size=[128, 128]).segment(images).mask
    assert 0 < mask.sum() < mask.size
    assert np.array_equal(mask, read_mask(tmp_path / "out" / "case.nii.gz"))


@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS)
def test_a_turned_volume_gets_the_same_mask_turned(
    bright: Segmenter, axes: tuple[int, ...], flips: tuple[int, ...]
) -> None:
    phantom = draw_phantom()
    image = nib.Nifti1Image(phantom.images[..., 1].astype(np.float32), make_affine(phantom))
    turn = np.array(list(zip(axes, flips, strict=True)))
    turned = image.as_reoriented(turn)
    straight = bright.segment({"flair": Volume(np.asarray(image.dataobj), image.affine, True)}).mask
    mask = bright.segment({"flair": Volume(np.asarray(turned.dataobj), turned.affine, True)}).mask
    expected = nib.orientations.apply_orientation(straight, turn)
    assert straight.any()
    assert mask.shape == expected.shape
    assert dice(mask, expected) >= 0.999


@pytest.mark.parametrize("degrees", [(20, 0, 0), (0, 15, 0), (10, -12, 25)])
def test_an_oblique_volume_gets_the_mask_of_a_straight_one(bright: Segmenter, degrees: tuple[float, ...]) -> None:
    phantom = draw_phantom()
    straight = make_affine(phantom)
    turn = np.eye(4)
    for axis, angle in enumerate(np.radians(degrees)):
        one = np.eye(4)
        first, second = (other for other in range(3) if other != axis)
        one[[first, first, second, second], [first, second, first, second]] = (
            np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle),
        )  # fmt: skip
        turn = turn @ one
    voxels = phantom.images[..., 1].astype(np.float32)
    expected = bright.segment({"flair": Volume(voxels, straight, True)}).mask
    mask = bright.segment({"flair": Volume(voxels, turn @ straight, True)}).mask
    assert expected.any()
    assert dice(mask, expected) >= 0.99


@pytest.mark.parametrize("shape", [(61, 75, 9), (33, 40, 1), (200, 31, 2), (16, 17, 3)])
def test_any_size_gets_a_mask_of_its_size(bright: Segmenter, shape: tuple[int, ...]) -> None:
    voxels = np.random.default_rng(0).exponential(300, shape).astype(np.int16)
    result = bright.segment({"flair": Volume(voxels, np.diag([-2.0, -2.0, 3.0, 1.0]), True)})
    assert result.mask.shape == result.probability.shape == shape
    assert result.mask.any()


@pytest.mark.parametrize("thickness", [1.0, 6.0])
def test_slices_are_never_resampled_through_the_plane(bright: Segmenter, thickness: float) -> None:
    phantom = draw_phantom()
    voxels = phantom.images[..., 1]
    expected = bright.segment({"flair": Volume(voxels, make_affine(phantom), True)}).mask
    affine = make_affine(phantom) @ np.diag([1, 1, thickness / phantom.spacing[2], 1])
    assert np.array_equal(bright.segment({"flair": Volume(voxels, affine, True)}).mask, expected)


TYPES = {
    "uint8": lambda v: v.astype(np.uint8),
    "int16 with negative values": lambda v: v.astype(np.int16) * 8 - 700,
    "uint16": lambda v: v.astype(np.uint16) * 200,
    "float64 around 0": lambda v: (v.astype(np.float64) - v.mean()) / v.std(),
    "big endian": lambda v: v.astype(">i2"),
    "int64": lambda v: v.astype(np.int64),
    "float16": lambda v: v.astype(np.float16),
    "not contiguous": lambda v: np.stack([v, v], -1)[..., 0],
}


@pytest.mark.parametrize("kind", TYPES)
def test_the_scale_and_type_of_intensities_do_not_matter(bright: Segmenter, kind: str) -> None:
    phantom = draw_phantom()
    voxels = phantom.images[..., 1].astype(np.float32)
    expected = bright.segment({"flair": Volume(voxels, make_affine(phantom), True)}).mask
    mask = bright.segment({"flair": Volume(TYPES[kind](phantom.images[..., 1]), make_affine(phantom), True)}).mask
    assert expected.any()
    assert dice(mask, expected) >= 0.99


def test_missing_sequences_are_stood_in_for_by_flair(noisy: Path) -> None:
    phantom = draw_phantom()
    affine = make_affine(phantom)
    pre, flair, post = (Volume(phantom.images[..., channel], affine, True) for channel in range(3))
    segmenter = load(noisy)
    some = segmenter.segment({"flair": flair, "post": post}).mask
    assert np.array_equal(some, segmenter.segment({"pre": flair, "flair": flair, "post": post}).mask)
    assert not np.array_equal(some, segmenter.segment({"pre": pre, "flair": flair, "post": post}).mask)


def test_a_scale_counts_within_slices_as_a_spacing_does(bright: Segmenter) -> None:
    phantom = draw_phantom()
    voxels, plain = phantom.images[..., 1], np.diag([-1.0, -1.0, 1.0, 1.0])
    expected = bright.segment({"flair": Volume(voxels, plain * [3.5, 3.5, 1, 1], False)}).mask
    assert np.array_equal(bright.segment({"flair": Volume(voxels, plain, False)}, scale=3.5).mask, expected)
    turned = nib.Nifti1Image(voxels, plain).as_reoriented(np.array([[2, 1], [0, 1], [1, 1]]))
    mask = bright.segment({"flair": Volume(np.asarray(turned.dataobj), turned.affine, False)}, scale=3.5).mask
    assert dice(mask, nib.orientations.apply_orientation(expected, [[2, 1], [0, 1], [1, 1]])) >= 0.999


def test_several_checkpoints_are_the_mean_of_their_probabilities(tmp_path: Path) -> None:
    states = [bright_state(1.2), bright_state(1.8, 3.0), bright_state(0.9)]
    folder = make_bundle(tmp_path / "bundle", BRIGHT, states[0], pixel_size=1.0)
    files = [save_weights(tmp_path / f"{number}.pt", state) for number, state in enumerate(states)]
    # On its own grid nothing is interpolated, so that the mean may be taken before or after.
    volume = {"flair": Volume(draw_phantom().images[..., 1], np.diag([-1.0, -1.0, 1.0, 1.0]), True)}
    alone = [load_bundle(folder, [file], CPU, {}).segment(volume).probability for file in files]
    together = load_bundle(folder, files, CPU, {}).segment(volume).probability
    np.testing.assert_allclose(together, np.mean(alone, axis=0), atol=2e-4)
    twice = load_bundle(folder, files[:1] * 2, CPU, {}).segment(volume).mask
    assert np.array_equal(twice, load_bundle(folder, files[:1], CPU, {}).segment(volume).mask)


def test_recall_marks_all_that_balanced_does_and_more(noisy: Path) -> None:
    phantom = draw_phantom()
    volume = {"flair": Volume(phantom.images[..., 1], make_affine(phantom), True)}
    plain = {"fill_holes": False, "remove_small": False}
    balanced, recall = (
        load(noisy, operating_point=name, **plain).segment(volume).mask for name in ("balanced", "recall")
    )
    assert (recall & ~balanced).any()
    assert not (balanced & ~recall).any()


def test_windows_of_one_value_are_asked_for_once_and_answered_alike() -> None:
    torch.manual_seed(0)
    network = torch.nn.Conv2d(3, 2, 3, padding=1)
    windows = torch.randn(9, 3, 16, 16)
    windows[[1, 4, 8]] = torch.tensor([0.0, 1.0, 2.0])[:, None, None]
    windows[[2, 6]] = 0.5
    windows[7, 1:] = 0.5
    asked = []

    def count(batch: torch.Tensor) -> torch.Tensor:
        asked.append(len(batch))
        answer: torch.Tensor = network(batch)
        return answer

    torch.testing.assert_close(predict_unique_windows(count, windows), network(windows))
    assert asked == [6]


class Forgetful(torch.nn.Conv2d):
    """A network that runs out of memory with more than two slices at a time."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > 2:
            raise torch.cuda.OutOfMemoryError
        return super().forward(images)


class Broken(torch.nn.Module):
    """A network that never has enough memory."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError


def test_out_of_memory_falls_back_to_smaller_batches_and_says_so(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "bundle", BRIGHT, bright_state())
    phantom = draw_phantom()
    volume = {"flair": Volume(phantom.images[..., 1], make_affine(phantom), True)}
    segmenter = load(folder)
    expected = segmenter.segment(volume).mask
    short = Forgetful(3, 2, 1)
    short.load_state_dict(bright_state())
    segmenter.network = short
    result = segmenter.segment(volume)
    assert np.array_equal(result.mask, expected)
    assert [note for note in result.notes if "ran out of memory" in note][-1].endswith("2 slices")
    segmenter.network = Broken()
    with pytest.raises(InputError, match="--device cpu"):
        segmenter.segment(volume)


class Short(MapTransform):
    """A transform that once has not enough memory."""

    lacking = 1

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        if self.lacking:
            self.lacking -= 1
            raise torch.cuda.OutOfMemoryError
        return data


def test_out_of_memory_within_monais_transforms_moves_them_to_the_cpu_and_says_so(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "bundle", BRIGHT, bright_state())
    phantom = draw_phantom()
    volume = {"flair": Volume(phantom.images[..., 1], make_affine(phantom), True)}
    segmenter = load(folder)
    expected = segmenter.segment(volume).mask
    segmenter.postprocessing = Compose([Short("pred"), segmenter.postprocessing])  # MONAI wraps the error in its own
    result = segmenter.segment(volume)
    assert np.array_equal(result.mask, expected)
    assert "masks were made on the CPU" in result.notes[-1]


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "bundle", BRIGHT, bright_state())
    other = save_weights(tmp_path / "other.pt", torch.nn.Conv2d(3, 2, 3).state_dict())
    with pytest.raises(InputError, match=r"other\.pt: holds weights of another network"):
        load_bundle(folder, [other], CPU, {})
    (tmp_path / "text.pt").write_text("weights")
    with pytest.raises(InputError, match=r"text\.pt: is not a checkpoint"):
        load_bundle(folder, [tmp_path / "text.pt"], CPU, {})


def test_a_bundle_without_operating_points_is_refused_in_words(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "bundle", BRIGHT, bright_state())
    with pytest.raises(InputError, match=r"inference\.yaml: has no 'point_of_operation'"):
        load(folder, point_of_operation="recall")

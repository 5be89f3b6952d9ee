"""Phantoms are hard by brightness alone, varied, reproducible, and laid out as the data sets they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from monai_brainseg.cli.main import main
from monai_brainseg.data.case_voxels import read_images, read_label
from monai_brainseg.data.layouts import find_cases
from monai_brainseg.errors import InputError
from monai_brainseg.phantoms.patients import STYLES, Phantom, Style, make_phantom, write_phantoms

SMALL: dict[str, Any] = {"size": 48, "slices": 8}


def make_patient(number: int, style: Style = STYLES["usual"], **grid: Any) -> Phantom:
    return make_phantom(np.random.default_rng([7, number]), style=style, **grid)


@pytest.fixture(scope="module")
def training() -> list[Phantom]:
    return [make_patient(number) for number in range(1, 17)]


@pytest.fixture(scope="module")
def others() -> list[Phantom]:
    return [make_patient(number) for number in range(17, 25)]


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * float((first & second).sum()) / float(first.sum() + second.sum())


def keep_largest(mask: np.ndarray) -> np.ndarray:
    components, count = ndimage.label(mask)
    return components == 1 + np.argmax(np.bincount(components.ravel())[1:]) if count else mask


def find_head(phantom: Phantom) -> np.ndarray:
    """Everything that is brighter than air, closed and filled slice by slice."""
    smooth = ndimage.gaussian_filter(phantom.images.astype(float).mean(-1), (1, 1, 0))
    air = np.median(smooth[:4, :4])
    bright = smooth > air + 0.15 * (np.percentile(smooth, 98) - air)
    closed = [ndimage.binary_closing(np.pad(bright[..., k], 8), iterations=4) for k in range(bright.shape[2])]
    return np.stack([ndimage.binary_fill_holes(each)[8:-8, 8:-8] for each in closed], -1)


def peel_head(phantom: Phantom) -> np.ndarray:
    """The head without its outer 16 mm or so, where scalp and skull are."""
    return np.stack([ndimage.binary_erosion(each, iterations=9) for each in np.moveaxis(find_head(phantom), 2, 0)], -1)


# Each brings FLAIR, given the voxels of the region, to a scale on which one threshold may serve all patients.
SCALES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "raw": lambda flair, region: flair / 255,
    "percentiles": lambda flair, region: flair / np.percentile(region, 99) / 1.6,
    "rank": lambda flair, region: np.searchsorted(np.sort(region), flair) / region.size,
    "median": lambda flair, region: flair / np.median(region) / 4,
    "z-score": lambda flair, region: 0.2 + (flair - region.mean()) / region.std() / 6,
}
THRESHOLDS = np.concatenate([np.linspace(0.05, 0.85, 17), np.linspace(0.88, 0.997, 12)])


def score_thresholds(phantom: Phantom, scale: str, region: np.ndarray) -> list[float]:
    box = ndimage.find_objects(region.astype(np.uint8))[0]
    region, flair, mask = region[box], phantom.images[..., 1][box].astype(float), phantom.mask[box]
    assert mask.sum() == phantom.mask.sum()
    scaled = np.where(region, SCALES[scale](flair, flair[region]), -1)
    return [dice(keep_largest(scaled > threshold), mask) for threshold in THRESHOLDS]


@pytest.mark.parametrize("find_region", [find_head, peel_head])
@pytest.mark.parametrize("scale", SCALES)
def test_no_flair_threshold_finds_the_tumour(
    training: list[Phantom], others: list[Phantom], scale: str, find_region: Callable[[Phantom], np.ndarray]
) -> None:
    tried, unseen = (
        np.mean([score_thresholds(phantom, scale, find_region(phantom)) for phantom in part], axis=0)
        for part in (training, others)
    )
    assert unseen[tried.argmax()] < 0.5


@pytest.mark.parametrize("find_region", [find_head, peel_head])
@pytest.mark.parametrize("scale", SCALES)
def test_the_same_thresholds_find_a_tumour_that_alone_is_bright(
    others: list[Phantom], scale: str, find_region: Callable[[Phantom], np.ndarray]
) -> None:
    for phantom in others:
        flair = 10 + 40 * find_head(phantom) + 60 * phantom.mask
        easy = replace(phantom, images=np.stack([flair] * 3, -1).astype(np.uint8))
        assert max(score_thresholds(easy, scale, find_region(phantom))) > 0.75  # largest of up to three


def test_as_much_healthy_tissue_is_as_bright_in_flair_as_the_tumour(training: list[Phantom]) -> None:
    ratios = [
        (phantom.images[..., 1][~phantom.mask] >= np.median(phantom.images[..., 1][phantom.mask])).sum()
        / phantom.mask.sum()
        for phantom in training
    ]
    assert np.median(ratios) > 1


def test_sequences_tell_the_tumour_from_the_brain_around_it(
    training: list[Phantom],
) -> None:
    whole = [phantom for phantom in training if not (phantom.images[..., 0] == phantom.images[..., 1]).all()]
    assert len(whole) > 10
    for phantom in whole:
        near = ndimage.binary_dilation(phantom.mask, iterations=3) & ~ndimage.binary_dilation(phantom.mask)
        pre, flair = (np.median(phantom.images[phantom.mask, c]) / np.median(phantom.images[near, c]) for c in (0, 1))
        assert flair > 1.15
        assert pre < 0.8 * flair


def test_about_half_of_the_slices_show_no_tumour_and_every_patient_has_both(training: list[Phantom]) -> None:
    shares = [1 - phantom.mask.any((0, 1)).mean() for phantom in training]
    assert 0.4 < np.mean(shares) < 0.65
    assert min(shares) > 0
    assert max(shares) < 1


def test_lesions_are_one_to_three_and_from_small_to_large(training: list[Phantom], others: list[Phantom]) -> None:
    sizes, counts = [], set()
    for phantom in [*training, *others]:
        components, count = ndimage.label(phantom.mask)
        voxels = np.bincount(components.ravel())[1:]
        millilitres = voxels * np.prod(phantom.spacing) / 1000
        sizes.append(millilitres.sum())
        counts.add(int((millilitres > 0.1).sum()))
        assert count
    assert {1, 2} <= counts
    assert min(sizes) < 12
    assert max(sizes) > 60


def test_patients_differ_in_scale(training: list[Phantom]) -> None:
    brightest = np.array([np.percentile(phantom.images, 99, axis=(0, 1, 2)) for phantom in training])
    assert (brightest.max(0) / brightest.min(0) > 2).all()


def test_tumour_lies_inside_the_head_and_off_the_skull(training: list[Phantom]) -> None:
    for phantom in training:
        inner = np.stack([ndimage.binary_erosion(s, iterations=3) for s in np.moveaxis(find_head(phantom), 2, 0)], -1)
        assert phantom.mask.any()
        assert not (phantom.mask & ~inner).any()


def test_a_missing_sequence_is_flair_once_more() -> None:
    channels = [make_patient(n, Style(missing=1), **SMALL).images for n in range(8)]
    twins = [tuple((images[..., c] == images[..., 1]).all() for c in (0, 2)) for images in channels]
    assert set(twins) == {(True, False), (False, True)}
    for images in (make_patient(n, Style(missing=0), **SMALL).images for n in range(8)):
        assert not any((images[..., c] == images[..., 1]).all() for c in (0, 2))


def test_another_scanner_shows_the_same_heads_otherwise() -> None:
    usual, other = (make_patient(1, STYLES[style]) for style in ("usual", "other"))
    np.testing.assert_array_equal(usual.mask, other.mask)
    air = [np.median(phantom.images[:8, :8]) for phantom in (usual, other)]
    assert air[1] > air[0]
    assert np.abs(usual.images.astype(float) - other.images).mean() > 10


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(48, 80), slices=st.integers(8, 20))
def test_every_grid_gives_a_patient_with_a_tumour(seed: int, size: int, slices: int) -> None:
    phantom = make_phantom(np.random.default_rng(seed), size=size, slices=slices)
    assert phantom.images.shape == (size, size, slices, 3)
    assert phantom.images.dtype == np.uint8
    assert phantom.mask.shape == (size, size, slices)
    assert 0 < phantom.mask.mean() < 0.2
    np.testing.assert_allclose(np.multiply(phantom.spacing, phantom.mask.shape), (224, 224, 120))


def read_tree(folder: Path) -> Iterator[tuple[str, bytes]]:
    return ((str(file.relative_to(folder)), file.read_bytes()) for file in sorted(folder.rglob("*")) if file.is_file())


@pytest.mark.parametrize("layout", ["kaggle_3m", "nifti"])
def test_a_patient_depends_on_seed_and_number_alone(tmp_path: Path, layout: str) -> None:
    few = write_phantoms(tmp_path / "few", 2, 5, layout, **SMALL)
    more = write_phantoms(tmp_path / "more", 3, 5, layout, **SMALL)
    write_phantoms(tmp_path / "seed", 2, 6, layout, **SMALL)
    assert more[:2] == few
    first, second, third = (dict(read_tree(tmp_path / name)) for name in ("few", "more", "seed"))
    assert first.items() < second.items()
    assert first.keys() == third.keys()
    assert not any(first[f"{few[0]}/{few[0]}{end}"] == third[f"{few[0]}/{few[0]}{end}"] for end in ENDINGS[layout])


ENDINGS = {"kaggle_3m": ("_4.tif", "_5.tif"), "nifti": ("-t1n.nii.gz", "-t2f.nii.gz", "-t1c.nii.gz", "-seg.nii.gz")}


def test_writing_again_replaces_a_patient_whole(tmp_path: Path) -> None:
    write_phantoms(tmp_path, 1, 5, size=48, slices=12)
    names = write_phantoms(tmp_path, 1, 5, **SMALL)
    once = dict(read_tree(tmp_path))
    assert len(once) == 16
    write_phantoms(tmp_path, 1, 5, **SMALL)
    assert dict(read_tree(tmp_path)) == once
    assert [path.name for path in tmp_path.iterdir()] == names


@pytest.mark.parametrize(("layout", "found_as"), [("kaggle_3m", "kaggle_3m"), ("nifti", "brats")])
def test_both_layouts_are_found_without_options_and_read_as_made(tmp_path: Path, layout: str, found_as: str) -> None:
    names = write_phantoms(tmp_path, 3, 5, layout, **SMALL)
    found = find_cases(tmp_path)
    assert found.layout == found_as
    assert not found.bad
    assert not any(found.left_out.values())
    assert [case.patient for case in found.cases] == sorted(names)
    for case in found.cases:
        phantom = make_phantom(np.random.default_rng([5, int(case.patient[-4:])]), **SMALL)
        images = read_images(case)
        np.testing.assert_array_equal(np.stack([v.voxels for v in images.values()], -1), phantom.images)
        np.testing.assert_array_equal(read_label(case, images["flair"]).voxels, phantom.mask)
        assert images["flair"].spacing_known is (layout == "nifti")


def test_nifti_is_in_millimetres_left_posterior_superior(tmp_path: Path) -> None:
    (name,) = write_phantoms(tmp_path, 1, 5, "nifti", **SMALL)
    image = nib.load(tmp_path / name / f"{name}-t2f.nii.gz")
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    np.testing.assert_allclose(image.header.get_zooms(), (224 / 48, 224 / 48, 15), rtol=1e-6)
    assert image.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(nib.affines.apply_affine(image.affine, [23.5, 23.5, 3.5]), 0, atol=1e-4)


@pytest.mark.parametrize(
    ("patients", "options", "named"),
    [
        (0, {}, "patients 0"),
        (1, {"seed": -1}, "seed -1"),
        (1, {"layout": "dicom"}, "layout 'dicom'"),
        (1, {"size": 16}, "size 16"),
        (1, {"slices": 2}, "slices 2"),
    ],
)
def test_what_cannot_be_made_is_refused_by_name(
    tmp_path: Path, patients: int, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(InputError, match=f"^.*{named}.*"):
        write_phantoms(tmp_path / "out", patients, **options)
    assert not list(tmp_path.glob("out/*"))


def test_the_command_writes_patients_and_fails_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "data"
    options = ["--patients", "2", "--seed", "3", "--layout", "nifti", "--size", "48", "--slices", "8"]
    assert main(["phantom", "--output", str(output), *options]) == 0
    assert len(list(output.glob("PHANTOM_*_000[12]/*.nii.gz"))) == 8
    assert capsys.readouterr().out == f"2 patients in {output}\n"
    blocked = tmp_path / "file"
    blocked.touch()
    assert main(["phantom", "--output", str(blocked), *options]) == 1
    error = capsys.readouterr().err
    assert str(blocked) in error
    assert error.count("\n") == 1

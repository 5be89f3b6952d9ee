"""Volumes and pictures in every form that people have are read, with a note where something was changed."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import itk
import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image

from monai_brainseg.data.case_voxels import do_each, examine_case, read_images, read_label
from monai_brainseg.data.cases import Case
from monai_brainseg.data.itk_volumes import read_itk
from monai_brainseg.data.layouts import find_cases
from monai_brainseg.data.naming import SEQUENCES
from monai_brainseg.data.volumes import Volume, read_nifti, read_slices
from monai_brainseg.errors import InputError
from monai_brainseg.prediction.inputs import find_studies
from monai_brainseg.scoring.patients import score_patient

VOXELS = np.random.default_rng(0).integers(1, 999, (6, 7, 4)).astype(np.int16)
AFFINE = np.array([[-2.0, 0, 0, 30], [0, -2.5, 0, 40], [0, 0, 3, -20], [0, 0, 0, 1]])


def save(path: Path, voxels: np.ndarray = VOXELS, affine: np.ndarray = AFFINE, kind: Any = nib.Nifti1Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = kind(voxels, affine)
    if hasattr(image.header, "set_xyzt_units"):
        image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def make_case(flair: Path | Sequence[Path], label: Path | Sequence[Path] = ()) -> Case:
    files, labels = ((each,) if isinstance(each, Path) else tuple(each) for each in (flair, label))
    return Case("a", "a", "unknown", {"flair": files}, labels)


def read_flair(path: Path) -> Volume:
    (case,) = find_studies([path]).cases
    return read_images(case)["flair"]


def write_itk(path: Path, array: np.ndarray = VOXELS) -> Path:
    """Write ``[x, y, z]``, or ``[x, y, z, channel]`` as vectors, with ITK on the grid of ``AFFINE``."""
    image = itk.image_from_array(np.ascontiguousarray(array.swapaxes(0, 2)), is_vector=array.ndim == 4)
    image.SetSpacing((2.0, 2.5, 3.0))
    image.SetOrigin((-30.0, -40.0, -20.0))
    itk.imwrite(image, str(path))
    return path


@pytest.mark.parametrize("name", ["x.nrrd", "x.nhdr", "x.mha", "x.mhd", "X.MHA", "X.NRRD"])
def test_what_itk_writes_is_read_on_its_grid(name: str, tmp_path: Path) -> None:
    write_itk(tmp_path / name.lower()).rename(tmp_path / name)
    volume = read_flair(tmp_path / name)
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    np.testing.assert_allclose(volume.affine, AFFINE)
    assert volume.spacing_known
    assert [case.patient for case in find_studies([tmp_path]).cases] == [Path(name).stem]


@pytest.mark.parametrize("name", ["x.mgz", "x.mgh", "x.nii", "x.nii.gz", "X.NII", "X.NII.GZ", "x.Nii.gz"])
def test_what_nibabel_writes_is_read_whatever_the_case_of_its_ending(name: str, tmp_path: Path) -> None:
    kind = nib.MGHImage if "mg" in name else nib.Nifti1Image
    save(tmp_path / name.lower(), kind=kind).rename(tmp_path / name)
    volume = read_flair(tmp_path / name)
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)
    assert (volume.spacing_known, volume.notes) == (True, ())


@pytest.mark.parametrize(("kind", "notes"), [(nib.AnalyzeImage, 1), (nib.Nifti1Pair, 0)])
@pytest.mark.parametrize("named", ["x.hdr", "x.img"])
def test_volumes_in_two_files_are_one_study(named: str, kind: Any, notes: int, tmp_path: Path) -> None:
    save(tmp_path / "x.img", kind=kind)
    volume = read_flair(tmp_path / named)
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    assert len(volume.notes) == notes
    (case,) = find_studies([tmp_path]).cases
    assert {file.name for file in case.image_files} == {"x.hdr", "x.img"}


def test_a_metaimage_without_spacing_has_none(tmp_path: Path) -> None:
    data = write_itk(tmp_path / "x.mha").read_bytes()
    (tmp_path / "x.mha").write_bytes(data.replace(b"ElementSpacing = 2 2.5 3\n", b""))
    assert not read_itk(tmp_path / "x.mha").spacing_known


@pytest.mark.parametrize("name", ["x.nrrd", "x.mha"])
def test_a_truncated_itk_file_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    file = write_itk(tmp_path / name)
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(InputError, match=f"{name}: cannot be read") as caught:
        read_itk(file)
    assert "\n" not in str(caught.value)


def test_threads_share_itk(tmp_path: Path) -> None:
    files = [write_itk(tmp_path / f"{number}.mha", VOXELS + number) for number in range(12)]
    for number, volume in enumerate(do_each(read_itk, files, "reading")):
        np.testing.assert_array_equal(volume.voxels, VOXELS + number)


@pytest.mark.parametrize("name", ["x.nii.gz", "x.mha", "x.nrrd"])
def test_vectors_of_itk_are_three_sequences(name: str, tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).random((6, 7, 4, 3)).astype(np.float32)
    write_itk(tmp_path / name, voxels)
    (case,) = find_studies([tmp_path / name]).cases
    for channel, volume in enumerate(read_images(case).values()):
        np.testing.assert_array_equal(volume.voxels, voxels[..., channel])
        np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)


@pytest.mark.parametrize("packed", [True, False])
def test_compression_against_the_ending_is_read_and_said(packed: bool, tmp_path: Path) -> None:
    data = save(tmp_path / "y.nii").read_bytes()
    file = tmp_path / ("x.nii" if packed else "x.nii.gz")
    file.write_bytes(gzip.compress(data) if packed else data)
    volume = read_flair(file)
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    assert "against its ending" in volume.notes[0]


def test_an_empty_sform_leaves_the_qform(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, AFFINE)
    image.set_qform(AFFINE, 1)
    header = image.header.copy()
    for row in ("srow_x", "srow_y", "srow_z"):
        header[row] = 0
    header["sform_code"] = 1
    nib.save(nib.Nifti1Image(VOXELS, None, header), tmp_path / "x.nii.gz")
    volume = read_nifti(tmp_path / "x.nii.gz")
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-4)
    assert "qform" in volume.notes[0]


def make_head() -> np.ndarray:
    """A ball of tissue with a darker middle, in air."""
    grid = np.mgrid[:40, :40, :10]
    distance = np.hypot(grid[0] - 20, grid[1] - 20)
    noise = np.random.default_rng(0).normal(0, 2, distance.shape)
    return np.where(distance < 5, 60, np.where(distance < 14, 100, 3) + noise).astype(np.float32)


@pytest.mark.parametrize("lowest", [0.0, -50.0])
def test_nan_outside_the_head_is_background_and_said(lowest: float, tmp_path: Path) -> None:
    head = make_head() + np.float32(lowest)
    air = np.hypot(*(np.mgrid[:40, :40] - 20)) > 14
    head[air] = np.nan
    volume = read_flair(save(tmp_path / "x.nii.gz", head))
    assert (volume.voxels[air] == min(0, np.nanmin(head))).all()
    np.testing.assert_array_equal(volume.voxels[~air], head[~air])
    assert volume.notes == ("NaN outside the head was taken as background",)


@pytest.mark.parametrize(
    "place", [(20, 20, 5), (12, 20, slice(4, 5)), (slice(None), slice(None), 5), (slice(18, 22), slice(18, 22))]
)
def test_nan_inside_the_head_is_refused(place: Any, tmp_path: Path) -> None:
    head = make_head()
    head[place] = np.nan
    with pytest.raises(InputError, match="NaN or infinite"):
        read_flair(save(tmp_path / "x.nii.gz", head))


def write_pictures(folder: Path, images: Sequence[np.ndarray], save_one: Callable[[Path, np.ndarray], Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images, start=1):
        save_one(folder / f"p_{number}.png", image)


GREY = np.random.default_rng(1).integers(0, 255, (8, 7), dtype=np.uint8)


@pytest.mark.parametrize("bits", [8, 16, "bilevel"])
def test_white_stored_as_zero_is_turned_back(bits: Any, tmp_path: Path) -> None:
    images: dict[Any, np.ndarray] = {8: GREY, 16: GREY.astype(np.uint16) * 200, "bilevel": GREY > 99}
    image = images[bits]
    stored = ~image if bits == "bilevel" else np.iinfo(image.dtype).max - image
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite", software="scanner")
    volume = read_slices([tmp_path / "a.tif"])
    np.testing.assert_array_equal(volume.voxels[..., 0], image.T)
    assert "turned back" in volume.notes[0]


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_dropped_and_hidden_pixels_are_black(mode: str, ending: str, tmp_path: Path) -> None:
    colours = np.stack([GREY, GREY // 2, GREY // 3], -1) if mode == "RGBA" else GREY[..., None]
    alphas: dict[str, np.ndarray] = {"opaque": np.full_like(GREY, 255), "holes": (GREY <= 200) * np.uint8(255)}
    for name, alpha in alphas.items():
        file = tmp_path / f"{name}.{ending}"
        Image.fromarray(np.concatenate([colours, alpha[..., None]], -1), mode).save(file)
        volume = read_slices([file])
        expected = np.where(alpha[..., None] > 0, colours, 0).swapaxes(0, 1)
        np.testing.assert_array_equal(volume.voxels[:, :, 0], expected if mode == "RGBA" else expected[..., 0])
        assert (volume.notes == ()) == (name == "opaque")


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_a_palette_of_greys_is_grey_and_one_of_colours_is_no_image(ending: str, tmp_path: Path) -> None:
    picture = Image.fromarray(GREY // 64, "P")
    for name, palette in {
        "grey": [0, 0, 0, 80, 80, 80, 160, 160, 160, 240, 240, 240],
        "hot": [0, 0, 9, 255] * 3,
    }.items():
        picture.putpalette(palette)
        picture.save(tmp_path / f"{name}.{ending}")
    np.testing.assert_array_equal(read_slices([tmp_path / f"grey.{ending}"]).voxels[..., 0], (GREY // 64 * 80).T)
    with pytest.raises(InputError, match="palette's, not three sequences; export it as grey"):
        read_slices([tmp_path / f"hot.{ending}"])


def test_jpeg_is_read_with_a_warning_whatever_its_ending(tmp_path: Path) -> None:
    image = np.add.outer(np.arange(40), np.arange(32)).astype(np.uint8)
    for name in ("a.jpg", "a.JPEG", "a.png"):
        Image.fromarray(image).save(tmp_path / "written.jpg", quality=95)
        (tmp_path / "written.jpg").rename(tmp_path / name)
        volume = read_slices([tmp_path / name])
        assert np.abs(volume.voxels[..., 0].T.astype(int) - image).max() < 8
        assert "JPEG" in volume.notes[0]
    (case,) = find_studies([tmp_path / "a.jpg"]).cases
    assert case.form == "slices"
    Image.fromarray(np.stack([image] * 4, -1), "CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="its colours are CMYK"):
        read_slices([tmp_path / "a.jpg"])


def test_pages_are_slices_and_each_file_of_pages_is_a_study(tmp_path: Path) -> None:
    pages = np.random.default_rng(0).integers(0, 255, (5, 8, 7), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "p1.tif", pages, photometric="minisblack")
    Image.fromarray(pages[0]).save(
        tmp_path / "p2.tif", save_all=True, append_images=[Image.fromarray(page) for page in pages[1:]]
    )
    with tifffile.TiffWriter(tmp_path / "p3.tif") as writer:
        for page in pages:
            writer.write(page, photometric="minisblack")
    cases = find_studies([tmp_path]).cases
    assert [case.patient for case in cases] == ["p1", "p2", "p3"]
    for case in cases:
        np.testing.assert_array_equal(read_images(case)["flair"].voxels, pages.transpose(2, 1, 0))
    with pytest.raises(InputError, match="holds 5 slices beside other files"):
        read_slices([tmp_path / "p1.tif", tmp_path / "p2.tif"])


def make_mask() -> np.ndarray:
    """Two hundred rows of a mask, 0 and 255, ``[z, row, column]``."""
    z, row, column = np.mgrid[:5, :64, :48]
    return np.where((row - 30) ** 2 + (column - 20) ** 2 + 9 * (z - 2) ** 2 < 100, 255, 0).astype(np.uint8)


def label_case(folder: Path, masks: np.ndarray, **labels: Any) -> Volume:
    """Write masks as png beside grey images, and read them as a case's label."""
    files = []
    for number, mask in enumerate(masks):
        (folder / f"m_{number}.png").write_bytes(imagecodecs.png_encode(np.ascontiguousarray(mask)))
        (folder / f"i_{number}.png").write_bytes(imagecodecs.png_encode(np.zeros(mask.shape[:2], np.uint8) + 7))
        files.append(number)
    case = make_case([folder / f"i_{number}.png" for number in files], [folder / f"m_{number}.png" for number in files])
    return read_label(case, read_images(case)["flair"], **labels)


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_masks_after_jpeg_are_split_at_half_and_it_is_said(quality: int, tmp_path: Path) -> None:
    masks, files = make_mask(), []
    for number, mask in enumerate(masks):
        Image.fromarray(mask).save(tmp_path / f"m_{number}.jpg", quality=quality)
        Image.fromarray(mask).save(tmp_path / f"i_{number}.png")
        files.append(number)
    case = make_case([tmp_path / f"i_{n}.png" for n in files], [tmp_path / f"m_{n}.jpg" for n in files])
    label = read_label(case, read_images(case)["flair"])
    np.testing.assert_array_equal(label.voxels > 0, masks.transpose(2, 1, 0) > 0)
    assert any("half the highest" in note for note in label.notes)
    assert any("the mask" in note for note in examine_case(case).notes)


@pytest.mark.parametrize("method", [Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.LANCZOS])
def test_resized_masks_are_split_at_half(method: Image.Resampling, tmp_path: Path) -> None:
    resized = np.stack([np.asarray(Image.fromarray(mask).resize((72, 96), method)) for mask in make_mask()])
    label = label_case(tmp_path, resized)
    assert abs(label.voxels.sum() / (make_mask() > 0).sum() / 2.25 - 1) < 0.04
    assert (resized > 0).sum() / 2.25 > (make_mask() > 0).sum() * 1.08, "what every value above 0 would give"
    assert "half the highest" in label.notes[0]


@pytest.mark.parametrize(
    ("values", "named"),
    [([0, 128, 255], "0, 128, 255"), ([0, 85, 170, 255], "0, 85, 170, 255"), (list(range(0, 250, 5)), "0, 5, 10")],
)
def test_levels_that_are_neither_two_nor_labels_are_refused_by_name(
    values: list[int], named: str, tmp_path: Path
) -> None:
    masks = np.random.default_rng(0).choice(values, (3, 30, 20)).astype(np.uint8)
    with pytest.raises(InputError, match=f"has the levels {named}.*--tumor-labels"):
        label_case(tmp_path, masks)
    given = label_case(tmp_path, masks, tumor_labels=[values[1]])
    np.testing.assert_array_equal(given.voxels > 0, masks.transpose(2, 1, 0) == values[1])


@pytest.mark.parametrize("values", [[0, 1, 2, 4], [0, 255], [0, 1], [0, 200], [0], list(range(12))])
def test_labels_are_taken_as_they_are_and_in_silence(values: list[int], tmp_path: Path) -> None:
    masks = np.random.default_rng(0).choice(values, (3, 30, 20)).astype(np.uint8)
    label = label_case(tmp_path, masks)
    np.testing.assert_array_equal(label.voxels > 0, masks.transpose(2, 1, 0) > 0)
    assert label.notes == ()


def test_each_colour_of_a_mask_that_is_not_black_is_tumour_and_said(tmp_path: Path) -> None:
    masks = np.zeros((2, 9, 8, 3), np.uint8)
    masks[0, 2, 3], masks[1, 4, 5] = (200, 0, 0), (0, 0, 200)
    label = label_case(tmp_path, masks)
    assert label.voxels.sum() == 2
    assert label.notes == ("each colour that is not black is tumour",)
    with pytest.raises(InputError, match="has colours, not labels"):
        label_case(tmp_path, masks, tumor_labels=[1])
    grey = label_case(tmp_path, np.repeat(masks.max(-1, keepdims=True), 3, -1))
    assert (grey.voxels.sum(), grey.notes) == (2, ())


def test_a_mask_with_a_palette_is_read_by_its_colours(tmp_path: Path) -> None:
    mask = Image.fromarray((GREY > 100).astype(np.uint8), "P")
    mask.putpalette([0, 0, 0, 128, 0, 0])
    mask.save(tmp_path / "m.png")
    Image.fromarray(GREY).save(tmp_path / "i.png")
    case = make_case(tmp_path / "i.png", tmp_path / "m.png")
    np.testing.assert_array_equal(read_label(case, read_images(case)["flair"]).voxels[..., 0] > 0, GREY.T > 100)


def test_labels_that_are_whole_within_a_thousandth_are_rounded(tmp_path: Path) -> None:
    mask = nib.Nifti1Image(np.where(VOXELS > 500, 255, 0).astype(np.uint8), AFFINE)
    mask.header.set_xyzt_units("mm")
    mask.header.set_slope_inter(1 / 255, 0)
    file = tmp_path / "m.nii.gz"
    file.write_bytes(gzip.compress(mask.to_bytes()))
    assert not (np.unique(read_nifti(file).voxels) == [0, 1]).all()
    case = make_case(save(tmp_path / "i.nii.gz"), file)
    label = read_label(case, read_images(case)["flair"])
    np.testing.assert_array_equal(label.voxels > 0, VOXELS > 500)
    save(tmp_path / "truth" / "a.nii.gz", (VOXELS > 500).astype(np.uint8))
    file.rename(tmp_path / "a.nii.gz")
    item: Any = {"image": [], "label": str(tmp_path / "truth" / "a.nii.gz"), "patient": "a"}
    assert score_patient(item, tmp_path, 2.0).overlap("dice") == 1


@pytest.mark.parametrize(("shift", "fits"), [(0.002, True), (0.05, True), (0.3, False)])
def test_grids_may_differ_by_a_twentieth_of_a_voxel(shift: float, fits: bool, tmp_path: Path) -> None:
    moved = AFFINE.copy()
    moved[0, 3] += shift
    mask = (VOXELS > 500).astype(np.uint8)
    case = make_case(save(tmp_path / "i.nii.gz"), save(tmp_path / "masks" / "a.nii.gz", mask, moved))
    item: Any = {"image": [], "label": str(save(tmp_path / "truth" / "a.nii.gz", mask)), "patient": "a"}
    if fits:
        assert read_label(case, read_images(case)["flair"]).voxels.sum() == mask.sum()
        assert score_patient(item, tmp_path / "masks", 2.0).overlap("dice") == 1
    else:
        with pytest.raises(InputError, match="its affine differs"):
            read_label(case, read_images(case)["flair"])
        with pytest.raises(InputError, match="its affine differs.*by up to 0.15 voxels"):
            score_patient(item, tmp_path / "masks", 2.0)


@pytest.mark.parametrize("ending", [".nii.gz", ".mha"])
def test_channels_may_be_named_in_any_order(ending: str, tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(1, 99, (6, 7, 4, 4)).astype(np.float32)
    file = tmp_path / "set" / f"p{ending}"
    file.parent.mkdir()
    write_itk(file, voxels)
    with pytest.raises(InputError, match="holds 4 channels; say what they are with --channels"):
        read_flair(file)
    (case,) = find_studies([file], channels="flair,t1,t1ce,t2").cases
    save(tmp_path / "set" / "p_seg.nii.gz", (VOXELS > 500).astype(np.uint8))
    naming = f"flair=*p{ending},label=*_seg.nii.gz"
    naming = f"flair=*{ending},label=*_seg.nii.gz" if ending != ".nii.gz" else "flair=set/*.nii.gz,label=*_seg.nii.gz"
    for each in (
        case,
        *(find_cases(tmp_path, naming=naming, channels="FLAIR, T1, T1Gd, T2").cases[:1] * (ending == ".mha")),
    ):
        read = read_images(each)
        assert list(read) == list(SEQUENCES)
        for sequence, channel in {"pre": 1, "flair": 0, "post": 2}.items():
            np.testing.assert_array_equal(read[sequence].voxels, voxels[..., channel])
    with pytest.raises(InputError, match="holds 4 channels where 3"):
        read_images(find_studies([file], channels="flair,t1,t1ce").cases[0])


@pytest.mark.parametrize(
    ("channels", "message"),
    [("t1,t2", "names no flair"), ("flair,flair", "'flair' is named twice"), ("flair,mr", "'mr' is not a known")],
)
def test_channels_that_cannot_be_are_refused(channels: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        find_studies([save(tmp_path / "x.nii.gz")], channels=channels)

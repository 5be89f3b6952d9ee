"""Pictures of slices in every form are read, with a note where something was changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from monai_brainseg.data.case_voxels import read_images
from monai_brainseg.errors import InputError
from monai_brainseg.images.volumes import read_slices
from monai_brainseg.inputs.search import find_studies

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


def test_an_alpha_channel_that_nobody_used_is_ignored_and_one_that_hides_a_slice_is_not(tmp_path: Path) -> None:
    def write(*alphas: int) -> list[Path]:
        for number, alpha in enumerate(alphas):
            Image.merge("LA", [Image.fromarray(GREY), Image.new("L", GREY.shape[::-1], alpha)]).save(
                tmp_path / f"{number}.png"
            )
        return sorted(tmp_path.glob("*.png"))

    assert np.array_equal(read_slices(write(0, 0)).voxels, np.stack([GREY.T] * 2, -1))
    volume = read_slices(write(255, 0))
    assert np.array_equal(volume.voxels, np.stack([GREY.T, GREY.T * 0], -1))
    assert volume.notes == ("transparent pixels count as black",)
    # In a mask nothing is marked where nothing is shown.
    assert not read_slices(write(0, 0), mask=True).voxels.any()
    half = read_slices(write(255, 128)).voxels
    assert np.array_equal(half[..., 1], np.rint(GREY.T * (128 / 255)))


def test_colours_that_were_multiplied_by_alpha_stay(tmp_path: Path) -> None:
    alpha = np.where(GREY > 200, 0, 128).astype(np.uint8)
    options: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["assocalpha"]}
    tifffile.imwrite(tmp_path / "a.tif", np.dstack([GREY, alpha]), **options)
    assert np.array_equal(read_slices([tmp_path / "a.tif"]).voxels[..., 0], np.where(alpha, GREY, 0).T)


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_bmp_is_read(mode: str, tmp_path: Path) -> None:
    Image.fromarray(GREY).convert(mode).save(tmp_path / "a.bmp")
    voxels = read_slices([tmp_path / "a.bmp"]).voxels
    assert np.array_equal(voxels if mode != "RGB" else voxels[..., 0], GREY.T[..., np.newaxis])


def test_colours_for_print_are_refused_with_the_remedy(tmp_path: Path) -> None:
    Image.fromarray(GREY).convert("CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="its colours are CMYK; export it as grey values, or as RGB"):
        read_slices([tmp_path / "a.jpg"])


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

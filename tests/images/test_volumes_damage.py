"""Damage to volumes and slices is reported, never read, and a full disk leaves no half file."""

from __future__ import annotations

import errno
import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import nibabel as nib
import numpy as np
import pytest
import tifffile

from monai_brainseg.errors import InputError
from monai_brainseg.files import write_whole
from monai_brainseg.images.volumes import read_nifti, read_slices


def damage(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("ending", [".tif", ".png"])
@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
def test_truncated_slice_is_refused(
    ending: str, share: float, compression: str | None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"patient 7{ending}"
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    if ending == ".png":
        file.write_bytes(imagecodecs.png_encode(image))
    else:
        tifffile.imwrite(file, image, photometric="rgb", compression=compression)
    with pytest.raises(InputError, match=r"patient 7.*cannot be read.*export it again") as caught:
        read_slices([damage(file, share)])
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_header_that_claims_a_huge_png_is_refused(tmp_path: Path) -> None:
    data = bytearray(imagecodecs.png_encode(np.zeros((4, 4), np.uint8)))
    data[16:24] = np.array([30000, 30000], ">u4").tobytes()
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.png: cannot be read \(.*(claims|exceeds)"):
        read_slices([tmp_path / "a.png"])


def test_slices_that_are_none_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "times.tif", np.zeros((4, 2, 6, 5), np.uint8), imagej=True, metadata={"axes": "TZYX"})
    (tmp_path / "text.png").write_text("no image")
    for name, reason in {
        "times.tif": "several times",
        "text.png": "cannot be read",
        "gone.tif": "no such file",
    }.items():
        with pytest.raises(InputError, match=f"{name}.*{reason}"):
            read_slices([tmp_path / name])


@pytest.mark.parametrize("name", ["patient 7.nii.gz", "patient 7.nii"])
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_truncated_nifti_is_refused(name: str, share: float, tmp_path: Path, make_volume: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match=r"patient 7\.nii.*cannot be read.*download or export") as caught:
        read_nifti(damage(make_volume(tmp_path / name), share))
    assert "\n" not in str(caught.value)


def test_corrupt_nifti_is_refused(tmp_path: Path, make_volume: Callable[..., Path]) -> None:
    path = make_volume(tmp_path / "a.nii.gz")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InputError, match="a.nii.gz: cannot be read"):
        read_nifti(path)
    path.write_bytes(gzip.compress(b"no volume"))
    with pytest.raises(InputError, match="a.nii.gz: cannot be read"):
        read_nifti(path)


def test_nifti_that_is_no_volume_is_refused(tmp_path: Path, make_volume: Callable[..., Path]) -> None:
    plane = make_volume(tmp_path / "plane.nii.gz", voxels=np.zeros((4, 5), np.uint8))
    complex_numbers = make_volume(tmp_path / "complex.nii.gz", voxels=np.zeros((4, 5, 2), np.complex64))
    flat = tmp_path / "flat.nii.gz"
    image = nib.Nifti1Image(np.zeros((4, 5, 2), np.uint8), None)
    image.set_sform(np.diag([1, 1, 0, 1]), 1)
    nib.save(image, flat)
    for path, reason in {plane: "4x5 uint8", complex_numbers: "complex64", flat: "affine"}.items():
        with pytest.raises(InputError, match=f"{path.name}.*{reason}.*convert it"):
            read_nifti(path)
    with pytest.raises(InputError, match="gone.nii.gz: no such file; check the path"):
        read_nifti(tmp_path / "gone.nii.gz")


def test_full_disk_names_the_file_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(
        InputError, match=r"mask\.nii\.gz: cannot be written \(No space left on device\); free some disk space"
    ):
        write_whole(tmp_path / "mask.nii.gz", b"whole mask")
    assert list(tmp_path.iterdir()) == []

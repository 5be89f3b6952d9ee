"""Volumes on the training device: what is kept, how much of it, and which volumes in which epoch."""

from __future__ import annotations

from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.bundle import ConfigParser
from monai.transforms import Compose
from support.bundle_runs import load

from monai_brainseg.errors import InputError
from monai_brainseg.training.device_slices import EXCHANGED, GIB, DeviceSliceDataset, count_bytes


@pytest.fixture
def items(tmp_path: Path) -> list[dict[str, str]]:
    """Eight volumes of 1 to 8 slices of 6x4, all of one number, with tumour in the last slice."""
    listed = []
    for number in range(8):
        voxels = np.full((6, 4, number + 1), number, np.float32)
        label = np.zeros(voxels.shape, np.uint8)
        label[2, 1:3, -1] = 1
        for name, content in (("image", voxels), ("label", label)):
            nib.save(nib.Nifti1Image(content, np.diag([-0.5, -2, 3, 1])), tmp_path / f"{name}{number}.nii.gz")
        listed.append({name: str(tmp_path / f"{name}{number}.nii.gz") for name in ("image", "label")})
    return listed


def make_dataset(
    items: list[dict[str, str]], memory: float = 1, rank: int = 0, processes: int = 1, epochs: int = 8
) -> DeviceSliceDataset:
    config = load("train.yaml")
    parser = ConfigParser({"reading": config["reading"], "then": config["train"]["deterministic_transforms"]})
    transforms = parser.get_parsed_content("reading") + parser.get_parsed_content("then")
    return DeviceSliceDataset(items, Compose(transforms), memory=memory, epochs=epochs, rank=rank, processes=processes)


def test_a_volume_is_kept_slice_by_slice_with_its_mask_spacing_and_tumour(items: list[dict[str, str]]) -> None:
    dataset = make_dataset(items)
    dataset.set_epoch(1)
    volume = dataset[3]
    assert volume.slices.shape == (4, 4, 6, 4)
    assert volume.slices.dtype == torch.float16
    assert volume.slices[:, :3].unique().tolist() == [3]
    assert volume.slices[:, 3].nonzero().tolist() == volume.tumor.tolist() == [[3, 2, 1], [3, 2, 2]]
    assert volume.spacing.tolist() == [0.5, 2.0]


def test_bytes_told_from_headers_are_those_that_are_kept(items: list[dict[str, str]]) -> None:
    dataset = make_dataset(items)
    dataset.set_epoch(1)
    for number, item in enumerate(items):
        assert dataset[number].slices.nbytes == count_bytes(item)


@settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=30),
    room=st.integers(9, 60),
    seed=st.integers(0, 9),
    epoch=st.integers(1, 500),
)
def test_resident_volumes_fit_follow_from_seed_and_epoch_and_change_by_a_part(
    sizes: list[int], room: int, seed: int, epoch: int
) -> None:
    def list_resident(seed: int, epoch: int) -> list[int]:
        dataset = DeviceSliceDataset([], lambda item: item, memory=room / GIB, seed=seed, epochs=1000)
        dataset.data = [{}] * len(sizes)
        dataset._bytes = sizes
        dataset._order = np.random.default_rng([seed, 0]).permutation(len(sizes)).tolist()
        return dataset.list_resident(epoch)

    resident = list_resident(seed, epoch)
    assert resident == list_resident(seed, epoch)
    assert sum(sizes[number] for number in resident) <= room
    if sum(sizes) <= room:
        assert resident == list(range(len(sizes)))
    else:
        assert resident
        left = set(resident) - set(list_resident(seed, epoch + 1))
        assert len(left) <= max(1, EXCHANGED * room / max(sizes) + 0.5)


def test_a_short_training_exchanges_more_and_says_where_not_all_have_their_turn(
    items: list[dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    memory = 20 * 6 * 4 * 8 / GIB  # two of the largest, and of the smaller ones more
    dataset = make_dataset(items, memory, epochs=4)
    assert {number for epoch in range(1, 5) for number in dataset.list_resident(epoch)} == set(range(8))
    ours = [record for record in caplog.records if record.name.startswith("monai_brainseg")]
    assert not ours
    make_dataset(items, memory, epochs=1)
    ours = [record for record in caplog.records if record.name.startswith("monai_brainseg")]
    assert [record.getMessage().split(";")[0] for record in ours] == [
        f"only {len(dataset.list_resident(1))} of 8 volumes are used in 1 epochs"
    ]


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 2, 4), (6, 4, 2, 3, 1)])
def test_what_is_no_volume_is_named_before_any_is_read(shape: tuple[int, ...], items: list[dict[str, str]]) -> None:
    nib.save(nib.Nifti1Image(np.ones(shape, np.float32), np.eye(4)), items[2]["image"])
    with pytest.raises(InputError, match=r"image2\.nii\.gz: holds 6x4.* values; a volume has three axes"):
        make_dataset(items)


def test_every_volume_has_its_turn(items: list[dict[str, str]]) -> None:
    dataset = make_dataset(items, memory=20 * 6 * 4 * 8 / GIB)
    seen = set()
    for epoch in range(1, 9):
        dataset.set_epoch(epoch)
        assert set(dataset._volumes) == set(dataset.list_resident(epoch)) != set(range(8))
        assert sum(volume.slices.nbytes for volume in dataset._volumes.values()) <= 20 * 6 * 4 * 8
        seen |= set(dataset._volumes)
    assert seen == set(range(8))


def test_processes_share_the_volumes_out(items: list[dict[str, str]]) -> None:
    shares = [make_dataset(items, rank=rank, processes=3).data for rank in range(3)]
    assert sorted(item["image"] for share in shares for item in share) == [item["image"] for item in items]
    assert [len(share) for share in shares] == [3, 3, 2]


def test_a_file_of_another_format_is_counted_as_its_nifti_is(items: list[dict[str, str]], tmp_path: Path) -> None:
    itk.imwrite(itk.imread(items[4]["image"]), str(tmp_path / "image.nrrd"))
    assert count_bytes({"image": tmp_path / "image.nrrd"}) == count_bytes(items[4])


def test_memory_too_small_for_one_volume_is_refused_before_any_is_read(items: list[dict[str, str]]) -> None:
    with pytest.raises(InputError, match=r"--slice_memory .*: the slices of one volume take .* GiB; give more"):
        make_dataset(items, memory=5 * 6 * 4 * 8 / GIB)


def test_a_file_that_cannot_be_read_is_named_before_any_is_read(items: list[dict[str, str]]) -> None:
    Path(items[5]["image"]).write_bytes(b"no image")
    with pytest.raises(InputError, match=r"image5\.nii\.gz: cannot be read"):
        make_dataset(items)

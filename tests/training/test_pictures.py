"""Pictures of patients: colours, sides and captions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Orientation

from monai_brainseg.training.pictures import Picture, blend_masks, draw_patient, sort_worst


def make_output(shape: tuple[int, int, int] = (20, 24, 6), truth: bool = True) -> dict[str, torch.Tensor]:
    """A patient in LPS: the right of the head is bright in FLAIR, truth lies in slice 3, a prediction in all slices."""
    image = torch.zeros(3, shape[0] // 2, shape[1] // 2, shape[2])
    image[1, : shape[0] // 4] = 1
    label, pred = torch.zeros(1, *shape), torch.zeros(1, *shape)
    label[:, 2:10, 4:12, 3] = int(truth)
    pred[:, 6:14, 4:12, 2:] = 1
    affine = torch.diag(torch.tensor([-1.0, -1.0, 4.0, 1.0]))
    return {"image": image, "label": MetaTensor(label, affine=affine), "pred": MetaTensor(pred, affine=affine)}


def test_truth_is_green_prediction_red_both_yellow_and_the_rest_grey() -> None:
    truth, prediction = np.array([[0, 0, 1, 1]]) > 0, np.array([[0, 1, 0, 1]]) > 0
    pixels = blend_masks(np.full((1, 4), 0.5), prediction, truth)
    assert pixels.shape == (4, 1, 3)
    none, red, green, yellow = pixels[:, 0].astype(int)
    assert none.tolist() == [128, 128, 128]
    assert red[0] - red[1] == red[0] - red[2] == 102
    assert green[1] - green[0] == green[1] - green[2] == 102
    assert yellow[0] == yellow[1] == yellow[2] + 102


def test_picture_is_of_the_slice_with_most_truth_with_the_right_of_the_patient_on_the_left() -> None:
    picture = draw_patient("someone", make_output())
    pixels = picture.pixels.astype(int)[:288:12, :240:12]  # 20 columns and 24 rows, magnified by 12
    green, red = (pixels[..., channel] - pixels[..., 2] > 50 for channel in (1, 0))
    assert [np.unique(axis).tolist() for axis in np.nonzero(green)] == [list(range(4, 12)), list(range(2, 10))]
    assert [np.unique(axis).tolist() for axis in np.nonzero(red)] == [list(range(4, 12)), list(range(6, 14))]
    assert pixels[20, 3].tolist() == [255] * 3
    assert pixels[20, 17].tolist() == [0] * 3
    assert picture.dice == pytest.approx(2 * 32 / (64 + 4 * 64))


def test_patient_stored_another_way_round_gives_the_same_picture() -> None:
    output = make_output()
    expected = draw_patient("someone", output).pixels
    for axes in ("RAS", "PIR"):
        turned = {name: Orientation(axcodes=axes, labels=None)(output[name]) for name in ("label", "pred")}
        assert turned["label"].shape != output["label"].shape or axes == "RAS"
        assert np.array_equal(draw_patient("someone", output | turned).pixels, expected)


def test_patient_without_truth_shows_where_most_is_predicted_and_without_both_the_middle() -> None:
    output = make_output(truth=False)
    picture = draw_patient("someone", output)
    assert picture.dice == 0
    assert (picture.pixels[:288, :, 0] > picture.pixels[:288, :, 1]).any()
    output["pred"] = torch.zeros_like(output["pred"])
    assert draw_patient("someone", output).dice == 1


def test_caption_lies_below_the_picture_and_names_the_patient() -> None:
    one, other = (draw_patient(name, make_output()).pixels for name in ("someone", "another"))
    assert np.array_equal(one[:288], other[:288])
    assert (one[288:] > 200).any()
    assert not np.array_equal(one[288:], other[288:])


def test_worst_come_first_and_equals_by_name() -> None:
    pixels = np.zeros((1, 1, 3), np.uint8)
    pictures = [Picture(name, score, pixels) for name, score in (("c", 0.5), ("b", 0.0), ("a", 0.5))]
    assert [picture.patient for picture in sort_worst(pictures)] == ["b", "a", "c"]

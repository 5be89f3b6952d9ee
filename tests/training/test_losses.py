"""Losses by one id: what each is, on the contract of two softmax classes."""

from __future__ import annotations

import pytest
import torch
from monai.bundle import ConfigParser
from support.bundle_runs import CONFIGS
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

NAMES = ("cross_entropy", "bce", "dice", "dice_bce", "dice_ce", "iou", "dice_iou", "focal")


def compute(name: str | None, logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The loss that a config with this ``loss_name`` trains by; None leaves the default."""
    config = ConfigParser(ConfigParser.load_config_file(CONFIGS / "train.yaml"))
    if name is not None:
        config["loss_name"] = name
    return float(config.get_parsed_content("loss")(logits, labels))


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels of four slices, one of them without tumour."""
    torch.manual_seed(0)
    labels = (torch.rand(4, 1, 12, 10) > 0.8).float()
    labels[0] = 0
    return torch.randn(4, 2, 12, 10), labels


def overlap(logits: torch.Tensor, labels: torch.Tensor) -> tuple[float, float, float]:
    """Of the tumour over the whole batch: intersection, and the sums of prediction and truth."""
    tumour = logits.softmax(1)[:, 1:]
    return float((tumour * labels).sum()), float(tumour.sum()), float(labels.sum())


def test_each_loss_is_what_its_name_says(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, labels = batch
    both, predicted, true = overlap(logits, labels)
    dice, iou = 1 - 2 * both / (predicted + true), 1 - both / (predicted + true - both)
    entropy = float(cross_entropy(logits, labels[:, 0].long()))
    truth = one_hot(labels[:, 0].long(), 2).movedim(-1, 1)
    sure = logits.softmax(1)
    focal = float((-truth * (1 - sure) ** 2 * sure.log()).mean())
    wanted = {
        "cross_entropy": entropy, "bce": entropy, "dice": dice, "dice_bce": dice + entropy, "dice_ce": dice + entropy,
        "iou": iou, "dice_iou": dice + iou, "focal": focal,
    }  # fmt: skip
    assert set(wanted) == set(NAMES) == set(ConfigParser.load_config_file(CONFIGS / "train.yaml")["losses"])
    for name, value in wanted.items():
        assert compute(name, logits, labels) == pytest.approx(value, abs=1e-5), name


def test_default_is_the_sum_of_dice_and_cross_entropy(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert compute(None, *batch) == compute("dice_ce", *batch)


def test_bce_of_one_sigmoid_is_the_cross_entropy_of_two_softmax_classes(
    batch: tuple[torch.Tensor, torch.Tensor],
) -> None:
    logits, labels = batch
    single = logits[:, 1:] - logits[:, :1]
    wanted = float(binary_cross_entropy_with_logits(single, labels))
    assert compute("bce", logits, labels) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_each_loss_falls_towards_the_truth_and_has_a_gradient(name: str) -> None:
    labels = torch.zeros(2, 1, 8, 8)
    labels[0, :, 2:6, 2:6] = 1
    truth = torch.cat([1 - labels, labels], 1) * 2 - 1
    config = ConfigParser(ConfigParser.load_config_file(CONFIGS / "train.yaml"))
    config["loss_name"] = name
    loss = config.get_parsed_content("loss")
    values = [float(loss(truth * strength, labels)) for strength in (-2.0, 0.0, 2.0, 8.0)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.01
    logits = torch.zeros(2, 2, 8, 8, requires_grad=True)
    loss(logits, labels).backward()
    assert logits.grad is not None
    assert (logits.grad[:, 1][labels[:, 0] > 0] < 0).all()

"""How a network begins: from every seed, its training must come to find tumour."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bundle_runs import QUICK, build
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from torch import nn

from monai_brainseg.network_starts import zero_last_residual
from monai_brainseg.networks import FCNResNet50, PoolingUNet


def residual_unet() -> UNet:
    return UNet(2, 3, 2, channels=[8, 16, 32], strides=[2, 2], num_res_units=2, norm="BATCH", act="RELU")


def test_the_last_residual_unit_begins_as_the_identity() -> None:
    network = zero_last_residual(residual_unet().eval())
    seen: dict[str, torch.Tensor] = {}
    upsampling = network.get_submodule("model.2.0")
    upsampling.register_forward_hook(lambda module, given, answer: seen.update(last=answer))

    logits = network(torch.rand(1, 3, 32, 32))

    bias = network.get_parameter("model.2.1.conv.unit0.conv.bias")
    assert torch.equal(logits, seen["last"] + bias[:, None, None])


def test_all_other_weights_begin_as_they_were_drawn() -> None:
    network = residual_unet()
    before = {name: value.clone() for name, value in network.state_dict().items()}

    after = zero_last_residual(network).state_dict()

    assert [name for name in before if not torch.equal(before[name], after[name])] == [
        "model.2.1.conv.unit0.conv.weight"
    ]


def test_a_training_begins_so(prepared_phantoms: Path, tmp_path: Path) -> None:
    network = build("train.yaml", "train", prepared_phantoms, tmp_path / "run", **QUICK).network_def

    assert not network.get_parameter("model.2.1.conv.unit0.conv.weight").any()
    assert network.get_parameter("model.2.0.conv.weight").any()


@pytest.mark.parametrize(
    "network",
    [PoolingUNet(channels=[4, 8, 16]), FCNResNet50(), UNet(2, 3, 2, channels=[4, 8], strides=[2], num_res_units=0)],
    ids=["pooling", "fcn", "unet without residual units"],
)
def test_a_network_that_does_not_end_in_a_residual_unit_stays_as_it_is(network: nn.Module) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}

    after = zero_last_residual(network).state_dict()

    assert all(torch.equal(before[name], after[name]) for name in before)


def draw_squares(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Eight noisy slices, all but three with a square that is bright in FLAIR, and their masks."""
    images = 0.7 + 0.3 * torch.rand(8, 3, 32, 32, generator=generator)
    masks = torch.zeros(8, 1, 32, 32)
    for number in (1, 2, 4, 5, 7):
        x, y = torch.randint(4, 20, (2,), generator=generator).tolist()
        masks[number, 0, x : x + 8, y : y + 8] = 1
    images[:, 1:2] += 0.8 * masks
    return images, masks


def train_on_squares(network: nn.Module, seed: int, steps: int = 80) -> float:
    """Return the highest probability of tumour that a network answers after a short training."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.003)
    loss = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)
    for _ in range(steps):
        images, masks = draw_squares(generator)
        optimizer.zero_grad()
        loss(network(images), masks).backward()
        optimizer.step()
    with torch.no_grad():
        return float(network.eval()(draw_squares(generator)[0]).softmax(1)[:, 1].max())


@pytest.mark.slow
def test_from_every_seed_a_network_becomes_sure_of_tumour() -> None:
    sure = {"as drawn": 0, "zeroed": 0}
    for seed in range(8):
        for start in sure:
            torch.manual_seed(seed)
            network = residual_unet()
            sure[start] += train_on_squares(zero_last_residual(network) if start == "zeroed" else network, seed) > 0.9

    assert sure["zeroed"] == 8
    assert sure["as drawn"] < 8, "MONAI's own start is good enough by now: zero_last_residual can go"

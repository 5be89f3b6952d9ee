"""How a network begins: from every seed, its training must come to find tumour."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bundle_runs import QUICK, build, load
from monai.losses import DiceCELoss
from monai.networks.blocks import ResidualUnit
from monai.networks.nets import UNet
from torch import nn

from monai_brainseg.network_starts import LEAST_LEAD, measure_lead, turn_adverse_residual
from monai_brainseg.networks import FCNResNet50, PoolingUNet


def residual_unet() -> UNet:
    return UNet(2, 3, 2, channels=[8, 16, 32], strides=[2, 2], num_res_units=2, norm="BATCH", act="RELU")


LAST = "model.2.1.conv.unit0.conv.weight"


def draw(seed: int) -> UNet:
    torch.manual_seed(seed)
    return residual_unet()


@pytest.mark.parametrize(
    ("gains", "lead"),
    [([[0.0, 0.0], [0.0, 0.0]], 1.0), ([[0.5, 0.0], [0.0, -0.2]], 0.8), ([[0.0, 0.3], [-1.0, 0.1]], 0.8)],
)
def test_a_channel_leads_by_what_it_gives_its_class_above_what_it_gives_another(
    gains: list[list[float]], lead: float
) -> None:
    weight = torch.zeros(2, 2, 3, 3)
    weight[:, :, 1, 1] = torch.tensor(gains)

    assert measure_lead(weight) == pytest.approx(lead)


def test_of_three_classes_the_nearest_other_counts() -> None:
    weight = torch.zeros(3, 3, 1, 1)
    weight[2, 0], weight[1, 0] = 0.75, 0.25

    assert measure_lead(weight) == 0.25


@pytest.mark.parametrize("seed", range(30))
def test_only_a_branch_drawn_against_a_class_is_turned_and_then_each_channel_leads(seed: int) -> None:
    before = {name: value.clone() for name, value in draw(seed).state_dict().items()}

    after = turn_adverse_residual(draw(seed)).state_dict()

    adverse = measure_lead(before[LAST]) < LEAST_LEAD
    assert [name for name in before if not torch.equal(before[name], after[name])] == ([LAST] if adverse else [])
    assert torch.equal(before[LAST].abs(), after[LAST].abs())
    assert measure_lead(after[LAST]) >= (1 if adverse else LEAST_LEAD)


def test_a_training_begins_so(prepared_phantoms: Path, tmp_path: Path) -> None:
    networks = [
        build("train.yaml", "train", prepared_phantoms, tmp_path / str(seed), **QUICK, seed=seed).network_def
        for seed in range(6)
    ]
    drawn = []
    for seed in range(6):
        torch.manual_seed(seed)
        drawn.append(UNet(2, 3, 2, QUICK["network_def::channels"], [2] * 4, num_res_units=2, norm="BATCH", act="RELU"))

    assert min(measure_lead(network.get_parameter(LAST)) for network in drawn) < LEAST_LEAD
    assert min(measure_lead(network.get_parameter(LAST)) for network in networks) >= LEAST_LEAD


@pytest.mark.parametrize("config", ["train.yaml", "multi_gpu_train.yaml"])
def test_every_training_from_nothing_seeds_its_network_and_then_turns_it(config: str) -> None:
    steps = load(config)["initialize"]

    seeded = steps.index("$monai.utils.set_determinism(@seed)")
    assert steps[seeded + 1].startswith("$network_starts.turn_adverse_residual(@network_def)")


def make_adverse(unit: nn.Module) -> nn.Module:
    """Fill the last convolution of a residual unit's branch so that each channel speaks for the other class."""
    weight = [module for module in unit.modules() if isinstance(module, nn.Conv2d)][0].weight
    nn.init.zeros_(weight)
    with torch.no_grad():
        weight[0, 1], weight[1, 0] = 1, 1
    return unit


@pytest.mark.parametrize(
    "network",
    [
        PoolingUNet(channels=[4, 8, 16]),
        FCNResNet50(),
        UNet(2, 3, 2, channels=[4, 8], strides=[2], num_res_units=0),
        nn.Sequential(make_adverse(ResidualUnit(2, 2, 2, subunits=1)), nn.Conv2d(2, 2, 1)),
        make_adverse(ResidualUnit(2, 3, 2, subunits=1)),
    ],
    ids=["pooling", "fcn", "unet without residual units", "a unit that is not the end", "a unit with two convolutions"],
)
def test_a_network_that_does_not_end_in_a_branch_beside_the_identity_stays_as_it_is(network: nn.Module) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}

    after = turn_adverse_residual(network).state_dict()

    assert all(torch.equal(before[name], after[name]) for name in before)


def test_an_adverse_unit_is_turned_where_it_is_the_end() -> None:
    unit = make_adverse(ResidualUnit(2, 2, 2, subunits=1, last_conv_only=True))

    turn_adverse_residual(nn.Sequential(nn.Conv2d(3, 2, 1), unit))

    assert measure_lead(unit.get_parameter("conv.unit0.conv.weight")) == 1 + 9


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
def test_networks_that_were_drawn_badly_become_sure_of_tumour() -> None:
    adverse = [seed for seed in range(30) if measure_lead(draw(seed).get_parameter(LAST)) < LEAST_LEAD]

    as_drawn = [train_on_squares(draw(seed), seed) for seed in adverse]
    turned = [train_on_squares(turn_adverse_residual(draw(seed)), seed) for seed in adverse]

    assert min(turned) > 0.9
    assert sum(probability < 0.6 for probability in as_drawn) >= 4, (
        "MONAI's own start is good enough by now: turn_adverse_residual can go"
    )

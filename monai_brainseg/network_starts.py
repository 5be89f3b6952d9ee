"""How a network begins, before it is trained."""

from __future__ import annotations

import torch
from monai.networks.blocks import ResidualUnit
from torch import nn

LEAST_LEAD = 0.5  # of the 1 by which the identity alone lets each channel raise its class above the others


def turn_adverse_residual(network: nn.Module) -> nn.Module:
    """Turn the last residual branch of a 2D network of MONAI's for the classes, if it was drawn against one of them.

    The last level of MONAI's ``UNet`` and ``AutoEncoder`` with residual units has one channel a class: an activation,
    then a residual unit whose branch, one convolution, ends the network. Where the branch lets a class's channel raise
    another class about as much as its own, training may give that channel to the other class; what is left to the
    first is a probability of 0.5 to 0.7 where no channel speaks (docs/experiments.md). Such a branch keeps the sizes
    of its weights and gets signs by which each channel raises its own class and lowers the others. A branch whose
    every channel raises its own class most, by ``LEAST_LEAD`` over a flat patch, stays as it was drawn.

    Args:
        network: changed in place, before it is trained; one that does not end in a residual unit stays as it is.

    Returns:
        the network.
    """
    units = [module for module in network.modules() if isinstance(module, ResidualUnit)]
    last = [module for module in network.modules() if isinstance(module, nn.Conv2d)][-1:]
    if units and last and last[0] in units[-1].conv.modules():  # so beside it is the identity
        weight = last[0].weight
        if measure_lead(weight) < LEAST_LEAD:
            signs = 2 * torch.eye(len(weight), device=weight.device) - 1
            with torch.no_grad():
                weight.copy_(weight.abs() * signs[:, :, None, None])
    return network


def measure_lead(weight: torch.Tensor) -> float:
    """Return the least lead that a channel gives its class over another, through a residual unit of one convolution.

    Args:
        weight: ``[class, channel, x, y]`` of the convolution, with as many channels as classes.
    """
    gains = weight.detach().sum((2, 3)) + torch.eye(len(weight), device=weight.device)
    others = gains.clone().fill_diagonal_(-torch.inf).amax(0)
    return float((gains.diagonal() - others).min())

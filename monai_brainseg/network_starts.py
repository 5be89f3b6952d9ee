"""How a network begins, before it is trained."""

from __future__ import annotations

from monai.networks.blocks import ResidualUnit
from torch import nn


def zero_last_residual(network: nn.Module) -> nn.Module:
    """Let the last residual unit of a network of MONAI's begin as the identity, so that no class falls silent.

    The last level of MONAI's ``UNet`` and ``AutoEncoder`` with residual units has one channel a class: an activation,
    and a residual unit whose branch, a convolution, ends the network. Where that branch is drawn so that it works
    against a class, the activation may learn to silence the class's channel for good, and every probability stays at
    what the biases make of it, 0.5 to 0.7: one training in four with ReLU (docs/experiments.md). A branch of zeros, as
    Goyal et al. 2017 begin every residual branch, leaves each class its channel, and is learned from there.

    Args:
        network: changed in place, before it is trained; one that does not end in a residual unit stays as it is.

    Returns:
        the network.
    """
    units = [module for module in network.modules() if isinstance(module, ResidualUnit)]
    last = [module for module in network.modules() if isinstance(module, nn.Conv2d)][-1:]
    if units and last and isinstance(units[-1].residual, nn.Identity) and last[0] in units[-1].conv.modules():
        nn.init.zeros_(last[0].weight)
    return network

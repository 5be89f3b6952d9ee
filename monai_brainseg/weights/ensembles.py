"""Several trained networks as one."""

from __future__ import annotations

import copy

import torch
from monai.transforms import MeanEnsemble


class MeanNetwork(torch.nn.Module):
    """The mean of the class probabilities of several networks of one kind, e.g. those of all folds.

    It returns the logarithm of the mean probabilities. Softmax gives these back, so it can be used like any
    network. ``networks.N.`` goes before the names of the weights of the N-th network.

    Args:
        network: one of that kind; it is copied.
        size: how many there are.
    """

    def __init__(self, network: torch.nn.Module, size: int) -> None:
        super().__init__()
        self.networks = torch.nn.ModuleList(copy.deepcopy(network) for _ in range(size))
        self.average = MeanEnsemble()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return ``[batch, class, ...]`` for images ``[batch, channel, ...]``."""
        answers = [network(images).float().softmax(dim=1) for network in self.networks]
        mean: torch.Tensor = self.average(answers).clamp_min(1e-12).log()
        return mean

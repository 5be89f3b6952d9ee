"""Several networks as one."""

from __future__ import annotations

import torch
from monai.networks.nets import UNet

from monai_brainseg.weights.ensembles import MeanNetwork


def build(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return UNet(spatial_dims=2, in_channels=3, out_channels=2, channels=(4, 8), strides=(2,)).eval()


def test_softmax_of_the_answer_is_the_mean_probability_of_the_networks() -> None:
    networks = [build(seed) for seed in range(3)]
    mean = MeanNetwork(networks[0], 3).eval()
    weights = {
        f"networks.{i}.{name}": value for i, net in enumerate(networks) for name, value in net.state_dict().items()
    }
    mean.load_state_dict(weights)
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = torch.stack([torch.softmax(network(images), 1) for network in networks]).mean(0)
        found = torch.softmax(mean(images), 1)
        alone = torch.softmax(networks[0](images), 1)
    assert torch.allclose(found, expected, atol=1e-6)
    assert not torch.allclose(found, alone, atol=1e-3)

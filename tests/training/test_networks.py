"""Networks of our own against independent ones, and published weights into the FCN."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from support.bundle_runs import CONFIGS
from torch import nn

from monai_brainseg.errors import InputError
from monai_brainseg.training.networks import FCNResNet50, PoolingUNet, load_published


class Block(nn.Module):
    """The bottleneck of torchvision's ResNet, in plain PyTorch: its stride and dilation are the 3x3 convolution's."""

    def __init__(self, channels: int, width: int, stride: int, dilation: int, first: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU()
        if first:
            shortcut = nn.Conv2d(channels, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(4 * width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + (self.downsample(x) if hasattr(self, "downsample") else x))


class Reference(nn.Module):
    """What torchvision documents of ``fcn_resnet50``: replace_stride_with_dilation=[False, True, True], FCNHead."""

    # blocks, width, stride, dilation of the first block, dilation of the others; a layer whose stride is replaced
    # begins with the dilation before it
    LAYERS = ((3, 64, 1, 1, 1), (4, 128, 2, 1, 1), (6, 256, 1, 1, 2), (3, 512, 1, 2, 4))

    def __init__(self, classes: int, auxiliary: bool) -> None:
        super().__init__()
        self.backbone: Any = nn.Module()
        self.backbone.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.backbone.bn1 = nn.BatchNorm2d(64)
        channels = 64
        for number, (blocks, width, stride, first, others) in enumerate(self.LAYERS, start=1):
            made = [Block(channels, width, stride, first, True)]
            made += [Block(4 * width, width, 1, others, False) for _ in range(blocks - 1)]
            setattr(self.backbone, f"layer{number}", nn.Sequential(*made))
            channels = 4 * width
        self.classifier = self.make_head(2048, classes)
        if auxiliary:
            self.aux_classifier = self.make_head(1024, classes)

    @staticmethod
    def make_head(channels: int, classes: int) -> nn.Sequential:
        inner = channels // 4
        first = nn.Conv2d(channels, inner, 3, padding=1, bias=False)
        return nn.Sequential(first, nn.BatchNorm2d(inner), nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(inner, classes, 1))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        size = x.shape[-2:]
        x = nn.functional.max_pool2d(self.backbone.bn1(self.backbone.conv1(x)).relu(), 3, 2, 1)
        third = self.backbone.layer3(self.backbone.layer2(self.backbone.layer1(x)))
        answers = {"out": self.classifier(self.backbone.layer4(third))}
        if hasattr(self, "aux_classifier"):
            answers["aux"] = self.aux_classifier(third)
        return {
            name: nn.functional.interpolate(y, size=size, mode="bilinear", align_corners=False)
            for name, y in answers.items()
        }


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def stir(network: nn.Module) -> nn.Module:
    """Give batch norms statistics and weights as training does; as drawn they would hide a mistake."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                for name, value in module.state_dict().items():
                    if name in ("weight", "running_var"):
                        value.uniform_(0.5, 1.5)
                    elif name in ("bias", "running_mean"):
                        value.normal_(std=0.2)
    return network


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as torchvision publishes it: a bare state dict of 21 classes with an auxiliary head."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("published") / "fcn_resnet50_coco.pth"
    torch.save(stir(Reference(21, auxiliary=True)).state_dict(), file)
    return file


def test_fcn_has_the_names_shapes_and_answers_of_torchvisions() -> None:
    torch.manual_seed(1)
    reference, ours = stir(Reference(2, auxiliary=True)), FCNResNet50(auxiliary=True)
    assert list(shapes(ours).items()) == list(shapes(reference).items())
    assert len(shapes(ours)) == 334
    ours.load_state_dict(reference.state_dict())
    images = torch.randn(2, 3, 72, 56)
    with torch.inference_mode():
        assert torch.allclose(ours.eval()(images), reference.eval()(images)["out"], atol=1e-4)
        for network in (ours, reference):
            network.train()
            for module in network.modules():
                if isinstance(module, nn.Dropout):
                    module.p = 0.0
        wanted = reference(images)
        out, auxiliary = ours(images)
    assert torch.allclose(out, wanted["out"], atol=1e-3)
    assert torch.allclose(auxiliary, wanted["aux"], atol=1e-3)


def test_fcn_with_an_auxiliary_head_is_scripted_with_one_type_of_answer() -> None:
    script = torch.jit.script(FCNResNet50(auxiliary=True))
    assert str(script.graph.return_node().inputsAt(0).type()) == "Tensor"
    assert list(shapes(script)) == list(shapes(FCNResNet50(auxiliary=True)))


def test_fcn_has_no_auxiliary_head_by_default_and_answers_alike_in_training() -> None:
    network = FCNResNet50()
    assert shapes(network) == shapes(Reference(2, auxiliary=False))
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 2, 32, 32)


@pytest.mark.parametrize("auxiliary", [False, True])
def test_published_weights_fill_all_but_heads_of_other_classes_which_are_reported(
    published: Path, caplog: pytest.LogCaptureFixture, auxiliary: bool
) -> None:
    network = FCNResNet50(auxiliary=auxiliary)
    drawn = {name: value.clone() for name, value in network.state_dict().items()}
    with caplog.at_level(logging.WARNING):
        left = load_published(network, published)
    heads = ["classifier.4.weight", "classifier.4.bias"]
    assert left == heads + [f"aux_{name}" for name in heads if auxiliary]
    wanted = torch.load(published, weights_only=True)
    for name, value in network.state_dict().items():
        assert torch.equal(value, drawn[name] if name in left else wanted[name]), name
    said = "\n".join(caplog.messages)
    assert "classifier of 21 classes was replaced by an untrained one of 2" in said
    assert ("aux_classifier of 21 classes was replaced" if auxiliary else "its aux_classifier was left out") in said


def test_published_weights_of_as_many_classes_fill_everything_and_answer_alike(tmp_path: Path) -> None:
    reference = stir(Reference(2, auxiliary=False)).eval()
    torch.save(reference.state_dict(), tmp_path / "two.pth")
    network = FCNResNet50()
    assert load_published(network, tmp_path / "two.pth") == []
    images = torch.randn(1, 3, 40, 40)
    with torch.inference_mode():
        assert torch.allclose(network.eval()(images), reference(images)["out"], atol=1e-4)


def test_checkpoints_of_another_architecture_are_refused_by_name_and_shape(published: Path, tmp_path: Path) -> None:
    state = torch.load(published, weights_only=True)
    backbone = {name.removeprefix("backbone."): value for name, value in state.items() if name.startswith("backbone.")}
    third = "backbone.layer1.0.conv2.weight"
    deeper = "backbone.layer3.6.conv1.weight"
    narrow = state | {third: torch.zeros(32, 32, 3, 3)}
    cases = [
        (backbone, r"backbone.conv1.weight should be \(64, 3, 7, 7\), but is missing"),
        (narrow, r"layer1.0.conv2.weight should be \(64, 64, 3, 3\), but is \(32, 32, 3, 3\)"),
        (state | {deeper: torch.zeros(256, 1024, 1, 1)}, r"it has .*layer3.6.conv1.weight \(256, 1024, 1, 1\)"),
        ({"model": state, "seen": []}, "finetune.yaml"),
        ([1, 2], "not a state dict"),
    ]
    network = FCNResNet50()
    for content, said in cases:
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(InputError, match=said) as raised:
            load_published(network, tmp_path / "other.pth")
        assert str(tmp_path / "other.pth") in str(raised.value)
        assert "\n" not in str(raised.value)
    (tmp_path / "other.pth").write_text("no weights")
    with pytest.raises(InputError, match="is not a file of weights"):
        load_published(network, tmp_path / "other.pth")
    damaged = bytearray(published.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF  # a bit of a weight, which torch does not notice
    (tmp_path / "other.pth").write_bytes(damaged)
    with pytest.raises(InputError, match="other.pth: is not a file of weights"):
        load_published(network, tmp_path / "other.pth")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    load_published(network, tmp_path / "old.pth")
    with pytest.raises(InputError, match="no such file"):
        load_published(network, tmp_path / "nowhere.pth")


def test_auxiliary_head_counts_half_in_the_loss_of_the_bundle() -> None:
    config = ConfigParser(ConfigParser.load_config_files([CONFIGS / "train.yaml", "configs/fcn.yaml"]))
    loss, plain = config.get_parsed_content("loss"), config.get_parsed_content("losses::dice_ce")
    torch.manual_seed(0)
    one, two = torch.randn(2, 3, 2, 8, 8)
    labels = (torch.rand(3, 1, 8, 8) > 0.7).float()
    assert loss(one, labels) == plain(one, labels)
    assert float(loss([one, two], labels)) == pytest.approx(float(plain(one, labels) + plain(two, labels) / 2))


def test_pooling_unet_is_what_its_docstring_says() -> None:
    """Two convolutions a level, max pooling, transposed convolutions, written out."""
    torch.manual_seed(2)
    network = PoolingUNet(channels=[4, 8, 16]).eval()
    state = network.state_dict()

    def convolve(x: torch.Tensor, name: str) -> torch.Tensor:
        for number in (0, 1):
            weight, bias = (state[f"{name}.conv_{number}.conv.{kind}"] for kind in ("weight", "bias"))
            x = nn.functional.conv2d(x, weight, bias, padding=1).relu()
        return x

    def widen(x: torch.Tensor, finer: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = (state[f"{name}.upsample.deconv.{kind}"] for kind in ("weight", "bias"))
        x = nn.functional.conv_transpose2d(x, weight, bias, stride=2)
        return convolve(torch.cat([finer, x], 1), f"{name}.convs")

    images = torch.randn(1, 3, 16, 24)
    fine = convolve(images, "first")
    middle = convolve(nn.functional.max_pool2d(fine, 2), "down.0.convs")
    coarse = convolve(nn.functional.max_pool2d(middle, 2), "down.1.convs")
    features = widen(widen(coarse, middle, "up.0"), fine, "up.1")
    wanted = nn.functional.conv2d(features, state["last.weight"], state["last.bias"])
    assert torch.allclose(network(images), wanted, atol=1e-6)


def test_unet_of_three_levels_drops_in_training_alone() -> None:
    network = PoolingUNet(channels=[4, 8, 16], dropout=0.5)
    images = torch.randn(1, 3, 16, 16)
    assert network(images).shape == (1, 2, 16, 16)
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))

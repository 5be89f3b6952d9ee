"""Networks of monai, torch and this package are made; what is more than a network is not."""

from __future__ import annotations

import json
import os
import pickle
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path

import monai
import pytest
import yaml
from support.bundle_runs import CONFIGS
from support.fixed_bundles import BRIGHT, bright_state, make_bundle

from monai_brainseg.doctor.bundle_checks import check_bundle, read_settings
from monai_brainseg.doctor.examination import Examination, _estimate
from monai_brainseg.errors import InputError
from monai_brainseg.runs.commands import load_config
from monai_brainseg.runs.machine_checks import Load
from monai_brainseg.serving.plain_networks import make_network, read_network

UNET = {
    "_target_": "UNet", "spatial_dims": 2, "in_channels": 3, "out_channels": 2, "channels": [4, 8], "strides": [2],
}  # fmt: skip
TOUCH = "touch {mark}"


class Evil:
    """Unpickled without care, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.mark}",)


# A network, and ids beside it.
OUTSIDE: dict[str, tuple[object, dict[str, object]]] = {
    "reference": (UNET | {"spatial_dims": "@dims"}, {"dims": f"$__import__('os').system('{TOUCH}') or 2"}),
    "reference of a reference": (
        UNET | {"spatial_dims": "@a::0"},
        {"a": ["@dims"], "dims": f"$torch.os.system('{TOUCH}') or 2"},
    ),
    "torch.os": (UNET | {"spatial_dims": f"$torch.os.system('{TOUCH}') or 2"}, {}),
    "module's module": (UNET | {"spatial_dims": f"$torch.serialization.os.system('{TOUCH}') or 2"}, {}),
    "pickle": ({"_target_": "torch.load", "f": "{evil}", "weights_only": False}, {}),
    "open": ({"_target_": "open", "file": "{mark}", "mode": "w"}, {}),
    "dotless module": ({"_target_": "antigravity"}, {}),
    "target through torch": ({"_target_": "torch.os.system", "command": TOUCH}, {}),
    "target through monai": ({"_target_": "monai.bundle.scripts.os.system", "command": TOUCH}, {}),
    "another bundle": ({"_target_": "run", "config_file": "evil.yaml", "run_id": "run"}, {}),
    "target by reference": ({"_target_": "@t", "command": TOUCH}, {"t": "os.system"}),
    "mode": (UNET | {"_mode_": "debug"}, {}),
    "requirement": (UNET | {"_requires_": f"$torch.os.system('{TOUCH}')"}, {}),
    "two of one id": (
        UNET | {"spatial_dims": "@a::b"},
        {"a::b": f"$torch.os.system('{TOUCH}') or 2", "a": {"b": 2}},
    ),
    "fetches weights": (
        {"_target_": "EfficientNetBN", "model_name": "efficientnet-b0", "spatial_dims": 2, "in_channels": 3},
        {},
    ),
    "fetches weights of another encoder": (
        {
            "_target_": "FlexibleUNet",
            "in_channels": 3,
            "out_channels": 2,
            "backbone": "efficientnet-b0",
            "pretrained": "@start",
        },
        {"start": True},
    ),
    "macro": (UNET | {"spatial_dims": "%configs/train.yaml::batch_size"}, {}),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_network_that_is_more_than_a_network_is_not_made(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepared_phantoms: Path
) -> None:
    """In all three places that make one: weights, contract, estimate."""
    mark, evil = tmp_path / "ran", tmp_path / "evil.bin"
    evil.write_bytes(pickle.dumps(Evil(mark)))
    network, more = json.loads(json.dumps(OUTSIDE[name]).replace("{mark}", str(mark)).replace("{evil}", str(evil)))
    bundle = make_bundle(tmp_path / "bundle", BRIGHT, bright_state())
    for config in ("inference.yaml", "train.yaml"):
        content = yaml.safe_load((CONFIGS / config).read_text()) | {"network_def": network, **more}
        (bundle / "configs" / config).write_text(yaml.safe_dump(content, sort_keys=name != "two of one id"))
    monkeypatch.setattr(webbrowser, "open", lambda url: mark.touch())
    found = Examination()
    _estimate(found, bundle, read_settings(bundle / "configs/train.yaml"), Load(4, 4, 0.0, 0.0))
    advice = check_bundle(bundle)
    assert not mark.exists()
    assert "antigravity" not in sys.modules
    assert any("network_def is not only a network" in one.what for one in advice), advice
    assert found.facts == ["estimate: none, because the network is not only of monai, torch and this package"]


@pytest.mark.parametrize("target", ["UNet", "monai.networks.nets.UNet", "monai.networks.nets.unet.UNet"])
def test_networks_with_plain_references_are_made(target: str) -> None:
    config = {"network_def": UNET | {"_target_": target, "spatial_dims": "@more::dims::0"}, "more": {"dims": ["@two"]}}
    definition = read_network(config | {"two": 2})
    assert definition == UNET | {"_target_": target}
    assert isinstance(make_network(definition), monai.networks.nets.UNet)
    with pytest.raises(InputError, match="'@two' is not an id"):
        read_network(config)
    with pytest.raises(InputError, match="refers to itself"):
        read_network(config | {"two": "@two"})


def test_our_networks_are_made() -> None:
    for overlay in ("recipes/bundle", "fcn", "residual_unet"):
        for file in ("train.yaml", "inference.yaml"):
            content = load_config(Path("bundles/brainseg_unet/configs") / file)
            assert read_network(content | load_config(Path("configs") / f"{overlay}.yaml")) is not None

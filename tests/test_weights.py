"""Weights in other forms give the masks that they gave before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.networks.nets import UNet

from monai_brainseg.errors import InputError
from monai_brainseg.weights import read_checkpoint, write_half_precision


def test_half_precision_halves_the_file_and_keeps_the_answer_and_what_was_seen(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = UNet(2, 3, 2, channels=[32, 64, 128], strides=[2, 2], num_res_units=2, norm="BATCH")
    images = torch.rand(4, 3, 64, 64)
    network(images)  # gives batch norm statistics of its own
    torch.save({"model": network.state_dict(), "seen": ["images:1"]}, tmp_path / "model.pt")
    write_half_precision(tmp_path / "model.pt", tmp_path / "half" / "model.pt")
    assert (tmp_path / "half/model.pt").stat().st_size < 0.55 * (tmp_path / "model.pt").stat().st_size
    content = torch.load(tmp_path / "half/model.pt", weights_only=True)
    assert content["seen"] == ["images:1"]
    again = UNet(2, 3, 2, channels=[32, 64, 128], strides=[2, 2], num_res_units=2, norm="BATCH")
    again.load_state_dict(content["model"])
    with torch.no_grad():
        one, other = network.eval()(images), again.eval()(images)
    assert torch.allclose(one, other, atol=2e-3)
    assert (one.argmax(1) == other.argmax(1)).float().mean() > 0.999


@pytest.mark.parametrize("content", [b"", b"no weights", {"model": 3}, {"model": {"a": "b"}}, [1]])
def test_what_holds_no_weights_is_refused_by_name(tmp_path: Path, content: object) -> None:
    file = tmp_path / "model.pt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(InputError, match="model.pt: is no checkpoint of ours"):
        read_checkpoint(file)
    with pytest.raises(InputError, match="no weights there"):
        read_checkpoint(tmp_path / "nowhere.pt")

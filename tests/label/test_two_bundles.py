"""One MONAI Label server with two bundles, whose networks differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from label.servers import CONFIGS, NAME, Server, infer, segment, write_study

OVERLAY = Path("configs/residual_unet.yaml").resolve()


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the overlay's network as they are drawn, but that tumour is its first guess."""
    config = ConfigParser(ConfigParser.load_config_files([CONFIGS / "inference.yaml", OVERLAY]))
    config.update({"bundle_root": str(CONFIGS.parent)})
    torch.manual_seed(0)
    state = config.get_parsed_content("network_def").state_dict()
    state["model.2.1.conv.unit0.conv.bias"] += torch.tensor([0.0, 1.0])
    file = tmp_path_factory.mktemp("others") / "model.pt"
    torch.save({"model": state, "seen": []}, file)
    return file


@pytest.fixture(scope="module")
def server(
    prepared: Path, others: Path, start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    studies = tmp_path_factory.mktemp("studies")
    patients = sorted(file.name.removesuffix(".nii.gz") for file in (prepared / "labelsTr").glob("*.nii.gz"))
    write_study(prepared, patients[0], studies / "a.nii.gz")
    return start_server(studies, recipe=(OVERLAY, others))


def test_each_bundle_answers_by_its_own_network(
    server: Server, weights: Path, others: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert set(server.client.info()["models"]) == {NAME, f"{NAME}_residual_unet"}
    one = segment(weights, server.studies, tmp_path_factory.mktemp("one"))["a"]
    other = segment(others, server.studies, tmp_path_factory.mktemp("other"), OVERLAY)["a"]
    assert not np.array_equal(one, other)
    wanted = {NAME: one, f"{NAME}_residual_unet": other}
    for model in (*wanted, *wanted):  # and again, after the other
        assert np.array_equal(infer(server, "a", model), wanted[model]), model

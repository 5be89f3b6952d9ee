"""A training as a MONAI Label server starts it on several devices: a config of its own, by torchrun."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser
from support.bundle_runs import CONFIGS, QUICK, build

pytestmark = pytest.mark.slow


def test_config_that_a_label_server_writes_for_several_devices_trains_from_its_weights(
    prepared_phantoms: Path, tmp_path: Path
) -> None:
    """MONAI Label lists the patients in the config itself and puts a loader of its weights before all handlers."""
    pairs = [
        {"image": str(image), "label": str(prepared_phantoms / "labelsTr" / image.name.replace("_0001", ""))}
        for image in sorted((prepared_phantoms / "imagesTr").glob("*_0001.nii.gz"))
    ]
    network = build("train.yaml", "train", prepared_phantoms, tmp_path / "other", **QUICK).parser
    torch.save({"model": network.get_parsed_content("network_def").state_dict()}, tmp_path / "model.pt")
    config = ConfigParser(ConfigParser.load_config_file(CONFIGS / "train.yaml"))
    handlers = config["train"]["handlers"]
    loader = {"_target_": "CheckpointLoader", "load_path": str(tmp_path / "model.pt"), "strict": False}
    given = {
        "train#handlers": [loader | {"load_dict": {"model": "$@network"}}, *handlers],
        "train#trainer#max_epochs": 1,
        "train#dataset#data": pairs[:-2],
        "validate#dataset#data": pairs[-2:],
        "device": "cuda",
        "bundle_root": str(CONFIGS.parent),
        "output_dir": str(tmp_path / "run"),
        "overwrite": True,  # as in the copy that `brainseg label install` makes
    }
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.pt").write_bytes(b"of the training before")
    for name, value in {**QUICK, **given}.items():
        config.set(value, name)
    ConfigParser.export_config_file(config.get(), str(tmp_path / "monailabel_train.json"))
    files = [str(tmp_path / "monailabel_train.json"), str(CONFIGS / "multi_gpu_train.yaml")]
    words = ["torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "monai.bundle", "run", "run"]
    words += ["--meta_file", str(CONFIGS / "metadata.json"), "--config_file", str(files)]
    words += ["--logging_file", str(CONFIGS / "logging.conf"), "--tracking", "None"]
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).count("Restored all variables") == 1  # rank 0 alone logs
    assert (tmp_path / "run/models/model.pt").is_file()

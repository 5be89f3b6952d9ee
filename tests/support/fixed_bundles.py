"""Bundles with the U-Net bundle's inference.yaml and a network that takes no training, to test what is around it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
import yaml
from monai.bundle import ConfigParser
from support.bundle_runs import CONFIGS

from monai_brainseg.images.volumes import write_slices
from monai_brainseg.phantoms.patients import Phantom, make_phantom

BRIGHT: dict[str, Any] = {"_target_": "torch.nn.Conv2d", "in_channels": 3, "out_channels": 2, "kernel_size": 1}


def make_bundle(folder: Path, network: dict[str, Any], state: dict[str, torch.Tensor], **changes: Any) -> Path:
    """Write a bundle whose network has these weights, and return its folder."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    config = ConfigParser(ConfigParser.load_config_file(CONFIGS / "inference.yaml"))
    config.update({"network_def": network, "bundle_root": str(folder), **changes})
    (folder / "configs" / "inference.yaml").write_text(yaml.safe_dump(config.get(), sort_keys=False, width=10**6))
    for name in ("metadata.json", "logging.conf"):
        shutil.copy(CONFIGS / name, folder / "configs")
    save_weights(folder / "models" / "model.pt", state)
    return folder


def save_weights(file: Path, state: dict[str, torch.Tensor], seen: tuple[str, ...] = ()) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": state, "seen": list(seen)}, file)
    return file


def bright_state(threshold: float = 1.5, steepness: float = 8.0) -> dict[str, torch.Tensor]:
    """Weights of ``BRIGHT``: tumour is what is brighter in FLAIR than so many times the median of the tissue."""
    weight = torch.zeros(2, 3, 1, 1)
    weight[1, 1] = steepness
    return {"weight": weight, "bias": torch.tensor([0.0, -threshold * steepness])}


def random_state(network: dict[str, Any], seed: int) -> dict[str, torch.Tensor]:
    """Weights as they were before any training: masks like noise, in which nothing wrong goes unnoticed."""
    torch.manual_seed(seed)
    made: torch.nn.Module = ConfigParser({"network": network}).get_parsed_content("network")
    return made.state_dict()


def draw_phantom(size: int = 64, slices: int = 8, seed: int = 0) -> Phantom:
    return make_phantom(np.random.default_rng(seed), size=size, slices=slices)


def save_flair(phantom: Phantom, file: Path, dtype: str = "float32", affine: np.ndarray | None = None) -> Path:
    """Write a phantom's FLAIR as NIfTI in millimetres by nibabel alone."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(phantom.images[..., 1].astype(dtype), make_affine(phantom) if affine is None else affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, file)
    return file


def save_slices(folder: Path, ending: str = ".tif", grey: bool = False, **options: Any) -> Path:
    """Write a phantom's slices, in colours as published or FLAIR alone, into files with this ending."""
    images = draw_phantom(**options).images
    files = [folder / f"p_{number}{ending}" for number in range(1, images.shape[2] + 1)]
    write_slices(np.ascontiguousarray(images[..., 1] if grey else images), files)
    return folder


def make_affine(phantom: Phantom) -> np.ndarray:
    return np.diag([-phantom.spacing[0], -phantom.spacing[1], phantom.spacing[2], 1.0])


def read_mask(file: Path) -> np.ndarray:
    return np.asarray(nib.load(file).dataobj)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))

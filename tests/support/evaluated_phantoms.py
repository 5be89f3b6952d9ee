"""Evaluations of phantoms by the command line, of predictions as good as they are made."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from monai_brainseg.cli.main import main
from monai_brainseg.data.splits import Item
from monai_brainseg.images.volumes import Volume, read_nifti, write_nifti


def write_predictions(items: list[Item], folder: Path, maps: bool = True) -> None:
    """Write for each case a probability, blurred by noise, and the mask of what is 0.5 or more."""
    for number, item in enumerate(items):
        truth = read_nifti(Path(item["label"]))
        tumour, rng = truth.voxels > 0, np.random.default_rng(number)
        probability = np.asarray(rng.beta(np.where(tumour, 4, 1), np.where(tumour, 2 + number % 3, 9)))
        mask = (probability >= 0.5).astype(np.uint8)
        write_nifti(Volume(mask, truth.affine, truth.spacing_known), folder / f"{item['patient']}.nii.gz")
        if maps:
            image = Volume(probability.astype(np.float32), truth.affine, truth.spacing_known)
            write_nifti(image, folder / f"{item['patient']}_probability.nii.gz")


def evaluate(data: Path, predictions: Path, output: Path, *options: str) -> int:
    """Run the command on a prepared folder and masks, and return its exit code."""
    arguments = ["--datalist", str(data), "--predictions", str(predictions), "--output", str(output)]
    return main(["evaluate", *arguments, *options])

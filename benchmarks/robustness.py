"""What other scanners and other preprocessing cost a network: the Dice of patients whose images were changed.

    python benchmarks/robustness.py data/lgg --fold 0 --checkpoint MODEL --output robustness.json

Changes each image of the patients of one fold, on which the weights must not have been trained, in one way at a time by
MONAI's transforms, segments it as `brainseg predict` does, and scores the mask against the truth, which is changed in
the same way if the change is of place or
size. Effects are means over patients against the unchanged images, with a 95 %
interval by 2000 bootstrap draws of patients. Every change is drawn from one seed, the same for all patients.

Run it in the root of the source tree, which need not be installed; the network runs on a GPU if there is one.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path

import monai.transforms as mt
import numpy as np
import torch
from measuring import choose_device, describe_machine, write_record
from monai.data import load_decathlon_datalist
from tqdm import tqdm

from monai_brainseg.data.naming import SEQUENCES
from monai_brainseg.data.volumes import Volume, read_nifti
from monai_brainseg.prediction.segmenters import Segmenter, load_bundle
from monai_brainseg.runs.bundle_folders import find_bundle
from monai_brainseg.scoring.metrics import count_slices, dice, pool

Change = Callable[[torch.Tensor], torch.Tensor]  # of images and mask together, [4, x, y, z], or of images alone


def of_images(change: Change) -> Change:
    """Return a change that leaves the mask, the last channel, as it is."""
    return lambda stack: torch.cat([torch.as_tensor(change(stack[:-1])), stack[-1:]])


def of_place(change: Callable[..., torch.Tensor]) -> Change:
    """Return a change of place or size that moves the mask, the last channel, by its nearest neighbours."""
    return lambda stack: torch.cat(
        [torch.as_tensor(change(stack[:-1], mode="bilinear")), torch.as_tensor(change(stack[-1:], mode="nearest"))]
    )


def bend(exponent: float) -> Change:
    """Return a change of each image's contrast curve, by gamma between its least and greatest value."""
    return of_images(lambda images: torch.stack([mt.AdjustContrast(exponent)(image[None])[0] for image in images]))


def draw(transform: mt.RandomizableTransform) -> Change:
    """Return a random change of images, the same for every patient."""

    def change(images: torch.Tensor) -> torch.Tensor:
        transform.set_random_state(0)
        return torch.as_tensor(transform(images))

    return of_images(change)


def crop_to_head(stack: torch.Tensor) -> torch.Tensor:
    """Cut away all slices, rows and columns that hold only background, as preprocessing for nnU-Net does."""
    return torch.as_tensor(mt.CropForeground(select_fn=lambda image: image > 0, channel_indices=1)(stack))


CHANGES: dict[str, Change] = {
    "unchanged": lambda stack: stack,
    "brightness times 1000": of_images(lambda images: images * 1000),
    "100 added everywhere (of 255), background too": of_images(lambda images: images + 100),
    "gamma 0.5": bend(0.5),
    "gamma 2": bend(2),
    "bias field (coefficients up to 0.5)": draw(mt.RandBiasField(prob=1, coeff_range=(-0.5, 0.5))),
    "Gaussian noise, standard deviation 15 of 255": draw(mt.RandGaussianNoise(prob=1, std=15)),
    "Rician noise, 15 of 255": draw(mt.RandRicianNoise(prob=1, std=15)),
    "smoothed, sigma 1.5 pixels": of_images(mt.GaussianSmooth((1.5, 1.5, 0))),
    "cropped to the head: hardly any background": crop_to_head,
    "turned by 20 degrees": of_place(lambda x, mode: mt.Rotate((0, 0, np.deg2rad(20)), mode=mode)(x)),
    "enlarged by 1.4": of_place(lambda x, mode: mt.Zoom((1.4, 1.4, 1), mode=mode, keep_size=False)(x)),
    "shrunk to 0.7": of_place(lambda x, mode: mt.Zoom((0.7, 0.7, 1), mode=mode, keep_size=False)(x)),
    "every second slice": lambda stack: stack[..., ::2],
    "mirrored, left and right": lambda stack: stack.flip(1),
}


def read_patient(item: dict[str, list[str] | str]) -> tuple[list[Volume], torch.Tensor]:
    """Return a patient's sequences, and their voxels with the mask as the last channel, ``[4, x, y, z]``."""
    volumes = [read_nifti(Path(file)) for file in item["image"]]
    arrays = [volume.voxels for volume in volumes] + [read_nifti(Path(str(item["label"]))).voxels > 0]
    return volumes, torch.stack([torch.from_numpy(array.astype(np.float32)) for array in arrays])


def score(segmenter: Segmenter, volumes: list[Volume], stack: torch.Tensor) -> float:
    """Return the Dice of a changed patient's volume."""
    arrays = stack.numpy()
    images = {
        name: dataclasses.replace(volume, voxels=array)
        for name, volume, array in zip(SEQUENCES, volumes, arrays, strict=False)
    }
    return dice(pool(count_slices(segmenter.segment(images).mask, arrays[-1] > 0)))


def summarise(scores: list[float], unchanged: list[float], rng: np.random.Generator) -> dict[str, object]:
    """Return mean and median Dice, and the mean effect with its interval."""
    effects = np.subtract(scores, unchanged)
    means = effects[rng.integers(len(effects), size=(2000, len(effects)))].mean(1)
    return {
        "mean_dice": float(np.mean(scores)),
        "median_dice": float(np.median(scores)),
        "effect": float(effects.mean()),
        "interval": np.percentile(means, (2.5, 97.5)).tolist(),
    }


def main() -> None:
    """Change, segment and score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="a prepared folder of all three sequences")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path, required=True, help="weights that were not trained on that fold")
    parser.add_argument("--bundle", default="brainseg_unet")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    folder = find_bundle(arguments.bundle, "inference.yaml")
    segmenter = load_bundle(folder, [arguments.checkpoint], choose_device(), {})
    items = [i for i in load_decathlon_datalist(arguments.dataset / "datalist.json") if i["fold"] == arguments.fold]
    scores: dict[str, list[float]] = {name: [] for name in CHANGES}
    for item in tqdm(items, disable=None):
        volumes, stack = read_patient(item)
        for name, change in CHANGES.items():
            scores[name].append(score(segmenter, volumes, change(stack)))
    result = {name: summarise(values, scores["unchanged"], np.random.default_rng(0)) for name, values in scores.items()}
    write_record({"patients": len(items), "changes": result, "machine": describe_machine()}, arguments.output)


if __name__ == "__main__":
    main()

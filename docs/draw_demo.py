"""Draw the README's picture: unseen synthetic patients of the demo, truth in green, prediction in red.

make demo
python docs/draw_demo.py demo docs/demo.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from skimage.segmentation import find_boundaries

from monai_brainseg.data.splits import read_datalist
from monai_brainseg.images.volumes import read_nifti, write_slices

ZOOM = 2
COLUMNS = 6


def draw_patient(flair: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return the slice ``[x, y, z]`` with most tumour as RGB ``[row, column, 3]``, with both outlines."""
    z = int(truth.sum((0, 1)).argmax())
    image, true, predicted = (
        np.kron(voxels[:, :, z].T, np.ones((ZOOM, ZOOM))) for voxels in (flair, truth, prediction)
    )
    grey = np.clip(image / np.percentile(flair, 99.5), 0, 1)
    picture = np.repeat(grey[..., None], 3, axis=2)
    # where both outlines coincide they add up to yellow
    outlines = np.stack([find_boundaries(mask > 0, mode="inner") for mask in (predicted, true)], -1)
    touched = outlines.any(-1)
    picture[touched] = 0
    picture[..., :2][touched] = outlines[touched]
    return (255 * picture).astype(np.uint8)


def main() -> None:
    """Read the demo's folder, write the picture."""
    demo, output = Path(sys.argv[1]), Path(sys.argv[2])
    pictures = []
    for item in read_datalist(demo / "data")["test"][:COLUMNS]:
        prediction = read_nifti(demo / "masks" / f"{item['patient']}.nii.gz")
        pictures.append(
            draw_patient(
                read_nifti(Path(item["image"][1])).voxels, read_nifti(Path(item["label"])).voxels, prediction.voxels
            )
        )
    write_slices(np.concatenate(pictures, axis=1).transpose(1, 0, 2)[:, :, None], [output])


if __name__ == "__main__":
    main()

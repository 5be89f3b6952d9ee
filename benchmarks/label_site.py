"""How much three corrected patients of a site improve its others, by training on a MONAI Label server.

    brainseg label install --app apps/monaibundle --checkpoint WEIGHTS
    monailabel start_server ...          (as that prints it, on an empty folder of studies)
    python benchmarks/label_site.py data/lgg --site CS --output label_site.json

WEIGHTS should never have seen the site. Over HTTP, with the client that 3D Slicer uses: uploads the site's patients of
the training part of a prepared folder (the test part is left alone), scores the server's masks of all but the first
three, saves the truth as the corrected labels of those three, trains, and scores the others again. With
``--corrected-site`` the three come from another site, which separates the effect of the site from that of more
training.
Runs in the server's environment (docs/monai-label.md).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from measuring import write_record
from monailabel.client import MONAILabelClient

from monai_brainseg.data.splits import Item, read_datalist
from monai_brainseg.scoring.metrics import count_slices, dice, pool


def upload(client: MONAILabelClient, item: Mapping[str, Any], folder: Path) -> None:
    """Put a patient's sequences into the server's studies, as one file with a fourth axis."""
    images = [nib.load(file) for file in item["image"]]
    file = folder / f"{item['patient']}.nii.gz"
    nib.save(nib.Nifti1Image(np.stack([np.asarray(i.dataobj) for i in images], axis=-1), images[0].affine), file)
    client.upload_image(str(file), item["patient"])


def score(client: MONAILabelClient, model: str, item: Mapping[str, Any], device: str) -> float:
    """Return the Dice of the server's mask of a patient's volume."""
    file, _ = client.infer(model, item["patient"], {"device": device})
    mask, truth = (np.asarray(nib.load(path).dataobj) > 0 for path in (file, item["label"]))
    return dice(pool(count_slices(mask, truth)))


def train(client: MONAILabelClient, model: str, options: Mapping[str, Any]) -> float:
    """Train to the end and return the seconds it took."""
    started = time.perf_counter()
    client.train_start(model, dict(options))
    while client.train_status()["status"] in ("SUBMITTED", "RUNNING"):
        time.sleep(5)
    status = client.train_status()
    if status["status"] != "DONE":
        raise SystemExit("\n".join(status["details"]))
    return time.perf_counter() - started


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--site", required=True)
    parser.add_argument("--corrected-site", help="where the corrected patients come from (default: the site)")
    parser.add_argument("--corrected", type=int, default=3)
    parser.add_argument("--server", default="http://127.0.0.1:8000")
    parser.add_argument("--model", default="brainseg_unet")
    parser.add_argument(
        "--epochs", type=int, default=20, help="20, as configs/finetune.yaml; the server's default is 50"
    )
    parser.add_argument("--val-split", type=float, default=0.0, help="0: train on all; the server's default is 0.2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    listed = sorted(read_datalist(arguments.dataset)["training"], key=lambda item: item["patient"])
    site = [item for item in listed if item["site"] == arguments.site]
    origin = arguments.corrected_site or arguments.site
    corrected = [item for item in listed if item["site"] == origin][: arguments.corrected]
    others = site[arguments.corrected :]
    with (
        tempfile.TemporaryDirectory() as folder
    ):  # of the client's own: it names files as the server on this machine does
        client = MONAILabelClient(arguments.server, folder)
        record = measure(client, arguments, corrected, others, Path(folder))
    write_record(record, arguments.output)


def measure(
    client: MONAILabelClient, arguments: argparse.Namespace, corrected: list[Item], others: list[Item], folder: Path
) -> dict[str, Any]:
    """Upload, score, correct, train, score again, and return the record."""
    for item in corrected + others:
        upload(client, item, folder)
    before = {item["patient"]: score(client, arguments.model, item, arguments.device) for item in others}
    for item in corrected:
        client.save_label(item["patient"], str(item["label"]), "final")
    options = {"device": arguments.device, "multi_gpu": False, "max_epochs": arguments.epochs}
    options["val_split"] = arguments.val_split
    seconds = train(client, arguments.model, options)
    after = {item["patient"]: score(client, arguments.model, item, arguments.device) for item in others}
    return {
        "site": arguments.site,
        "corrected": [item["patient"] for item in corrected],
        "request": options,
        "training_seconds": round(seconds),
        "patients": len(others),
        "mean_dice": {"before": np.mean(list(before.values())), "after": np.mean(list(after.values()))},
        "dice": {patient: {"before": before[patient], "after": after[patient]} for patient in before},
    }


if __name__ == "__main__":
    main()

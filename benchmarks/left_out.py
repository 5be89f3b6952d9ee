"""What each case of a data set scores by the network that has never seen it, as it is and changed.

    python benchmarks/left_out.py data/both --folds 'runs/fold{fold}/models/model.pt' --output left_out

Each case of a fold is changed in one way at a time, and segmented as `brainseg predict` does with that fold's weights;
the mask is scored against the truth, which is changed in the same way if the change is of place or size.
--changes names groups of `changes.py`: "sequences" (lost sequences, no skull), "scanners" (other scanners and other
preprocessing), "odd" (studies that should be called unfamiliar). Random changes of a case are always the same.

Writes left_out.csv, a row for each case and change, and left_out.json: for each source and change the mean Dice, and
its difference from the unchanged images, with 95 % intervals by 2000 bootstrap draws of patients; the rank correlation
of the confidence with the Dice of unchanged images; and with "odd", how well such studies are told from unchanged
ones: area under the ROC curve, the share that is flagged where one in twenty unchanged studies is, and the ROC curve
itself as left_out.png.

Run it in the root of the source tree, which need not be installed; the network runs on a GPU if there is one.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from changes import GROUPS, ODD, SEQUENCES, T2, Change, of_images
from matplotlib.figure import Figure
from measuring import describe_machine, write_record
from scipy.stats import spearmanr
from tqdm import tqdm

from monai_brainseg.data.case_voxels import find_own
from monai_brainseg.data.cases import find_prepared
from monai_brainseg.data.naming import SEQUENCES as NAMES
from monai_brainseg.data.splits import Item, select_items
from monai_brainseg.images.volumes import Volume, read_nifti
from monai_brainseg.prediction.calibration import FLAGGED, describe_case
from monai_brainseg.prediction.confidence import measure_confidence
from monai_brainseg.prediction.doubts import look_at_images
from monai_brainseg.prediction.familiarity import TrainingSpace, Usual, find_usual, measure_oddness
from monai_brainseg.prediction.options import Model, Options, load_model
from monai_brainseg.scoring.metrics import auroc, count_slices, dice, pool

Row = dict[str, Any]


def read_case(item: Item) -> tuple[list[Volume], torch.Tensor]:
    """Return a case's sequences, and their voxels with the mask as the last channel, ``[4, x, y, z]``."""
    files = item["image"] if len(item["image"]) > 1 else item["image"] * len(NAMES)
    volumes = [read_nifti(Path(file)) for file in files]
    arrays = [volume.voxels for volume in volumes] + [read_nifti(Path(item["label"])).voxels > 0]
    return volumes, torch.stack([torch.from_numpy(array.astype(np.float32)) for array in arrays])


def segment(model: Model, volumes: list[Volume], stack: torch.Tensor, space: TrainingSpace | None) -> Row:
    """Return the Dice, the confidence and the distance of a changed case."""
    arrays = stack.numpy()
    images = {
        name: dataclasses.replace(volume, voxels=array)
        for name, volume, array in zip(NAMES, volumes, arrays, strict=False)
    }
    own = find_own(images)
    result = model.segmenter.segment(own, look_at_images(own).scale)
    distance = space.measure(result.descriptor) if space and result.descriptor is not None else np.inf
    return {
        "dice": dice(pool(count_slices(result.mask, arrays[-1] > 0))),
        "confidence": measure_confidence(result.probability, result.mask),
        "distance": distance if space else None,
    }


def score_fold(
    model: Model, items: Sequence[Item], space: TrainingSpace | None, changes: Mapping[str, Change], t2: Path | None
) -> Iterator[Row]:
    """Yield a row for each case of a fold and each change."""
    for item in tqdm(items, disable=None):
        volumes, stack = read_case(item)
        files = sorted(t2.rglob(f"{item['patient']}_t2.nii*")) if t2 else []
        for name, change in {**changes, **({T2: put_for_flair(files[0])} if files else {})}.items():
            rng = np.random.default_rng(zlib.crc32(item["patient"].encode()))
            facts = {"patient": item["patient"], "source": item.get("source", ""), "site": item.get("site", "")}
            yield {**facts, "change": name, **segment(model, volumes, change(stack, rng), space)}


def put_for_flair(file: Path) -> Change:
    """Return a change that puts another image in the place of FLAIR."""
    other = torch.from_numpy(read_nifti(file).voxels.astype(np.float32))
    return of_images(lambda images: torch.stack([images[0], other, images[2]]))


def learn_space(model: Model, items: Sequence[Item]) -> TrainingSpace:
    """Return the training studies of a fold, as its network describes them."""
    found = [describe_case(case, model) for case in tqdm(find_prepared(items).cases, "training studies", disable=None)]
    return TrainingSpace(np.stack([each.descriptor for each in found if each]))


def estimate(values: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """Return a mean and its interval."""
    means = values[rng.integers(len(values), size=(2000, len(values)))].mean(1)
    return {"mean": float(values.mean()), "interval": np.percentile(means, (2.5, 97.5)).tolist()}


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Return for each change the scores and the effects, and what the confidence says of the unchanged images."""
    rng = np.random.default_rng(0)
    scores = {c: {r["patient"]: r["dice"] for r in rows if r["change"] == c} for c in {r["change"]: 0 for r in rows}}
    plain = scores["unchanged"]
    found: dict[str, Any] = {"patients": len(plain), "changes": {}}
    for name, values in scores.items():
        dices = np.array(list(values.values()))
        effects = np.array([value - plain[patient] for patient, value in values.items()])
        found["changes"][name] = {
            "dice": estimate(dices, rng) | {"median": float(np.median(dices)), "worst": float(dices.min())},
            "effect": estimate(effects, rng),
        }
    pairs = np.array([(row["confidence"], row["dice"]) for row in rows if row["change"] == "unchanged"])
    drawn = [spearmanr(*pairs[rng.integers(len(pairs), size=len(pairs))].T).statistic for _ in range(2000)]
    found["confidence_and_dice"] = {
        "rank_correlation": float(spearmanr(*pairs.T).statistic),
        "interval": np.nanpercentile(drawn, (2.5, 97.5)).tolist(),
    }
    return found


def measure_detection(rows: Sequence[Row], picture: Path) -> dict[str, Any]:
    """Return how well odd studies are told from unchanged ones, and draw the ROC curves."""
    plain = [row for row in rows if row["change"] == "unchanged"]
    usual: Usual = find_usual([r["distance"] for r in plain], [r["confidence"] for r in plain], FLAGGED)
    for row in rows:
        row["oddness"] = measure_oddness(row["distance"], row["confidence"], usual)
    normal = np.array([row["oddness"] for row in plain])
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot(xlabel="unchanged studies that are flagged", ylabel="odd studies that are flagged")
    found = {}
    for kind in [kind for kind in (*ODD, T2) if any(row["change"] == kind for row in rows)]:
        odd = np.array([row["oddness"] for row in rows if row["change"] == kind])
        area = auroc(np.repeat([False, True], [len(normal), len(odd)]), np.concatenate([normal, odd]))
        found[kind] = {"studies": len(odd), "auroc": area, "flagged": float((odd > usual.limit).mean())}
        limits = np.sort(np.concatenate([normal, odd, [-np.inf]]))[::-1]
        axes.step([(normal >= x).mean() for x in limits], [(odd >= x).mean() for x in limits], where="post", label=kind)
    axes.axvline(FLAGGED, color="gray", linewidth=0.8, linestyle=":")
    axes.legend(loc="lower right", fontsize="small", frameon=False)
    figure.savefig(picture, dpi=120)
    return {"usual": dataclasses.asdict(usual), "kinds": found}


def main() -> None:
    """Change, segment and score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="a prepared folder, with folds")
    parser.add_argument("--folds", required=True, help="weights of each fold, {fold} in place of its number")
    parser.add_argument("--only", type=int, nargs="+", help="folds to score (default: all that have weights)")
    parser.add_argument("--changes", nargs="+", default=["sequences"], choices=GROUPS, help="groups of changes")
    parser.add_argument("--t2", type=Path, help='published folder whose T2 images stand for FLAIR, with "odd"')
    parser.add_argument("--recipe", help="recipe that the weights were trained with")
    parser.add_argument("--tta", action="store_true", help="average with the mirrored study")
    parser.add_argument("--output", type=Path, required=True, help="name of the files, without an ending")
    arguments = parser.parse_args()
    items = select_items(arguments.dataset, "training")
    changes = {"unchanged": SEQUENCES["unchanged"]} | {k: v for g in arguments.changes for k, v in GROUPS[g].items()}
    odd = "odd" in arguments.changes
    rows: list[Row] = []
    for fold in arguments.only or sorted({item["fold"] for item in items}):
        file = Path(arguments.folds.replace("{fold}", str(fold)))
        model = load_model(Options(checkpoints=(file,), recipe=arguments.recipe, tta=arguments.tta))
        space = learn_space(model, [item for item in items if item["fold"] != fold]) if odd else None
        own = [item for item in items if item["fold"] == fold]
        rows += score_fold(model, own, space, changes, arguments.t2 if odd else None)
    record: dict[str, Any] = {"machine": describe_machine()}
    if odd:
        record["detection"] = measure_detection(rows, arguments.output.with_suffix(".png"))
    for source in sorted({row["source"] for row in rows}):
        record[source or "all"] = summarise([row for row in rows if row["source"] == source])
    with arguments.output.with_suffix(".csv").open("w", newline="") as file_:
        table = csv.DictWriter(file_, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    write_record(record, arguments.output.with_suffix(".json"))


if __name__ == "__main__":
    main()

"""What each case of a data set scores by the network that has never seen it, as it is and changed.

    python benchmarks/left_out.py data/both --folds 'runs/fold{fold}/models/model.pt' --output left_out

Each case of a fold is changed in one way at a time, and segmented as `brainseg predict` does with that fold's weights;
the mask is scored against the truth, which is changed in the same way if the change is of place or size.
--changes names groups of `changes.py`: "sequences" (lost sequences, no skull), "scanners" (other scanners and other
preprocessing), "odd" (studies that should be called unfamiliar). Random changes of a case are always the same.

Writes left_out.csv, a row for each case and change, as soon as a case is scored: a run that was interrupted goes on
where it stopped, and files of several folds can be joined and summarised by another run. Then left_out.json: for each
source and change the mean Dice, and its difference from the unchanged images, with 95 % intervals by 2000 bootstrap
draws of patients; the rank correlation of the confidence with the Dice of unchanged images; and with "odd", how well
such studies are told from unchanged ones: area under the ROC curve, the share that is flagged where one in twenty
unchanged studies is, and the ROC curve itself as left_out.png.

Run it in the root of the source tree, which need not be installed; the network runs on a GPU if there is one.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from changes import GROUPS, ODD, SEQUENCES, T2, Change, of_images
from matplotlib import colormaps
from matplotlib.figure import Figure
from measuring import describe_machine, write_record
from scipy.stats import spearmanr
from tqdm import tqdm

from monai_brainseg.data.case_voxels import find_own
from monai_brainseg.data.naming import SEQUENCES as NAMES
from monai_brainseg.data.splits import Item, select_items
from monai_brainseg.images.volumes import Volume, read_nifti
from monai_brainseg.prediction.calibration import FLAGGED, describe, gather
from monai_brainseg.prediction.confidence import measure_confidence
from monai_brainseg.prediction.doubts import look_at_images
from monai_brainseg.prediction.familiarity import Signs, TrainingSpace, find_usual, measure_oddness
from monai_brainseg.prediction.options import Model, Options, load_model
from monai_brainseg.scoring.metrics import Counts, auroc, count_slices, dice, pool

Row = dict[str, Any]

TEXTS = ("patient", "source", "site", "fold", "change")  # columns of the table that are no numbers
COUNTS = (
    "true_positives", "false_positives", "false_negatives",
    "tumor_slices", "dice_of_tumor_slices", "free_slices", "false_alarms",
)  # fmt: skip


def read_case(item: Item) -> tuple[list[Volume], torch.Tensor]:
    """Return a case's sequences, and their voxels with the mask as the last channel, ``[4, x, y, z]``."""
    files = item["image"] if len(item["image"]) > 1 else item["image"] * len(NAMES)
    volumes = [read_nifti(Path(file)) for file in files]
    arrays = [volume.voxels for volume in volumes] + [read_nifti(Path(item["label"])).voxels > 0]
    return volumes, torch.stack([torch.from_numpy(array.astype(np.float32)) for array in arrays])


def segment(model: Model, volumes: list[Volume], stack: torch.Tensor, space: TrainingSpace | None) -> Row:
    """Return the scores of a changed case, and the signs by which it may be called unfamiliar."""
    arrays = stack.numpy()
    images = {
        name: dataclasses.replace(volume, voxels=array)
        for name, volume, array in zip(NAMES, volumes, arrays, strict=False)
    }
    own = find_own(images)
    result = model.segmenter.segment(own, look_at_images(own).scale)
    confidence = measure_confidence(result.probability, result.mask)
    signs: Row = {"distance": None, "confidence": confidence, "t1_likeness": None}  # not measured
    if space and result.descriptor is None:
        signs["distance"] = np.inf
    elif space and result.descriptor is not None:
        signs = space.measure(result.descriptor, confidence)._asdict()
    return {**score(count_slices(result.mask, arrays[-1] > 0)), **signs}


def score(slices: Sequence[Counts]) -> Row:
    """Return the Dice of a case, and the counts of which pooled Dice, Dice of slices and false alarms are made."""
    whole = pool(slices)
    tumor = [one for one in slices if one.true_positives + one.false_negatives]
    return {
        "dice": dice(whole),
        "true_positives": whole.true_positives,
        "false_positives": whole.false_positives,
        "false_negatives": whole.false_negatives,
        "tumor_slices": len(tumor),
        "dice_of_tumor_slices": sum(map(dice, tumor)),
        "free_slices": len(slices) - len(tumor),
        "false_alarms": sum(one.false_positives > 0 for one in slices if not one.true_positives + one.false_negatives),
    }


def score_case(model: Model, item: Item, space: TrainingSpace | None, changes: Mapping[str, Change]) -> list[Row]:
    """Return a row for each change of a case."""
    volumes, stack = read_case(item)
    rows = []
    for name, change in changes.items():
        rng = np.random.default_rng(zlib.crc32(item["patient"].encode()))
        facts = {key: item.get(key, "") for key in ("patient", "source", "site", "fold")}
        rows.append({**facts, "change": name, **segment(model, volumes, change(stack, rng), space)})
    return rows


def list_changes(item: Item, groups: Sequence[str], t2: Path | None) -> dict[str, Change]:
    """Return what is to be done to a case: nothing, each change of the groups, and T2 for FLAIR if it has a T2."""
    files = sorted(t2.rglob(f"{item['patient']}_t2.nii*")) if t2 and "odd" in groups else []
    changes = {"unchanged": SEQUENCES["unchanged"]} | {k: v for group in groups for k, v in GROUPS[group].items()}
    return changes | ({T2: put_for_flair(files[0])} if files else {})


def score_fold(fold: int, items: Sequence[Item], arguments: argparse.Namespace, table: Path) -> None:
    """Score the cases of a fold that the table does not have yet, and add them to it."""
    odd = "odd" in arguments.changes
    rows = read_rows(table)
    if odd and any(row["distance"] is None for row in rows if row["change"] in ("unchanged", *ODD)):
        raise SystemExit(f'{table} was begun without "odd": remove it, or give another --output')
    scored = {(row["patient"], row["change"]) for row in rows}
    work = []
    for item in (item for item in items if item["fold"] == fold):
        changes = list_changes(item, arguments.changes, arguments.t2)
        left = {name: change for name, change in changes.items() if (item["patient"], name) not in scored}
        work += [(item, left)] if left else []
    if not work:
        return
    file = Path(arguments.folds.replace("{fold}", str(fold)))
    options, space = Options(checkpoints=(file,), recipe=arguments.recipe), None
    if odd:
        others = [item for item in items if item["fold"] != fold]
        space = TrainingSpace(*gather(describe(others, file, options, f"training studies of fold {fold}").values()))
    model = load_model(dataclasses.replace(options, tta=arguments.tta))
    for item, changes in tqdm(work, f"fold {fold}", unit="case", disable=None):
        append_rows(score_case(model, item, space, changes), table)


def read_rows(file: Path) -> list[Row]:
    """Return the rows that an earlier run wrote, or those of several runs joined; none if there is no file."""
    if not file.is_file():
        return []
    with file.open(newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["patient"] != "patient"]  # joined files repeat their heads
    return [{key: value if key in TEXTS else read_number(value) for key, value in row.items()} for row in rows]


def read_number(text: str) -> float | None:
    """Return a number, or None of an empty cell."""
    return float(text) if text else None


def append_rows(rows: Sequence[Row], file: Path) -> None:
    """Add rows to a table, with a head if it is new."""
    new = not file.exists()
    with file.open("a", newline="") as table:
        writer = csv.DictWriter(table, list(rows[0]))
        if new:
            writer.writeheader()
        writer.writerows(rows)


def put_for_flair(file: Path) -> Change:
    """Return a change that puts another image in the place of FLAIR."""
    other = torch.from_numpy(read_nifti(file).voxels.astype(np.float32))
    return of_images(lambda images: torch.stack([images[0], other, images[2]]))


def estimate(values: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """Return a mean and its interval."""
    means = values[rng.integers(len(values), size=(2000, len(values)))].mean(1)
    return {"mean": float(values.mean()), "interval": np.percentile(means, (2.5, 97.5)).tolist()}


def add_up(rows: Sequence[Row]) -> dict[str, float]:
    """Return the pooled Dice, the mean Dice of slices with tumour, and the share of the others with a false alarm."""
    total = {key: sum(row[key] for row in rows) for key in COUNTS}
    right = 2 * total["true_positives"]
    return {
        "pooled": right / max(1, right + total["false_positives"] + total["false_negatives"]),
        "tumor_slices": total["dice_of_tumor_slices"] / max(1, total["tumor_slices"]),
        "false_alarms": total["false_alarms"] / max(1, total["free_slices"]),
    }


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Return for each change the scores and the effects, and what the confidence says of the unchanged images."""
    rng = np.random.default_rng(0)
    scores = {c: {r["patient"]: r["dice"] for r in rows if r["change"] == c} for c in {r["change"]: 0 for r in rows}}
    plain = scores["unchanged"]
    found: dict[str, Any] = {"patients": len(plain), "changes": {}, "sites": {}}
    for name, values in scores.items():
        dices = np.array(list(values.values()))
        effects = np.array([value - plain[patient] for patient, value in values.items()])
        found["changes"][name] = {
            "dice": estimate(dices, rng) | {"median": float(np.median(dices)), "worst": float(dices.min())},
            "effect": estimate(effects, rng),
            **add_up([row for row in rows if row["change"] == name]),
        }
    unchanged = [row for row in rows if row["change"] == "unchanged"]
    for site in sorted({row["site"] for row in unchanged}):
        dices = np.array([row["dice"] for row in unchanged if row["site"] == site])
        found["sites"][site] = {"patients": len(dices)} | estimate(dices, rng)
    pairs = np.array([(row["confidence"], row["dice"]) for row in unchanged])
    drawn = [spearmanr(*pairs[rng.integers(len(pairs), size=len(pairs))].T).statistic for _ in range(2000)]
    found["confidence_and_dice"] = {
        "rank_correlation": float(spearmanr(*pairs.T).statistic),
        "interval": np.nanpercentile(drawn, (2.5, 97.5)).tolist(),
    }
    return found


def measure_detection(rows: Sequence[Row], picture: Path) -> dict[str, Any]:
    """Return how well odd studies are told from unchanged ones, and draw the ROC curves."""
    signs = {id(row): Signs(row["distance"], row["confidence"], row["t1_likeness"]) for row in rows}
    plain = [row for row in rows if row["change"] == "unchanged"]
    usual = find_usual([signs[id(row)] for row in plain], FLAGGED)
    for row in rows:
        row["oddness"] = measure_oddness(signs[id(row)], usual).value
    normal = np.array([row["oddness"] for row in plain])
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot(xlabel="unchanged studies that are flagged", ylabel="odd studies that are flagged")
    axes.set_prop_cycle(color=colormaps["tab20"](range(20)))  # more kinds than the ten usual colours
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
    parser.add_argument("--only", type=int, nargs="+", help="folds to score (default: all)")
    parser.add_argument("--changes", nargs="+", default=["sequences"], choices=GROUPS, help="groups of changes")
    parser.add_argument("--t2", type=Path, help='published folder whose T2 images stand for FLAIR, with "odd"')
    parser.add_argument("--recipe", help="recipe that the weights were trained with")
    parser.add_argument("--tta", action="store_true", help="average with the mirrored study")
    parser.add_argument(
        "--output", type=Path, required=True, help="name of the files, without an ending; of other weights another one"
    )
    arguments = parser.parse_args()
    items = select_items(arguments.dataset, "training")
    table = arguments.output.with_suffix(".csv")
    for fold in arguments.only or sorted({item["fold"] for item in items}):
        score_fold(fold, items, arguments, table)
    rows = read_rows(table)
    record: dict[str, Any] = {"machine": describe_machine()}
    if "odd" in arguments.changes:
        record["detection"] = measure_detection(rows, arguments.output.with_suffix(".png"))
    for source in sorted({row["source"] for row in rows}):
        record[source or "all"] = summarise([row for row in rows if row["source"] == source])
    write_record(record, arguments.output.with_suffix(".json"))


if __name__ == "__main__":
    main()

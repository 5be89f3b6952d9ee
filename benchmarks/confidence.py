"""Does the confidence that `brainseg predict --uncertainty` gives say how good a mask is?

    brainseg predict data/lgg --part training --fold 0 --uncertainty --checkpoint MODEL --output sure
    brainseg evaluate --datalist data/lgg --part training --fold 0 --allow-seen --predictions sure --output sure
    python benchmarks/confidence.py sure --output confidence.json

Takes the confidence of each patient from run.json and the true Dice from metrics.csv, and gives Spearman's rank
correlation with a 95 % interval by 10000 bootstrap draws of patients. The weights may have been selected on that fold,
which counts as seen, but must not have been trained on it.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np
from measuring import write_record
from scipy.stats import spearmanr


def correlate(confidence: np.ndarray, dice: np.ndarray, rng: np.random.Generator) -> dict[str, object]:
    """Return the rank correlation of two numbers of each patient, with its interval."""
    draws = rng.integers(len(dice), size=(10000, len(dice)))
    drawn = [spearmanr(confidence[draw], dice[draw]).statistic for draw in draws if len(set(draw)) > 2]
    return {
        "patients": len(dice),
        "rank_correlation": float(spearmanr(confidence, dice).statistic),
        "interval": np.nanpercentile(drawn, (2.5, 97.5)).tolist(),
    }


def main() -> None:
    """Read both files and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of run.json and metrics.csv")
    parser.add_argument("--output", type=Path, default=Path("confidence.json"))
    arguments = parser.parse_args()
    cases = json.loads((arguments.folder / "run.json").read_text())["cases"]
    with (arguments.folder / "metrics.csv").open() as table:
        dice = {row["patient"]: float(row["dice"]) for row in csv.DictReader(table)}
    pairs = np.array([(case["confidence"], dice[case["case"]]) for case in cases if case["case"] in dice])
    write_record(correlate(pairs[:, 0], pairs[:, 1], np.random.default_rng(0)), arguments.output)


if __name__ == "__main__":
    main()

"""The stock MONAI training that benchmarks/train.py compares ours with runs, and on the same slices."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bundle_runs import QUICK, run

STOCK = "benchmarks/stock_train.yaml"


@pytest.mark.slow
def test_stock_training_runs_with_validation(prepared_phantoms: Path, tmp_path: Path) -> None:
    done = run("training", "train.yaml", prepared_phantoms, tmp_path / "run", STOCK, **QUICK)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "run/models/model.pt").is_file()
    assert "val_mean_dice" in done.stdout + done.stderr

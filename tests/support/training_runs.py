"""Folders of training runs as TensorBoard's own writer leaves them."""

from __future__ import annotations

import json
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter


def write_run(folder: Path) -> Path:
    """Write a run of four epochs, interrupted after the third, that went on from the second; two writers each time."""
    for start, stop, loss in ((1, 3, 1.0), (3, 4, 0.5)):
        with SummaryWriter(folder / "tensorboard") as train, SummaryWriter(folder / "tensorboard") as validate:
            for epoch in range(start, stop + 1):
                train.add_scalar("train_loss", loss / epoch, epoch)
                train.add_scalar("learning_rate", 0.001, epoch)
                validate.add_scalar("val_mean_dice", float("nan") if epoch == 1 else 0.2 * epoch, epoch)
                validate.add_scalar("something_else", 1, epoch)
    (folder / "run.json").write_text(json.dumps({"seed": 3, "command": ["run", "<b>"], "machine": "x"}))
    (folder / "config.yaml").write_text("epochs: 4 # <b>\n")
    return folder

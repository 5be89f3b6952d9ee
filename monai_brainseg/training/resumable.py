"""Checkpoints of a training: written whole after each epoch, and resumed to the bit; signals that end it in order."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import threading
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.handlers import EarlyStopHandler

from monai_brainseg.errors import InputError
from monai_brainseg.files import clear_unfinished
from monai_brainseg.runs.ranks import claim_final_message, write_final_message
from monai_brainseg.weights.checkpoints import check_whole, write_checkpoint

logger = logging.getLogger(__name__)


class Checkpoints:
    """Write ``last.pt`` after every epoch and ``model.pt`` of the best or the last one, and resume from ``last.pt``.

    Attach it after validation and early stopping. Both files are written beside their place and renamed, so a kill at
    any moment leaves the last good one. Files are written by rank 0; every rank reads.

    Args:
        network: saved as a bare state dict under ``model`` in ``model.pt``; a training of another network is not
        resumed.
        optimizer: its state goes into ``last.pt``.
        lr_scheduler: likewise.
        evaluator: the validation engine; its best score decides.
        early_stop: its count survives a resume.
        output_dir: folder of ``last.pt``.
        ckpt_dir: folder of ``model.pt``.
        settings: what else must be the same for a resume to make sense, by name: fold, epochs, precision, ...
        seen: hashes of the patients trained or selected on, kept in ``model.pt``; the same too.
        resume: continue from ``last.pt`` if there is one.
        keep_best: ``model.pt`` is of the epoch with the best score; False keeps the last epoch, which no score chose.
    """

    def __init__(
        self,
        *,
        network: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        lr_scheduler: Any,
        evaluator: Engine,
        early_stop: EarlyStopHandler,
        output_dir: str,
        ckpt_dir: str,
        settings: Mapping[str, Any],
        seen: Sequence[str] = (),
        resume: bool = False,
        keep_best: bool = True,
    ) -> None:
        self.stateful = {"network": network, "optimizer": optimizer, "lr_scheduler": lr_scheduler}
        self.evaluator = evaluator
        self.early_stop = early_stop
        self.last = Path(output_dir) / "last.pt"
        self.kept = Path(ckpt_dir) / "model.pt"
        self.seen = list(seen)
        identity = {"network": network, "data": self.seen, **settings}
        self.identity = {name: str(value) for name, value in identity.items()}
        self.resume = resume
        self.keep_best = keep_best
        self.written_best = -1

    def attach(self, engine: Engine) -> None:
        """Resume when the engine starts, save after each epoch, and end in order when asked to stop."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def _start(self, engine: Engine) -> None:
        stop_on_signals(engine, self.last)
        if engine.scaler is not None:  # of float16
            self.stateful["scaler"] = engine.scaler
        if not self.resume:
            return
        if not self.last.is_file():
            logger.info("nothing to resume: %s does not exist; training starts from the beginning", self.last)
            return
        self._load(engine)
        if engine.state.epoch >= engine.state.max_epochs or self._is_stopped():
            logger.info("%s is finished: epoch %d of %d", self.last, engine.state.epoch, engine.state.max_epochs)
            engine.state.max_epochs = engine.state.epoch
            engine.terminate()
        else:
            logger.info("resumed from %s after epoch %d", self.last, engine.state.epoch)

    def _load(self, engine: Engine) -> None:
        try:
            check_whole(self.last)
            state = torch.load(self.last, map_location=engine.state.device, weights_only=True)
        except (OSError, RuntimeError, EOFError, LookupError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
            raise InputError(
                self.last, "cannot be read", "--overwrite True instead of --resume starts from the beginning"
            ) from error
        for name, value in self.identity.items():
            if state["identity"].get(name, value) != value:  # an earlier version may not have written all
                remedy = "give another --output_dir, or --overwrite True instead of --resume"
                raise InputError(self.last, f"was trained with another {name}", remedy)
        for name, item in self.stateful.items():
            item.load_state_dict(state[name])
        engine.state.epoch = state["epoch"]
        engine.state.iteration = state["epoch"] * engine.state.epoch_length
        best = self.evaluator.state
        best.best_metric, best.best_metric_epoch = state["best_metric"], state["best_metric_epoch"]
        self.written_best = state["best_metric_epoch"]
        counter = self.early_stop._handler
        counter.best_score, counter.counter = state["stop_score"], state["stop_counter"]

    def _is_stopped(self) -> bool:
        return bool(self.early_stop._handler.counter >= self.early_stop.patience)

    def _save(self, engine: Engine) -> None:
        if engine.state.rank > 0:
            return
        best, counter = self.evaluator.state, self.early_stop._handler
        if self.keep_best and best.best_metric_epoch > self.written_best:
            self._keep()
            self.written_best = best.best_metric_epoch
        state = {name: item.state_dict() for name, item in self.stateful.items()} | {
            "epoch": engine.state.epoch,
            "identity": self.identity,
            "best_metric": float(best.best_metric),
            "best_metric_epoch": best.best_metric_epoch,
            "stop_score": counter.best_score,
            "stop_counter": counter.counter,
        }
        write_checkpoint(state, self.last)

    def _finish(self, engine: Engine) -> None:
        best = self.evaluator.state
        if engine.state.rank > 0:
            return
        if best.best_metric_epoch >= 0:
            logger.info("best %s %.4f in epoch %d", best.key_metric_name, best.best_metric, best.best_metric_epoch)
        if not self.keep_best or best.best_metric_epoch < 0:
            # A label server may have too few labels to set any aside, or be asked for one epoch.
            self._keep()
            reason = "no epoch was validated" if self.keep_best else "keep_best is false"
            logger.info("%s, so these are the weights of the last epoch", reason)
        logger.info("weights: %s", self.kept)

    def _keep(self) -> None:
        write_checkpoint({"model": self.stateful["network"].state_dict(), "seen": self.seen}, self.kept)


def stop_on_signals(engine: Engine, last: Path) -> None:
    """End with one line on SIGTERM and Ctrl-C; the files of the last complete epoch stay.

    Only if training is this program: a server that trains in one of its threads keeps its handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        return

    owner = os.getpid()

    def leave(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a loader's process, which ends with this one
            return
        # Neither a second signal nor the end of the loaders, an error to torch, comes in between.
        for name in ("SIGTERM", "SIGINT", "SIGCHLD"):  # Windows has no SIGCHLD
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), lambda *_: None)
        if claim_final_message():
            where = f"{last} holds the last complete one" if last.is_file() else "no epoch was complete yet"
            write_final_message(
                f"stopped by {signal.Signals(number).name} in epoch {engine.state.epoch}: {where}; "
                "the same command with --resume True continues"
            )
        clear_unfinished()
        for loader in multiprocessing.active_children():
            loader.kill()
        # Python drops what a handler raises in the middle of a fork or a destructor; the run would continue.
        os._exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)

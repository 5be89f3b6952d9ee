"""A run of ``python -m monai.bundle``: checked before it starts, recorded, and ended in one line if it must end.

An item of a bundle's ``initialize`` calls ``start_run``, which reads the command line of the process. In any
other process (a MONAI Label server, a notebook) there is no such command line, and it does nothing.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import platform
import shutil
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
import yaml
from brainseg_unet_scripts.encoders import find_imagenet_weights
from brainseg_unet_scripts.errors import BundleError
from brainseg_unet_scripts.records import list_weights
from brainseg_unet_scripts.starts import list_causes
from monai.bundle import ConfigParser

from monai_brainseg.data.splits import read_datalist, select_items
from monai_brainseg.errors import InputError
from monai_brainseg.files import make_printable, write_beside
from monai_brainseg.findings import ERROR
from monai_brainseg.records import describe_machine, list_versions
from monai_brainseg.runs.commands import Command, read_command
from monai_brainseg.runs.config_checks import check_command, check_targets, count_given
from monai_brainseg.runs.machine_checks import check_start
from monai_brainseg.runs.processors import choose_threads, keep_freed_memory
from monai_brainseg.runs.ranks import check_shares, claim_final_message, is_lost_peer, write_final_message
from monai_brainseg.weights.checkpoints import check_checkpoint
from monai_brainseg.weights.provenance import RECORD, describe_checkpoint, judge

# Errors of a write on a full disk, over a quota and at a limit; TensorBoard's names no file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_FOLD = -1  # train on all folds


def start_run(
    output_dir: str,
    *,
    datalist: str,
    fold: int | None = None,
    batch_size: int | None = None,
    fresh: bool = False,
    overwrite: bool = False,
    checkpoint: str | None = None,
    network: torch.nn.Module | None = None,
    part: str | None = None,
    allow_seen: bool = False,
) -> None:
    """Check the command that started this process and the data it names, then record it in ``output_dir``.

    The machine is checked quickly too: an error of ``machine_checks.check_start`` ends the run.
    Writes ``config.yaml`` (the configs merged with the overrides: it runs again by itself) and ``run.json`` (command,
    versions, date). Ends the process with one line and exit code 1 if something in the command is wrong.
    Of several processes, rank 0 alone writes and logs.

    Args:
        output_dir: folder of the run.
        datalist: file to be checked before any long work, unless the config itself lists the patients, as that of a
            label server does.
        fold: the fold to be left out for validation; must have patients, and so must the others. -1 leaves none out.
        batch_size: slices in a step that several processes share; None if there is only one.
        fresh: a training begins; ``output_dir`` must not hold one already.
        overwrite: begin nevertheless; the earlier training's dashboard and ``last.pt`` are removed at once, its weights
            are replaced by the new ones. Not kept in ``config.yaml``, which would replace the training again.
        checkpoint: file of weights that must be there, and fit ``network``.
        network: what ``checkpoint`` is for.
        part: of the datalist that is to be scored by ``checkpoint``, together with ``fold``; None scores nothing.
        allow_seen: score it also where those weights were trained or selected on some of its patients.
    """
    command = read_command(sys.orig_argv)
    if command is None:
        return
    keep_freed_memory()
    choose_threads(None if fresh else _read_threads(Path(output_dir)))
    try:
        config = check_command(command)
        check_targets(command.config_files)
        _refuse_to_replace(Path(output_dir), fresh, overwrite)
        given = count_given(config)
        if given is None:
            _check_datalist(datalist, fold, batch_size)
        elif batch_size is not None:
            check_shares(*given, batch_size)
        if checkpoint is not None and network is not None:
            check_checkpoint(Path(checkpoint), network)
        if int(os.environ.get("RANK", "0")) == 0:
            _check_machine(config, Path(output_dir), Path(datalist) if given is None and part is None else None)
            scored = select_items(Path(datalist), part, fold) if part is not None else []
            weights = (
                _describe_weights(Path(checkpoint), scored, allow_seen, Path(output_dir))
                if checkpoint is not None
                else {}
            )
            _record(command, config, Path(output_dir), fresh, weights)
        else:
            logging.disable()
        threading.excepthook = _leave_thread
        sys.excepthook = partial(_leave, run_id=command.run_id)
        make_printable()
    except (InputError, BundleError, OSError) as error:
        if claim_final_message():
            write_final_message(f"{command.run_id}: {error}")
        sys.exit(1)


def _leave(kind: type[BaseException], error: BaseException, trace: TracebackType | None, *, run_id: str) -> None:
    """End the process as ``sys.excepthook``: one line for what the user can correct, a traceback for a bug."""
    if claim_final_message():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun sends it once another rank has ended without a message
        reason = explain(error)
        if reason is None:
            sys.__excepthook__(kind, error, trace)
            return
        write_final_message(f"{run_id}: {reason}")
    # MONAI has tried a broken file with ITK, whose threads can abort an orderly exit with a line of their own.
    os._exit(1)


def _leave_thread(arguments: threading.ExceptHookArgs) -> None:
    """Do not report a file that TensorBoard's thread cannot write: the run's own next write does."""
    if not isinstance(arguments.exc_value, OSError):
        threading.__excepthook__(arguments)


def explain(error: BaseException) -> str | None:
    """Return in one line what a user has to correct after ``error``, which MONAI may have wrapped; None for a bug."""
    for cause in list_causes(error):
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return f"{cause}; free some disk space, or name another --output_dir"
        if isinstance(cause, (InputError, BundleError)) or isinstance(cause, OSError) and cause.errno is not None:
            return str(cause)
        if reason := _name_memory(cause):
            return reason
        if is_lost_peer(cause):
            return "another process of this run was lost; the same command with --resume True continues it"
    return None


def _name_memory(error: BaseException) -> str | None:
    """Return the line for an error that means too little memory, of this process or a GPU."""
    text, goes_on = str(error), "the same command with --resume True continues"
    if isinstance(error, torch.OutOfMemoryError):
        lower = "--batch_size or --slice_memory"
        return f"the GPU has too little memory; end other programs on it, or lower {lower}: {goes_on}"
    if isinstance(error, MemoryError) or "can't allocate memory" in text:
        lower = "--slice_memory, --cache_num or --batch_size"
        return f"there is too little memory; end other programs, or lower {lower}: {goes_on}"
    return None


def _check_datalist(datalist: str, fold: int | None, batch_size: int | None) -> None:
    if not Path(datalist).is_file():
        raise InputError(datalist, "is missing", "give --dataset_dir a folder that `brainseg prepare` wrote")
    listed = read_datalist(Path(datalist))
    folds = {item["fold"] for item in listed["training"]}
    if fold not in (None, NO_FOLD) and (fold not in folds or len(folds) < 2):
        raise InputError(
            datalist, f"has no patients in fold {fold}, or none outside it", f"it has folds {sorted(folds)}"
        )
    if batch_size is not None:
        validation = sum(item["fold"] == fold for item in listed["training"])
        training = len(listed["training"]) - validation
        check_shares(training, training if fold == NO_FOLD else validation, batch_size)


def _refuse_to_replace(output_dir: Path, fresh: bool, overwrite: bool) -> None:
    if overwrite and not fresh:
        raise InputError("--resume True, --overwrite True", "one continues a training, the other replaces it")
    if fresh and not overwrite and (output_dir / "last.pt").exists():
        choices = "--resume True continues it, another --output_dir keeps it, --overwrite True replaces it"
        raise InputError(output_dir, "already holds a training", choices)


def _check_machine(config: ConfigParser, output_dir: Path, datalist: Path | None) -> None:
    """Refuse a machine on which the run would fail, also for missing ImageNet weights, and warn if it may fail."""
    network = config.get("network_def")
    if isinstance(network, Mapping) and network.get("pretrained") in (True, "@pretrained") and config.get("pretrained"):
        find_imagenet_weights()
    items = [] if datalist is None else read_datalist(datalist, check_files=False)["training"]
    for finding in check_start(output_dir, items, config.get()):
        if finding.level == ERROR:
            raise finding.as_error()
        logging.getLogger(__name__).warning("%s", finding)


def _describe_weights(
    checkpoint: Path, scored: Sequence[Mapping[str, Any]], allow_seen: bool, output_dir: Path
) -> dict[str, Any]:
    """Return the record of the weights that a run begins with, and warn if they have seen the patients."""
    weights = describe_checkpoint(checkpoint)
    if "note" in weights:
        logging.getLogger(__name__).warning("%s: %s", checkpoint, weights["note"])
    if not scored:
        return {"checkpoint": [weights]}
    checkpoints = list_weights(output_dir, [weights])
    verdict = judge(scored, weights["seen"], allow_seen)
    if verdict["state"] != "clean":
        logging.getLogger(__name__).warning(verdict["note"])
    return {"checkpoint": checkpoints, "provenance": verdict}


def _read_threads(output_dir: Path) -> int | None:
    """Return the threads of the training that is resumed; None if there is none or they are not recorded."""
    try:
        threads = json.loads((output_dir / RECORD).read_bytes()).get("threads")
    except (OSError, ValueError, AttributeError):
        return None
    return threads if isinstance(threads, int) and (output_dir / "last.pt").is_file() else None


def _record(command: Command, config: ConfigParser, output_dir: Path, fresh: bool, weights: Mapping[str, Any]) -> None:
    if fresh:
        shutil.rmtree(output_dir / "tensorboard", ignore_errors=True)
        (output_dir / "last.pt").unlink(missing_ok=True)
    elif (output_dir / "last.pt").is_file() and "provenance" not in weights:
        return  # a resumed run keeps the record of its beginning
    content = config.get() | ({"overwrite": False} if "overwrite" in config else {})
    with write_beside(output_dir / "config.yaml") as path:
        path.write_text(yaml.safe_dump(content, sort_keys=False, width=120))
    record = {
        "command": sys.orig_argv,
        **weights,
        "run_id": command.run_id,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seed": config.get("seed"),
        "python": platform.python_version(),
        "machine": describe_machine(),
        "threads": torch.get_num_threads(),
        "versions": list_versions("monai", "torch", "pytorch-ignite", "numpy"),
    }
    with write_beside(output_dir / RECORD) as path:
        path.write_text(json.dumps(record, indent=2) + "\n")

"""The precision of a run: a resumed training keeps its own, and every run records it in ``run.json``."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

import torch
from brainseg_unet_scripts.precision import Amp, choose_precision, is_native, name_precision, select_precision

from monai_brainseg.errors import InputError
from monai_brainseg.files import write_beside
from monai_brainseg.runs.commands import read_command
from monai_brainseg.weights.provenance import RECORD

logger = logging.getLogger(__name__)

_KNOWN = {str(precision): precision for precision in (torch.float32, torch.bfloat16, torch.float16)}
_ANEW = "--overwrite True instead of --resume starts from the beginning"


def resume_precision(amp: Amp, device: torch.device | str, output_dir: str, resume: bool) -> torch.dtype:
    """Return the precision of a training, and say it in the log: that of ``last.pt``, else one for the device.

    Args:
        amp: ``"auto"``, True or False.
        device: where the network runs.
        output_dir: folder of the run.
        resume: continue from ``last.pt`` if there is one.

    Raises:
        InputError: ``amp`` contradicts the record, or the device cannot continue in the recorded precision.
        BundleError: ``amp`` is neither auto nor True nor False.
    """
    last = Path(output_dir) / "last.pt"
    recorded = _read_recorded(last) if resume else None
    if recorded is None:
        return choose_precision(amp, device)
    name, kind = name_precision(recorded), torch.device(device).type
    wanted = select_precision(amp, device)
    if amp != "auto" and (wanted == torch.float32) != (recorded == torch.float32):
        raise InputError(f"--amp {amp}", f"{last} was trained in {name}", f"leave --amp out to keep it, or {_ANEW}")
    if recorded == torch.float16 and kind == "cpu":
        raise InputError(last, "was trained in float16, which needs a GPU", f"continue on a GPU, or {_ANEW}")
    if is_native(recorded, device):
        logger.info("precision: %s (as %s was trained)", name, last)
    else:
        slow = (
            f"this {'GPU' if kind == 'cuda' else 'CPU'} emulates it, which is many times slower than float32; {_ANEW}"
        )
        logger.warning("precision: %s (as %s was trained): %s", name, last, slow)
    return recorded


def _read_recorded(last: Path) -> torch.dtype | None:
    """Return the precision of a file to resume from; None if it names none."""
    try:
        identity = torch.load(last, map_location="cpu", mmap=True, weights_only=True)["identity"]
        return _KNOWN.get(identity.get("precision"))
    except Exception:  # the file is missing or damaged; what resumes from it reports that
        return None


def record_precision(output_dir: str, precision: torch.dtype) -> None:
    """Add the precision to the ``run.json`` that ``start_run`` wrote; in any other process this does nothing."""
    file = Path(output_dir) / RECORD
    if read_command(sys.orig_argv) is None or int(os.environ.get("RANK", "0")) > 0 or not file.is_file():
        return
    record = {**json.loads(file.read_text()), "precision": name_precision(precision)}
    with write_beside(file) as path:
        path.write_text(json.dumps(record, indent=2) + "\n")

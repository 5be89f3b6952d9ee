"""Each study of those that were found becomes a mask on its own grid, with a preview and a record."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from brainseg_unet_scripts.errors import BundleError
from brainseg_unet_scripts.file_groups import check_heads
from brainseg_unet_scripts.precision import name_precision
from tqdm import tqdm

from monai_brainseg.data.case_voxels import collect_notes, find_own, read_images
from monai_brainseg.data.cases import Case, Found
from monai_brainseg.data.naming import CHANNELS, SEQUENCES
from monai_brainseg.errors import InputError
from monai_brainseg.images.volumes import Volume, hash_images
from monai_brainseg.inputs.roles import list_roles
from monai_brainseg.inputs.volume_groupings import BY_FOLDER, BY_NUMBER
from monai_brainseg.prediction.confidence import measure_confidence, measure_entropy
from monai_brainseg.prediction.dicom_masks import MISSING, can_write
from monai_brainseg.prediction.doubts import look_at_images, look_at_mask
from monai_brainseg.prediction.mask_files import write_outputs
from monai_brainseg.prediction.mask_records import (
    forget_failure,
    hash_settings,
    is_done,
    read_record,
    write_failure,
    write_record,
    write_run,
)
from monai_brainseg.prediction.options import Model, Options, explain_precision, load_model
from monai_brainseg.runs.ranks import read_share
from monai_brainseg.weights.provenance import find_seen

_UNFAMILIAR = (
    "do not rely on this mask: the study is unlike those that the network was trained on; check that it shows a brain, "
    "that its FLAIR is FLAIR, and whether the images are disturbed"
)
_LIKE_T1 = (
    "do not rely on this mask: the image given as FLAIR does not look like FLAIR (T1-weighted?); check what it is"
)


def predict(
    found: Found,
    output: Path,
    options: Options,
    command: Sequence[str] = (),
    say: Callable[[str], None] = tqdm.write,
) -> dict[str, str]:
    """Segment studies that are not yet done, each on its own grid, and write masks, previews and ``run.json``.

    Under ``torchrun`` each process takes its share of the studies.

    Args:
        found: the studies.
        output: folder to write to.
        options: how.
        command: the command, for the record.
        say: takes each line of what happens.

    Returns:
        why studies could not be segmented, by name.

    Raises:
        InputError: weights, bundle, device or this process's share cannot be used, or the folder cannot be written to.
    """
    rank, processes = read_share()
    model = load_model(options)
    device, precision = str(model.segmenter.device), name_precision(model.segmenter.precision)
    left_out = {reason: files for reason, files in found.left_out.items() if files}
    record_run = partial(write_run, output, model.checkpoints, command, device, precision, left_out)
    record_run()
    bad = {}
    if rank == 0:
        for checkpoint in model.checkpoints:
            if "note" in checkpoint:
                _tell(say, f"{checkpoint['file']}: {checkpoint['note']}")
        _tell(say, f"precision: {explain_precision(model.segmenter, options.amp)}")
        bad = {patient: str(error) for patient, error in found.bad.items()}
    cases, done = found.cases[rank::processes], 0
    for case in tqdm(cases, "segmenting", unit="study", disable=None):
        try:
            if _is_done(case, model, output):
                forget_failure(output, case.patient)
                done += 1
                continue
            lines = _describe(segment_case(case, model, output, options))
        except Exception as error:  # one bad study does not stop the rest
            bad[case.patient] = _explain(case, error)
            continue
        for line in lines:
            _tell(say, f"{case.patient}: {line}")
    if done:
        _tell(say, f"{done} of {len(cases)} studies were segmented before, with the same settings")
    for patient, reason in bad.items():
        write_failure(output, patient, reason)
    record_run()
    return bad


def _tell(say: Callable[[str], None], line: str) -> None:
    """Say a line. A terminal that cannot take it, or has been closed, does not stop the work."""
    with suppress(OSError, UnicodeError):
        say(line)


def segment_case(case: Case, model: Model, output: Path, options: Options) -> dict[str, Any]:
    """Segment one study, write its files whole or not at all, and return its record, which is written too.

    Raises:
        InputError: the study cannot be read or segmented, or the folder cannot be written to.
    """
    started, key = time.perf_counter(), _make_key(case, model)
    images = find_own(read_images(case))
    _check_heads(case, images)
    flair, digest = images["flair"], hash_images(list(images.values()))
    look = look_at_images(images, options.keep_scale)
    result = model.segmenter.segment(images, look.scale)
    confidence, familiar = measure_confidence(result.probability, result.mask), model.segmenter.familiar
    oddness = familiar.measure(result.descriptor, confidence) if familiar else None
    maps = {"probability": result.probability} if options.probability else {}
    if options.uncertainty:
        maps["entropy"] = measure_entropy(result.probability)
    written, said = write_outputs(case, flair, result.mask, maps, output, model.name, options.bids)
    doubts = [
        *case.doubts,
        *case.notes,
        *collect_notes(images),
        *look.warnings,
        *result.notes,
        *look_at_mask(result.mask, flair, look),
    ]
    if familiar and oddness and oddness.value > familiar.usual.limit:
        doubts.append(_LIKE_T1 if oddness.sign == "t1_likeness" else _UNFAMILIAR)
    voxels, mask = int(result.mask.sum()), output / f"{case.patient}.nii.gz"
    record = {
        "case": case.patient,
        "mask_sha256": hashlib.sha256(mask.read_bytes()).hexdigest() if mask.name in written else None,
        "input": [str(file) for file in case.image_files],
        "output": written,
        "form": case.form,
        "roles": list_roles(case),
        "hash": digest,
        "stand_ins": [sequence for sequence in SEQUENCES if sequence not in images],
        "scale": look.scale,
        "precision": name_precision(model.segmenter.precision),
        "tumor_voxels": voxels,
        "tumor_ml": voxels * flair.voxel_size / 1000 if flair.spacing_known else None,
        "confidence": confidence,
        "oddness": oddness.value if oddness and math.isfinite(oddness.value) else None,
        "warnings": [*doubts, *_warn_of_seen(case.patient, digest, model), *said],
        "seconds": time.perf_counter() - started,
    }
    write_record(output, {**record, "key": key, "settings": model.settings, "weights": model.settings["weights"]})
    return record


def _check_heads(case: Case, images: Mapping[str, Volume]) -> None:
    """Refuse files of several people that numbers or folders joined: FLAIR and the others must show one head."""
    if case.told in (BY_NUMBER, BY_FOLDER):
        order = sorted(images, key=lambda sequence: sequence != "flair")
        try:
            check_heads([case.images[one][0] for one in order], [images[one].voxels for one in order])
        except BundleError as error:
            raise InputError(error.where, error.what, error.remedy) from error


def _warn_of_seen(patient: str, digest: str, model: Model) -> Iterator[str]:
    item = {"patient": patient, "hash": digest}
    if any(find_seen([item], checkpoint["seen"] or ()) for checkpoint in model.checkpoints):
        yield "the weights were trained or selected on this patient: its mask says nothing about other patients"


def _make_key(case: Case, model: Model) -> str:
    """Return a hash of all that decides a study's mask; channels in another order than usual are part of it."""
    named = {} if case.channels in ({}, CHANNELS) else {"channels": dict(case.channels)}
    return hash_settings({**model.settings, **named}, case.image_files)


def _is_done(case: Case, model: Model, output: Path) -> bool:
    """Was a study segmented with the same settings, and is no DICOM SEG missing that can be written now?"""
    if not is_done(output, case.patient, _make_key(case, model)):
        return False
    return not (can_write() and any(MISSING in line for line in read_record(output, case.patient)["warnings"]))


def _describe(record: Mapping[str, Any]) -> list[str]:
    """Return what is reported of a study: the size of its tumour, and what makes its mask doubtful."""
    size = f"{record['tumor_voxels']} voxels" if record["tumor_ml"] is None else f"{record['tumor_ml']:.1f} ml"
    return [f"{size} of tumour" if record["tumor_voxels"] else "no tumour found", *record["warnings"]]


def _explain(case: Case, error: Exception) -> str:
    """Return in one line why a study failed."""
    if isinstance(error, InputError):
        return str(error)
    file = case.images["flair"][0]
    if isinstance(error, MemoryError):
        return f"{file}: does not fit into memory; close other programs, or use a larger machine"
    reason = " ".join(str(error).split())[:160]
    return f"{file}: cannot be segmented ({type(error).__name__}: {reason}); check whether it opens in a viewer"

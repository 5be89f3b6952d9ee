"""Any study in, a mask on its own grid out: what ``brainseg predict`` does."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from brainseg_unet_scripts.precision import Amp, describe_precision, name_precision, select_device, select_precision
from tqdm import tqdm

from monai_brainseg.data.cases import find_own, read_images
from monai_brainseg.data.naming import find_subject
from monai_brainseg.data.volumes import SEQUENCES, Volume, hash_images, unwritable, write_nifti, write_whole
from monai_brainseg.errors import InputError
from monai_brainseg.prediction.confidence import measure_confidence, measure_entropy
from monai_brainseg.prediction.dicom_masks import MISSING, can_write, write_segmentation
from monai_brainseg.prediction.doubts import look_at_images, look_at_mask
from monai_brainseg.prediction.groupings import Found, Scan
from monai_brainseg.prediction.mask_files import write_like, write_mask_slices
from monai_brainseg.prediction.mask_records import (
    forget_failure,
    hash_settings,
    is_done,
    read_record,
    write_failure,
    write_record,
    write_run,
)
from monai_brainseg.prediction.montages import draw_montage
from monai_brainseg.prediction.segmenting import Segmenter, load_bundle
from monai_brainseg.runs.bundle_folders import DEFAULT, find_bundle
from monai_brainseg.runs.ranks import read_share
from monai_brainseg.runs.recipes import read_trained, select_inference
from monai_brainseg.weights.provenance import describe_checkpoint, find_seen

# Options that decide what a mask is, or what lies beside it.
_DECISIVE = ("tta", "operating_point", "smoothing", "probability", "uncertainty", "keep_scale")


@dataclass(frozen=True)
class Options:
    """How studies are segmented and what is written.

    Attributes:
        bundle: its name or folder; the recipe's or the default where it is None.
        recipe: that the weights were trained by, where that was not the bundle as it is.
        checkpoints: files of weights; the bundle's own if empty, the mean of the probabilities if several.
        tta: average with the mirrored volume too.
        operating_point: of the bundle, "balanced" or "recall".
        smoothing: weigh each slice's probabilities with its neighbours'.
        probability: also write the map of the tumour's probability.
        uncertainty: also write the map of entropy, and say a confidence.
        keep_scale: take a pixel for a millimetre where the spacing is unknown, however large the head is.
        device: "cpu", "cuda", "cuda:1"; a GPU if there is one where it is None.
        amp: "auto", True or False: the precision, as in the bundle's configs.
    """

    bundle: str | None = None
    recipe: str | None = None
    checkpoints: tuple[Path, ...] = ()
    tta: bool = False
    operating_point: str = "balanced"
    smoothing: bool = False
    probability: bool = False
    uncertainty: bool = False
    keep_scale: bool = False
    device: str | None = None
    amp: Amp = "auto"


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
        command: what started it, for the record.
        say: takes each line of what happens.

    Returns:
        why studies could not be segmented, by name.

    Raises:
        InputError: weights, bundle, device or this process's share cannot be used, or the folder cannot be written to.
    """
    rank, processes = read_share()
    (bundle, overlay), device = _find_network(options), _choose_device(options.device)
    options = replace(options, bundle=str(bundle))
    files = options.checkpoints or (bundle / "models" / "model.pt",)
    segmenter = load_bundle(bundle, files, device, _choose_overrides(options), overlay)
    checkpoints = [describe_checkpoint(file) for file in files]
    settings = {
        "bundle": bundle.resolve().name,
        "config": hashlib.sha256((bundle / "configs" / "inference.yaml").read_bytes()).hexdigest(),
        "weights": [checkpoint["sha256"] for checkpoint in checkpoints],
        **{name: vars(options)[name] for name in _DECISIVE},
        **({"recipe": overlay} if overlay else {}),
        # By these single voxels may differ; what auto gives is no reason to do masks again on another machine.
        **({"amp": options.amp} if options.amp != "auto" else {}),
    }
    write_run(output, checkpoints, command, str(device), name_precision(segmenter.precision))
    if rank == 0:
        say(f"precision: {_explain_precision(segmenter, options.amp)}")
    bad = {case: str(error) for case, error in found.bad.items()} if rank == 0 else {}
    scans, done = found.scans[rank::processes], 0
    for scan in tqdm(scans, "segmenting", unit="study", disable=None):
        case = scan.case.patient
        try:
            key = hash_settings(settings, _list_inputs(scan))
            if is_done(output, case, key) and not _is_segmentation_due(output, case):
                forget_failure(output, case)
                done += 1
                continue
            record = segment_scan(scan, segmenter, output, options, checkpoints)
            write_record(output, {**record, "key": key, "settings": settings, "weights": settings["weights"]})
            for line in (_name_size(record), *record["warnings"]):
                say(f"{case}: {line}")
        except Exception as error:  # one bad study does not stop the rest
            bad[case] = _explain(scan, error)
    if done:
        say(f"{done} of {len(scans)} studies were segmented before, with the same settings")
    for case, reason in bad.items():
        write_failure(output, case, reason)
    write_run(output, checkpoints, command, str(device), name_precision(segmenter.precision))
    return bad


def _explain_precision(segmenter: Segmenter, amp: Amp) -> str:
    """Return it with the reason, where that is what was asked and not an older bundle's own."""
    if segmenter.precision != select_precision(amp, segmenter.device):
        return name_precision(segmenter.precision)
    return describe_precision(segmenter.precision, segmenter.device, amp)


def _is_segmentation_due(output: Path, case: str) -> bool:
    """Was a DICOM SEG left out for want of the library that is there now?"""
    return can_write() and any(MISSING in warning for warning in read_record(output, case)["warnings"])


def _name_size(record: Mapping[str, Any]) -> str:
    size = f"{record['tumor_voxels']} voxels" if record["tumor_ml"] is None else f"{record['tumor_ml']:.1f} ml"
    return f"{size} of tumour" if record["tumor_voxels"] else "no tumour found"


def _choose_overrides(options: Options) -> dict[str, Any]:
    """Return the bundle's ids that options change; one at its default is left to a bundle that may not have it."""
    return {
        **({"flip": True} if options.tta else {}),
        **({"operating_point": options.operating_point} if options.operating_point != "balanced" else {}),
        **({"smooth_slices": True} if options.smoothing else {}),
        **({"amp": options.amp} if options.amp != "auto" else {}),
    }


def _find_network(options: Options) -> tuple[Path, dict[str, Any]]:
    """Return the bundle's folder and what a recipe lays over its ``inference.yaml``."""
    if options.recipe is None:
        return find_bundle(options.bundle or DEFAULT, "inference.yaml"), {}
    recipe = read_trained(options.recipe, options.bundle, options.checkpoints)
    return recipe.bundle, select_inference(recipe)


def segment_scan(
    scan: Scan, segmenter: Segmenter, output: Path, options: Options, checkpoints: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Segment one study, write its files whole or not at all, and return its record.

    Raises:
        InputError: the study cannot be read or segmented, or the folder cannot be written to.
    """
    started = time.perf_counter()
    images = find_own(read_images(scan.case))
    flair = images["flair"]
    look = look_at_images(images, options.keep_scale)
    result = segmenter.segment(images, look.scale)
    warnings = [*scan.notes, *look.warnings, *result.notes, *look_at_mask(result.mask, flair, look)]
    digest = hash_images(list(images.values()))
    item = {"patient": scan.case.patient, "subject": find_subject(scan.case.patient), "hash": digest}
    if any(find_seen([item], checkpoint["seen"] or ()) for checkpoint in checkpoints):
        warnings.append("the network was trained or chosen on this patient: its mask says nothing of other patients")
    maps = {"probability": result.probability} if options.probability else {}
    sure = {}
    if options.uncertainty:
        maps["entropy"] = measure_entropy(result.probability)
        sure = {"confidence": measure_confidence(maps["entropy"], result.mask)}
    written, said = _write_outputs(scan, flair, result.mask, maps, output, options.bundle or DEFAULT)
    voxels = int(result.mask.sum())
    return {
        "case": scan.case.patient,
        "input": [str(file) for file in _list_inputs(scan)],
        "output": written,
        "form": scan.form,
        "hash": digest,
        "stand_ins": [sequence for sequence in SEQUENCES if sequence not in images],
        "scale": look.scale,
        "precision": name_precision(segmenter.precision),
        "tumor_voxels": voxels,
        "tumor_ml": voxels * flair.voxel_size / 1000 if flair.spacing_known else None,
        **sure,
        "warnings": [*warnings, *said],
        "seconds": time.perf_counter() - started,
    }


def _list_inputs(scan: Scan) -> list[Path]:
    return list(dict.fromkeys(file for files in scan.case.images.values() for file in files))


def _write_outputs(
    scan: Scan, flair: Volume, mask: np.ndarray, maps: Mapping[str, np.ndarray], output: Path, bundle: str
) -> tuple[list[str], list[str]]:
    """Write a study's files into a folder beside, and move them in; returns their names and warnings."""
    case, source = scan.case.patient, scan.case.images["flair"]
    try:
        unfinished = tempfile.TemporaryDirectory(prefix=f".unfinished-{os.getpid()}-", dir=output)
    except OSError as error:
        raise unwritable(output, error) from error
    with unfinished as name:
        folder, warnings = Path(name), []
        if scan.form == "slices":
            write_mask_slices(mask, source, folder / case)
        else:
            _write_map(mask, scan, flair, folder / f"{case}.nii.gz")
        for kind, voxels in maps.items():
            _write_map(voxels, scan, flair, folder / f"{case}_{kind}.nii.gz")
        if scan.form == "dicom":
            try:
                write_segmentation(mask, source, folder / f"{case}.dcm", Path(bundle).name)
            except InputError as error:
                warnings.append(str(error))
        write_whole(folder / f"{case}_preview.png", draw_montage(flair, mask))
        return _move_in(folder, output, case), warnings


def _write_map(voxels: np.ndarray, scan: Scan, flair: Volume, file: Path) -> None:
    if scan.form == "nifti":
        write_like(voxels, scan.case.images["flair"][0], file)
    else:
        write_nifti(Volume(voxels, flair.affine, flair.spacing_known), file)


def _move_in(folder: Path, output: Path, case: str) -> list[str]:
    """Move what was written into the output, in place of what an earlier run wrote for the case."""
    names = sorted(path.name for path in folder.iterdir())
    try:
        for old in {*read_record(output, case).get("output", []), *names}:
            place = output / old
            shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
        for name in names:
            (folder / name).rename(output / name)
    except OSError as error:
        raise unwritable(output, error) from error
    return names


def _choose_device(name: str | None) -> torch.device:
    """Return the device that is asked for; else this process's GPU, or the CPU where there is none."""
    if name is None:
        local = int(os.environ.get("LOCAL_RANK", "0"))
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return torch.device(f"cuda:{local % count}") if count else select_device()
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name}", "there is no such device here", "leave it out, or give cpu") from error
    return device


def _explain(scan: Scan, error: Exception) -> str:
    """Return in one line why a study failed."""
    if isinstance(error, InputError):
        # Only `brainseg prepare` can be told to skip; here a bad study is left out anyway.
        return str(error).replace(" (--skip-bad)", "")
    file = scan.case.images["flair"][0]
    if isinstance(error, MemoryError):
        return f"{file}: does not fit into memory; close other programs, or use a larger machine"
    reason = " ".join(str(error).split())[:160]
    return f"{file}: cannot be segmented ({type(error).__name__}: {reason}); look whether it opens in a viewer"

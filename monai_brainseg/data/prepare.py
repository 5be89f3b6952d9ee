"""A data set as published, made into a prepared folder: NIfTI in nnU-Net's raw form, and datalist.json."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from monai_brainseg import __version__
from monai_brainseg.data.case_voxels import Study, do_each, examine_case, examine_each, read_images, read_label
from monai_brainseg.data.cases import Found
from monai_brainseg.data.layouts import LAYOUTS, find_cases
from monai_brainseg.data.naming import SEQUENCES
from monai_brainseg.data.splits import Datalist, Item, read_datalist, split_by_patient, write_datalist
from monai_brainseg.errors import InputError
from monai_brainseg.files import make_folder, name_folder, unwritable, write_json
from monai_brainseg.images.volumes import Volume, write_nifti


def prepare(
    source: str | Path,
    output: str | Path,
    *,
    layout: str = "auto",
    naming: str | None = None,
    channels: str | None = None,
    tumor_labels: Collection[int] = (),
    test_share: float = 0.15,
    folds: int = 5,
    seed: int = 0,
    skip_bad: bool = False,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Write the prepared folder of a data set: the same bytes for the same files and options.

    Every case is read and checked before the first is written. Files go into a folder beside ``output`` that is
    renamed at the end, so ``output`` is complete or not there.

    Example::

        import monai_brainseg

        monai_brainseg.prepare("kaggle_3m", "data/lgg", test_share=0.2)

    Args:
        source: the folder of a data set.
        output: the folder to make; it is new or empty, or prepared before and ``overwrite`` is set.
        layout: how ``source`` is laid out, "auto" or one of ``layouts.LAYOUTS``.
        naming: patterns of the files instead, see ``naming.parse_naming``.
        channels: what the channels of each image are, see ``naming.parse_channels``.
        tumor_labels: the labels that are tumour; every one above 0 if empty.
        test_share: share of the patients in the test part.
        folds: number of folds of the others.
        seed: of the split.
        skip_bad: leave bad patients out and say so, instead of stopping at the first.
        overwrite: replace what was prepared in ``output`` before.
        say: receives, line by line, what was found, what was left out and why, and what the parts hold.

    Raises:
        InputError: an option, a file or the output cannot be used; the message names it and the remedy.
    """
    source, output = Path(source), Path(output).resolve()
    check_reading(layout, tumor_labels)
    _check_splitting(test_share, folds, seed)
    _check_nesting(source.resolve(), output)
    check_output(output, overwrite)
    found = find_cases(source, layout, naming, channels)
    unfinished = output.with_name(f".{output.name}.unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)  # of a run that was killed
        make_folder(unfinished)
        studies = _examine(found, tumor_labels, skip_bad)
        _say_found(source, found, studies, say)
        assigned = _split(studies, seed, test_share, folds)
        sequences = SEQUENCES if any(len(study.sequences) > 1 for study in studies) else ("flair",)
        work = partial(_write_case, assigned=assigned, sequences=sequences, folder=unfinished, labels=tumor_labels)
        items = list(do_each(work, studies, "writing"))
        datalist: Datalist = {
            "name": name_folder(source),
            "description": f"{len(items)} cases in the layout {found.layout}",
            "prepared_by": f"brainseg {__version__}",
            "seed": seed,
            "folds": folds,
            "training": [item for item in items if "fold" in item],
            "test": [item for item in items if "fold" not in item],
        }
        write_records(datalist, sequences, unfinished)
        put_in_place(unfinished, output)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    say_parts(datalist, say)
    say(f"wrote {output}")


def check_reading(layout: str, tumor_labels: Collection[int]) -> None:
    """Refuse an unknown layout, and labels that cannot be tumour."""
    if layout not in ("auto", *LAYOUTS):
        raise InputError(f"--layout {layout}", "is not a known layout", f"choose auto, {', '.join(LAYOUTS)}")
    if isinstance(tumor_labels, str) or not all(isinstance(label, int) for label in tumor_labels):
        raise InputError(f"--tumor-labels {tumor_labels}", "must be whole numbers", "give [1, 4], for example")
    if any(label < 1 for label in tumor_labels):
        raise InputError(f"--tumor-labels {min(tumor_labels)}", "0 is background", "name labels above 0")


def _check_splitting(test_share: float, folds: int, seed: int) -> None:
    if not 0 <= test_share < 1:
        raise InputError(f"--test-share {test_share:g}", "is not a share", "give 0 or more and below 1, such as 0.15")
    if folds < 2:
        raise InputError(f"--folds {folds}", "leaves nothing to train on", "give 2 or more")
    if seed < 0:
        raise InputError(f"--seed {seed}", "is negative", "give 0 or more")


def _check_nesting(source: Path, output: Path) -> None:
    if output == source or output in source.parents or source in output.parents:
        raise InputError(output, "one of --output and SOURCE is inside the other", f"choose a folder outside {source}")


def check_output(output: Path, overwrite: bool) -> None:
    """Refuse a folder with files that ``prepare`` may not replace."""
    if output.exists() and not output.is_dir():
        raise InputError(output, "is a file", "choose another --output")
    if not output.is_dir() or not any(output.iterdir()):
        return
    if not overwrite:
        raise InputError(output, "is not empty", "choose another --output, or replace its data with --overwrite")
    foreign = sorted({file for file in output.rglob("*") if not file.is_dir()} - _list_prepared(output))
    if foreign:
        raise InputError(foreign[0], "was not written by brainseg prepare", "move it away, or choose another --output")


def _list_prepared(output: Path) -> set[Path]:
    """Return the files that prepare wrote into a folder; none if it was not prepared."""
    if not (output / "datalist.json").is_file():
        return set()
    datalist = read_datalist(output, check_files=False)
    items = [*datalist["training"], *datalist["test"]] if "prepared_by" in datalist else []
    files = {Path(file) for item in items for file in (*item["image"], item["label"])}
    return files | ({output / "datalist.json", output / "dataset.json"} if items else set())


def put_in_place(unfinished: Path, output: Path) -> None:
    """Rename a folder that is whole to ``output``; what was prepared there before goes.

    Raises:
        InputError: it cannot be written.
    """
    replaced = output.with_name(f".{output.name}.replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    try:
        if output.is_dir():
            output.rename(replaced)
        unfinished.rename(output)
    except OSError as error:
        raise unwritable(output, error) from error
    shutil.rmtree(replaced, ignore_errors=True)


def _examine(found: Found, tumor_labels: Collection[int], skip_bad: bool) -> list[Study]:
    """Read every case; a bad one raises its error, or with ``skip_bad`` is added to ``found.bad``."""
    if found.bad and not skip_bad:
        raise _offer_to_skip(found.bad[min(found.bad)])
    studies: list[Study] = []
    with closing(examine_each(found.cases, partial(examine_case, tumor_labels=tumor_labels))) as results:
        for case, result in results:
            if isinstance(result, Study):
                studies.append(result)
            elif skip_bad:
                found.bad[case.patient] = result
            else:
                raise _offer_to_skip(result)
    if not studies:
        first = found.bad[min(found.bad)]
        raise InputError(first.where, f"{first.what} (none of {len(found.bad)} patients can be used)", first.remedy)
    return studies


def _offer_to_skip(error: InputError) -> InputError:
    return InputError(
        error.where, error.what, f"{error.remedy}, or leave bad patients out with --skip-bad".lstrip(", ")
    )


def _split(studies: Sequence[Study], seed: int, test_share: float, folds: int) -> dict[str, int | None]:
    sizes: dict[str, float] = defaultdict(float)
    for study in studies:
        sizes[study.case.subject] += study.tumor_size
    sites = {study.case.subject: study.case.site for study in studies}
    return split_by_patient(sites, sizes, np.random.default_rng(seed), test_share, folds)


def _write_case(
    study: Study,
    assigned: dict[str, int | None],
    sequences: Sequence[str],
    folder: Path,
    labels: Collection[int],
) -> Item:
    """Write a case's files on FLAIR's grid, with FLAIR for missing sequences, and return its datalist entry."""
    case, fold = study.case, assigned[study.case.subject]
    part = "Ts" if fold is None else "Tr"
    images = read_images(case)
    flair = images["flair"]
    files = [folder / f"images{part}" / f"{case.patient}_{channel:04d}.nii.gz" for channel in range(len(sequences))]
    for sequence, file in zip(sequences, files, strict=True):
        voxels = images.get(sequence, flair).voxels
        narrow = voxels.astype(np.float32) if voxels.dtype == np.float64 else voxels
        write_nifti(Volume(narrow, flair.affine, flair.spacing_known), file)
    mask = folder / f"labels{part}" / f"{case.patient}.nii.gz"
    write_nifti(read_label(case, flair, labels), mask)
    item: Item = {"image": list(map(str, files)), "label": str(mask), "patient": case.patient, "subject": case.subject}
    item |= {"site": case.site, **({} if fold is None else {"fold": fold}), "spacing_known": study.spacing_known}
    item |= {"replaced": [s for s in sequences if s not in study.sequences], "tumor_voxels": study.tumor_voxels}
    return item | {"hash": study.hash, **({"notes": list(study.notes)} if study.notes else {})}


def write_records(datalist: Datalist, sequences: Sequence[str], folder: Path) -> None:
    """Write dataset.json, which nnU-Net v2 asks for, and datalist.json."""
    dataset = {
        "name": datalist["name"],
        "channel_names": {str(channel): sequence for channel, sequence in enumerate(sequences)},
        "labels": {"background": 0, "tumor": 1},
        "numTraining": len(datalist["training"]),
        "file_ending": ".nii.gz",
    }
    write_json(folder / "dataset.json", dataset)
    write_datalist(datalist, folder / "datalist.json")


def _list_some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _say_found(source: Path, found: Found, studies: Sequence[Study], say: Callable[[str], None]) -> None:
    say(f"found {len(studies)} patients in {source}, layout {found.layout}")
    for sequence in SEQUENCES:
        lacking = [study.case.patient for study in studies if sequence not in study.sequences]
        missing = f"; missing in {_list_some(lacking)}" if lacking else ""
        say(f"{sequence}: {len(studies) - len(lacking)} patients{missing}")
    for reason, names in found.left_out.items():
        if names:
            say(f"left out ({len(names)}), because they {reason}: {_list_some(names)}")
    for patient, message in sorted(found.bad.items()):
        say(f"left out: {patient}: {message}")
    for what, patients in {
        "no tumour": [study.case.patient for study in studies if study.tumor_voxels == 0],
        "spacing unknown": [study.case.patient for study in studies if not study.spacing_known],
        "same images": [s.case.patient for s in studies if [t.hash for t in studies].count(s.hash) > 1],
    }.items():
        if patients:
            say(f"{what}: {len(patients)} patients: {_list_some(patients)}")
    for note in dict.fromkeys(note for study in studies for note in study.notes):
        having = [study.case.patient for study in studies if note in study.notes]
        say(f"{note} ({len(having)} patients: {_list_some(having)})")


def say_parts(datalist: Datalist, say: Callable[[str], None]) -> None:
    """Say what each fold and the test part hold."""
    parts = {
        f"fold {fold}": [i for i in datalist["training"] if i["fold"] == fold] for fold in range(datalist["folds"])
    }
    for part, items in {**parts, "test": datalist["test"]}.items():
        sites = ", ".join(f"{site} {count}" for site, count in sorted(Counter(item["site"] for item in items).items()))
        sizes = [item["tumor_voxels"] for item in items]
        tumor = f"; tumour voxels {min(sizes)} to {max(sizes)}, median {median(sizes):.0f}" if sizes else ""
        say(f"{part}: {len(items)} patients ({sites or 'none'}){tumor}")

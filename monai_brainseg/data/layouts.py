"""The cases of a published data set: slice trees, BraTS, BIDS, nnU-Net, MSD, or files named by a pattern."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from monai_brainseg.data.bids import find_labelled, read_bids
from monai_brainseg.data.cases import Case, Found, make_labelled
from monai_brainseg.data.copies import COPIES, name_volume, split_copies
from monai_brainseg.data.naming import (
    SEQUENCES,
    T1_FLAIR,
    find_role,
    parse_channels,
    parse_naming,
    read_name,
)
from monai_brainseg.data.slice_trees import find_slices
from monai_brainseg.dicom.headers import is_dicom
from monai_brainseg.errors import InputError
from monai_brainseg.files import clean_name, list_files, name_folder, read_json
from monai_brainseg.images.image_files import VOLUME_ENDINGS, find_header

_VOLUME = f"(?:{'|'.join(map(re.escape, VOLUME_ENDINGS))})"
_NNUNET = re.compile(rf"(?P<patient>.+)_(?P<channel>\d{{4}}){_VOLUME}", re.IGNORECASE)
_WHOLE = re.compile(rf"(?P<patient>.+?){_VOLUME}", re.IGNORECASE)
_FEW = 3  # files that a message names if no patient was found
_UNUSED = "are not a sequence that the networks use"

# A patient, what a file is of that patient ("pre", "flair", "post", "label", "unused"), and the file.
Entry = tuple[str, str, Path]


def find_cases(source: Path, layout: str = "auto", naming: str | None = None, channels: str | None = None) -> Found:
    """Find the labelled cases below a folder; no image is opened.

    Args:
        source: the folder of a data set.
        layout: one of ``LAYOUTS``, or "auto": the first of them that finds a patient.
        naming: patterns instead of a layout, see ``naming.parse_naming``.
        channels: what the channels of each image are, see ``naming.parse_channels``.

    Raises:
        InputError: the folder is missing or empty, holds no patient of that layout, or the patterns are not valid.
    """
    patterns = parse_naming(naming) if naming else None
    named = parse_channels(channels) if channels else {}
    if not source.is_dir():
        wrong = "is a file; unpack it and name the folder" if source.is_file() else "no such folder; check the path"
        raise InputError(source, wrong)
    unreadable: list[InputError] = []
    files = list(dict.fromkeys(map(find_header, list_files(source, unreadable.append))))
    if not files:
        raise InputError(source, "is empty", "name the folder that holds the data set")
    finders = [find for name, find in LAYOUTS.items() if layout in (name, "auto")]
    all_found = [_find_named(source, files, patterns)] if patterns else [find(files) for find in finders]
    kinds = [found for found in all_found if found.cases or found.bad]
    if not kinds:
        raise InputError(source, f"no patient found {_explain_nothing(files, layout, naming)}")
    if len(kinds) > 1:
        layouts = " and ".join(found.layout for found in kinds)
        raise InputError(source, f"holds several data sets ({layouts})", "name the folder of one, or give --layout")
    found = kinds[0]
    found.left_out["belong to no patient"] += [str(f.relative_to(source)) for f in files if f not in found.claimed]
    for error in unreadable:
        found.refuse(clean_name(name_folder(Path(error.where))), error)
    if named:
        found.cases = [case.name_channels(named) for case in found.cases]
    return _refuse_doubles(found)


def _explain_nothing(files: Sequence[Path], layout: str, naming: str | None) -> str:
    """Say where no patient was found, among which files, and what to do."""
    if any(is_dicom(file) for file in files[:_FEW]):
        return "with a mask; `brainseg predict` reads DICOM, but a training needs NIfTI: convert the files"
    where = f"with --naming {naming!r}" if naming else f"in the layout {layout!r}"
    remedy = "say how its files are named, for instance --naming 'flair=*_FLAIR.nii.gz,label=*_seg.nii.gz'"
    if naming:
        remedy = "the * of a pattern stands for the patient's name; without a *, the folder has that name, below SOURCE"
    names = ", ".join(file.name for file in files[:_FEW])
    return f"{where} among {len(files)} files ({names}{', …' if len(files) > _FEW else ''}); {remedy}"


def _find_brats(files: Sequence[Path]) -> Found:
    """Find ``<case>_flair.nii.gz`` and its siblings, of old (t1ce) and new (t1c, t2f) BraTS."""
    volumes = [(file, match) for file in files if (match := _WHOLE.fullmatch(file.name)) and not read_bids(file)]
    named = [(file, read_name(match["patient"])) for file, match in volumes]
    named = [(file, said) for file, said in named if said.role and said.before and not said.after]
    entries = [(said.before, "unused" if said.role == T1_FLAIR else str(said.role), file) for file, said in named]
    return _collect("brats", entries if any(role == "flair" for _, role, _ in entries) else [])


def _find_named(source: Path, files: Sequence[Path], patterns: Mapping[str, re.Pattern[str]]) -> Found:
    volumes = [(file, file.relative_to(source).as_posix()) for file in files if _WHOLE.fullmatch(file.name)]
    return _collect(
        "naming",
        [(m["patient"], r, file) for file, name in volumes for r, p in patterns.items() if (m := p.fullmatch(name))],
    )


def _find_raw(files: Sequence[Path]) -> Found:
    """Find a dataset.json beside ``imagesTr`` and ``labelsTr``: nnU-Net's one file a channel, or MSD's 4D files.

    The test part, ``imagesTs``, is used too if it has labels.
    """
    records = [f for f in files if f.name == "dataset.json" and (f.parent / "imagesTr").is_dir()]
    if not records:
        return Found("nnunet")
    if len(records) > 1:
        raise InputError(records[1].parent, f"is a second data set beside {records[0].parent}", "name one of them")
    names = _read_channels(records[0])
    roles = {channel: role for channel, name in names.items() if (role := find_role(name)) in SEQUENCES}
    folders: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        if file.parent.parent == records[0].parent:
            folders[file.parent.name].append(file)
    images, labels = folders["imagesTr"], folders["labelsTr"]
    unlabelled = [] if folders["labelsTs"] else folders["imagesTs"]
    if not unlabelled:
        images, labels = images + folders["imagesTs"], labels + folders["labelsTs"]
    entries = [(m["patient"], "label", file) for file in labels if (m := _WHOLE.fullmatch(file.name))]
    # Only MSD gives an image the name of its label.
    if {file.name for file in images} & {file.name for file in labels}:
        whole = [(m["patient"], file) for file in images if (m := _WHOLE.fullmatch(file.name))]
        entries += [(patient, role, file) for patient, file in whole for role in roles.values()]
        found = _collect("msd", entries, {roles.get(channel, "unused"): channel for channel in sorted(names)})
        found.left_out[_UNUSED] += [name for channel, name in names.items() if channel not in roles]
    else:
        split = [(m["patient"], int(m["channel"]), file) for file in images if (m := _NNUNET.fullmatch(file.name))]
        found = _collect("nnunet", entries + [(patient, roles.get(c, "unused"), file) for patient, c, file in split])
    found.claimed.update(unlabelled, records)
    found.left_out["have no mask"] += [file.name for file in unlabelled]
    return found


def _read_channels(record: Path) -> dict[int, str]:
    """Return the name of each channel: nnU-Net calls them channel_names, MSD and old nnU-Net modality."""
    content = read_json(record)
    try:
        names = {int(c): str(name) for c, name in content.get("channel_names", content.get("modality")).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(record, "names no channels", 'add "channel_names": {"0": "FLAIR"}') from error
    if "flair" not in map(find_role, names.values()):
        raise InputError(record, f"names no FLAIR among {', '.join(names.values())}", "name it, or use --naming")
    return names


def _collect(layout: str, entries: Iterable[Entry], channels: Mapping[str, int] | None = None) -> Found:
    """Make a case of the files of each patient."""
    found = Found(layout)
    patients: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for patient, role, file in entries:
        patients[patient][role].append(file)
        found.claimed.add(file)
    for patient, files in sorted(patients.items()):
        found.left_out[_UNUSED] += [file.name for file in files.pop("unused", [])]
        try:
            found.left_out[COPIES] += [str(file) for several in files.values() for file in _leave_copies(several)]
            found.cases.append(_make_volume_case(patient, files, channels or {}))
        except InputError as error:
            found.bad[patient] = error
    return found


def _leave_copies(files: list[Path]) -> list[Path]:
    """Remove equal copies of the first file from a list of one role, and return them."""
    if len({name_volume(file) for file in files}) > 1:
        return []
    try:
        first, others = split_copies(files)
    except InputError:  # the files stay, and are refused as a sequence that is there twice
        return []
    files[:] = [first]
    return others


def _make_volume_case(patient: str, files: Mapping[str, Sequence[Path]], channels: Mapping[str, int]) -> Case:
    if not files:
        raise InputError(patient, "has no sequence that the networks use", "add one")
    for role, several in files.items():
        if len(several) > 1:
            raise InputError(several[1], f"is a second {role} of {patient} beside {several[0]}", "rename or remove one")
    images = {role: tuple(several) for role, several in files.items() if role != "label"}
    for missing, present in {"image": images, "mask": "label" in files, "FLAIR": "flair" in files}.items():
        if not present:
            some = next(iter(files.values()))[0]
            raise InputError(some, f"{patient} has no {missing}", "add it")
    return make_labelled(patient, images, tuple(files["label"]), channels)


def _refuse_doubles(found: Found) -> Found:
    """Move patients whose files would overwrite another's to the bad ones, also for disks that ignore case."""
    seen: dict[str, Case] = {}
    for case in found.cases:
        first = seen.setdefault(case.patient.casefold(), case)
        if first is not case:
            what = f"patient {case.patient} has the same name as that of {first.label[0]}"
            found.bad[case.patient] = InputError(case.label[0], what, "rename one of them")
    found.cases = sorted(seen.values(), key=lambda case: case.patient)
    return found


LAYOUTS: dict[str, Callable[[Sequence[Path]], Found]] = {
    "kaggle_3m": find_slices,
    "brats": _find_brats,
    "bids": find_labelled,
    "nnunet": _find_raw,  # and MSD, which differs in its dataset.json
}

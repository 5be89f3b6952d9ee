"""The cases of a datalist or of a folder, and the name of a case."""

from __future__ import annotations

import json
import logging
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from glob import escape
from pathlib import Path
from typing import Any

from brainseg_unet_scripts.errors import BundleError
from brainseg_unet_scripts.file_groups import NUMBERED, are_copies, are_people, check_heads, count_sequences, is_study

logger = logging.getLogger(__name__)

_ENDING = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
# Images that MONAI alone would need other readers for.
_OTHER = re.compile(r"\.(nrrd|nhdr|mh[ad]|mg[zh]|hdr|dcm|ima|tiff?|png|jpe?g)$", re.IGNORECASE)


def name_case(meta: Mapping[str, Any]) -> str:
    """Return the name of the case that an image is of, by the file that its metadata name.

    The number at its end belongs to the name, unless it is that of a sequence; the files beside it tell.
    """
    file = Path(meta["filename_or_obj"])
    match = NUMBERED.fullmatch(file.name)
    if not match:
        return _ENDING.sub("", file.name)
    beside = (NUMBERED.fullmatch(other.name) for other in file.parent.glob(f"{escape(match['case'])}_*"))
    numbers = {int(one["number"]) for one in (*beside, match) if one and one["case"] == match["case"]}
    return match["case"] if is_study(numbers) else _ENDING.sub("", file.name)


def list_cases(
    datalist: str,
    part: str = "training",
    fold: int | None = None,
    except_fold: int | None = None,
    sequences: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """Return the items of a datalist, with whole paths.

    Args:
        datalist: file that ``brainseg prepare`` wrote.
        part: ``training``, ``test`` or ``all``.
        fold: only those of this fold; None for any.
        except_fold: only those of other folds.
        sequences: which of the three files of an image are used as pre-contrast, FLAIR and post-contrast, by number;
            None keeps each in its place. An image of one file stays as it is.

    Raises:
        BundleError: the datalist is missing, or has no such part.
    """
    parts = ("training", "test") if part == "all" else (part,)
    try:
        items = [item for name in parts for item in _read_part(Path(datalist), name)]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BundleError(datalist, " ".join(str(error).split()), "give --dataset_dir, or another --part") from error
    items = [item for item in items if fold is None or item.get("fold", fold) == fold]
    items = [item for item in items if except_fold is None or item.get("fold") != except_fold]
    return items if sequences is None else [{**item, "image": _choose(item["image"], sequences)} for item in items]


def _read_part(datalist: Path, name: str) -> list[dict[str, Any]]:
    """Return the items of a part with whole paths.

    MONAI's ``load_decathlon_datalist`` does not read a file that begins with the mark of its encoding, as Windows
    writes it, and makes a path of every text that is a file's name.
    """
    content = json.loads(datalist.read_bytes())
    if name not in content:
        raise ValueError(f"it has no part {name!r}")
    folder = datalist.parent
    return [
        {**item, **{key: _join(folder, item[key]) for key in ("image", "label") if key in item}}
        for item in content[name]
    ]


def _join(folder: Path, files: str | Sequence[str]) -> str | list[str]:
    return str(folder / files) if isinstance(files, str) else [str(folder / file) for file in files]


def _choose(files: str | Sequence[str], sequences: Sequence[int]) -> str | list[str]:
    return files if isinstance(files, str) else [files[i] for i in sequences] if len(files) == 3 else list(files)


def find_cases(dataset_dir: str, datalist: str, part: str = "test") -> list[dict[str, Any]]:
    """Return the images of a prepared folder's part, or, without a datalist, of each case in a folder.

    Args:
        dataset_dir: folder of ``CASE.nii`` or ``CASE_0000.nii`` (pre-contrast), ``_0001`` (FLAIR) and ``_0002``
            (post-contrast), ending in ``.nii`` or ``.nii.gz``.
        datalist: file that ``brainseg prepare`` wrote, if it exists.
        part: of the datalist.

    Returns:
        items with ``image``, a list of one file or three; none if there is nothing, which `check_cases` refuses, as
        MONAI makes a config's data set also when it only checks the config.

    Raises:
        BundleError: files of a case are missing, too many or of several people, or the datalist has no such part.
    """
    if Path(datalist).is_file():
        return [{"image": item["image"]} for item in list_cases(datalist, part)]
    folder = Path(dataset_dir)
    files = sorted(file for file in folder.glob("[!.]*") if _ENDING.search(file.name))
    return [{"image": list(map(str, found))} for _, found in sorted(_group_files(files).items())]


def _group_files(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the files of each case by its name: one file, or the sequences by number."""
    single: dict[str, Path] = {}
    numbered: dict[str, dict[int, Path]] = defaultdict(dict)
    for file in files:
        name = _ENDING.sub("", file.name)
        if (first := single.setdefault(name, file)) != file:
            _check_copy(first, file)
        elif match := NUMBERED.fullmatch(name):
            numbered[match["case"]][int(match["number"])] = file
    cases = {name: [file] for name, file in single.items() if not NUMBERED.fullmatch(name)}
    for case, sequences in numbered.items():
        if are_people(sequences):
            cases |= {_ENDING.sub("", file.name): [file] for file in sequences.values()}
        elif len(sequences) not in (1, count_sequences()):
            found = f"{len(sequences)} files; a case is _0000 (pre), _0001 (FLAIR) and _0002 (post), or one file"
            raise BundleError(f"{files[0].parent / case}_000*.nii", found)
        else:
            cases[case] = [sequences[number] for number in sorted(sequences)]
            check_heads(cases[case])
    return cases


def _check_copy(first: Path, file: Path) -> None:
    try:
        same = are_copies(first, file)
    except Exception as error:  # nibabel raises a dozen kinds
        raise BundleError(file, f"cannot be compared with {first.name}", "remove one of them") from error
    if not same:
        raise BundleError(file, f"differs from {first.name}, which has its name", "rename or remove one of them")


def check_cases(cases: Sequence[Any], dataset_dir: str) -> None:
    """Refuse to segment nothing, and warn of images that are left out.

    Raises:
        BundleError: there is no such folder, or no case in it.
    """
    folder = Path(dataset_dir)
    if not cases and not folder.is_dir():
        what = "is a file" if folder.is_file() else "no such folder"
        raise BundleError(dataset_dir, what, "name a folder with --dataset_dir")
    if not cases:
        files = [file for file in sorted(folder.rglob("[!.]*")) if file.is_file()]
        remedy = "`brainseg predict` reads other formats, and folders within folders" if files else "check the path"
        some = f" (but {files[0].relative_to(folder)})" if files else ""
        what = f"holds no .nii or .nii.gz file and no datalist.json with cases{some}"
        raise BundleError(dataset_dir, what, remedy)
    unused = [file.name for file in sorted(folder.glob("[!.]*")) if _OTHER.search(file.name)]
    if unused:
        listed = f"{', '.join(unused[:3])}{', ...' * (len(unused) > 3)}"
        logger.warning("%s: %d files are no NIfTI and are not segmented (%s)", dataset_dir, len(unused), listed)

"""Names of DICOM studies for files and messages, which do not say who the person is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from monai_brainseg.dicom.descriptions import is_personal, name_series, says_something
from monai_brainseg.dicom.series import Series, choose_series
from monai_brainseg.errors import InputError
from monai_brainseg.files import clean_name


def name_studies(studies: Sequence[Sequence[Series]], wanted: str | None) -> list[str]:
    """Return a name for each study, all different: its folder's, or that of its series if the folder's says nothing.

    A folder says nothing if it is called as media do (SE000003), if it holds other studies too, or if it has a name of
    the person.

    Args:
        studies: the series of each, as ``series.group_studies`` gives them.
        wanted: see ``series.choose_series``.
    """
    # As it was given: a link is not followed.
    folders = [find_common([one.files[0].parent for one in study]).absolute() for study in studies]
    counts = Counter(folders)
    names = []
    for study, folder in zip(studies, folders, strict=True):
        series = _choose(study, wanted)
        described = name_series(series.description, series.number)
        own = folder.name if says_something(folder.name, series.personal) else ""
        names.append(clean_name(described if not own else f"{own}_{described}" if counts[folder] > 1 else own))
    persons = [study[0].personal for study in studies]
    for takes in (says_something, lambda name, personal: not is_personal(name, personal)):
        above = [
            [place.name for place in (folder, *folder.parents) if takes(place.name, personal)]
            for folder, personal in zip(folders, persons, strict=True)
        ]
        names = _put_folders(names, above)
    return list(_number(names))


def doubt_series(series: Series) -> Iterator[str]:
    """Yield what speaks against a chosen series being FLAIR."""
    if series.contrast == "t1 flair":
        yield f"series {series} is T1-weighted: {series.reason}; the network needs T2-weighted FLAIR, mistrust the mask"
    elif not series.contrast:
        yield f"series {series} does not say FLAIR, which the network needs"


def find_common(folders: Sequence[Path]) -> Path:
    """Return the innermost folder that holds all of several; the first, if none does."""
    first, *others = folders
    return next(
        (place for place in (first, *first.parents) if all(place == o or place in o.parents for o in others)), first
    )


def _choose(study: Sequence[Series], wanted: str | None) -> Series:
    try:
        return choose_series(study, wanted, study[0].files[0].parent)
    except InputError:
        return study[0]


def _put_folders(names: Sequence[str], above: Sequence[Sequence[str]]) -> list[str]:
    """Put the name of a folder before names that several share, if that tells them apart."""
    names = list(names)
    for name in {name for name in names if names.count(name) > 1}:
        same = [index for index, other in enumerate(names) if other == name]
        for depth in range(min(len(above[index]) for index in same)):
            prefixes = [above[index][depth] for index in same]
            if len(set(prefixes)) == len(same):
                for index, prefix in zip(same, prefixes, strict=True):
                    names[index] = clean_name(f"{prefix}_{name}")
                break
    return names


def _number(names: Sequence[str]) -> Iterator[str]:
    seen: Counter[str] = Counter()
    for name in names:
        seen[name.casefold()] += 1
        yield name if seen[name.casefold()] == 1 else f"{name}_{seen[name.casefold()]}"

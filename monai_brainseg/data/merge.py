"""Several prepared folders as one, so that a network trains on all of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

from monai_brainseg import __version__
from monai_brainseg.data.naming import SEQUENCES
from monai_brainseg.data.prepare import check_output, put_in_place, say_parts, write_records
from monai_brainseg.data.splits import Datalist, Item, read_datalist
from monai_brainseg.errors import InputError
from monai_brainseg.files import locate, unwritable


def merge(
    sources: Sequence[str | Path],
    output: str | Path,
    *,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Write one prepared folder that holds the cases of several; each keeps its fold, or stays in the test part.

    Each case gets the name of its folder as ``source``, so that a training can give each source its share of the
    batches. Files are hard links where the disk allows it, and take no space; else they are copies.

    Args:
        sources: prepared folders, two or more, with names of their own.
        output: the folder to make; it is new or empty, or prepared before and ``overwrite`` is set.
        overwrite: replace what was prepared in ``output`` before.
        say: takes each line of what the parts hold.

    Raises:
        InputError: a source is not a prepared folder, two hold a patient of one name or the same images, or the output
            cannot be written.
    """
    folders, output = [locate(Path(source)) for source in sources], Path(output).resolve()
    _check_sources(folders, output)
    check_output(output, overwrite)
    lists = {folder.name: read_datalist(folder) for folder in folders}
    _check_apart(lists)
    unfinished = output.with_name(f".{output.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        parts = {
            part: [_link(item, name, unfinished, part) for name, each in lists.items() for item in each[part]]
            for part in ("training", "test")
        }
        datalist: Datalist = {
            "name": output.name,
            "description": f"merged of {', '.join(lists)}",
            "prepared_by": f"brainseg {__version__}",
            "folds": max(item["fold"] for item in parts["training"]) + 1,
            "training": parts["training"],
            "test": parts["test"],
        }
        write_records(datalist, SEQUENCES, unfinished)
        put_in_place(unfinished, output)
    except OSError as error:
        raise unwritable(output, error) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    say_parts(datalist, say)
    say(f"wrote {output}")


def _check_sources(folders: Sequence[Path], output: Path) -> None:
    names = [folder.name for folder in folders]
    if len(set(names)) < max(2, len(names)):
        raise InputError(", ".join(names), "must be two or more folders with names of their own", "name others")
    for folder in folders:
        if output == folder or folder in output.parents or output in folder.parents:
            raise InputError(output, f"one of --output and {folder} is inside the other", "choose another --output")


def _check_apart(lists: dict[str, Datalist]) -> None:
    """Refuse a patient of one name, or the same images, in two sources: masks would replace each other, or leak."""
    items = {name: [*each["training"], *each["test"]] for name, each in lists.items()}
    for one, other in combinations(items, 2):
        for field, what in (("patient", "has the name of a patient"), ("hash", "has the same images as a patient")):
            known = {str(item.get(field)): item["patient"] for item in items[one] if field in item}
            for item in items[other]:
                if str(item.get(field)) in known and field in item:
                    raise InputError(item["patient"], f"{what} in {one}", f"leave it out of {one} or {other}")


def _link(item: Item, source: str, folder: Path, part: str) -> Item:
    """Put the files of a case into the merged folder, FLAIR in place of sequences that its source does not have."""
    ending = "Tr" if part == "training" else "Ts"
    files = item["image"] if len(item["image"]) == len(SEQUENCES) else item["image"] * len(SEQUENCES)
    images = [folder / f"images{ending}" / f"{item['patient']}_{n:04d}.nii.gz" for n in range(len(SEQUENCES))]
    label = folder / f"labels{ending}" / f"{item['patient']}.nii.gz"
    for old, new in zip([*files, item["label"]], [*images, label], strict=True):
        new.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(old, new)
        except OSError:  # on another disk, or where there are no hard links
            shutil.copyfile(old, new)
    replaced = item.get("replaced", []) if len(item["image"]) > 1 else [s for s in SEQUENCES if s != "flair"]
    return {**item, "image": list(map(str, images)), "label": str(label), "source": source, "replaced": replaced}

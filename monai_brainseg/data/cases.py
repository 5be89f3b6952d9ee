"""A case: the files of one patient's study, and the cases that were found somewhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from monai_brainseg.data.formats import find_form
from monai_brainseg.data.naming import SEQUENCES, find_site, find_subject
from monai_brainseg.data.splits import Item
from monai_brainseg.errors import InputError
from monai_brainseg.files import clean_name
from monai_brainseg.images.image_files import list_parts


@dataclass(frozen=True)
class Case:
    """The files of one patient's study.

    Attributes:
        patient: names the case and its prepared files; unique in a data set.
        subject: the person, who may have several studies; all of them stay in one part of a split.
        site: where the patient was scanned; "unknown" if no name tells.
        images: files of each sequence: one volume, or the slices in order.
        label: the mask, in the same form; empty if there is none.
        channels: of files that hold several sequences, the channel of each; empty if each has its own file.
        notes: problems that finding its files has shown, and files that were left out as copies.
        doubts: what speaks against its FLAIR being FLAIR.
        told: what told which file is which sequence, such as "the names of its files".
    """

    patient: str
    subject: str
    site: str
    images: Mapping[str, tuple[Path, ...]]
    label: tuple[Path, ...] = ()
    channels: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    told: str = ""

    @property
    def image_files(self) -> list[Path]:
        """Every file of its images, once."""
        files = dict.fromkeys(file for several in self.images.values() for file in several)
        return [part for file in files for part in list_parts(file)]

    @property
    def form(self) -> str:
        """Of its images, as ``find_form`` gives it."""
        return find_form(self.images["flair"][0])

    def name_channels(self, channels: Mapping[str, int]) -> Case:
        """Return the case with the sequences that its FLAIR's file holds, see ``naming.parse_channels``."""
        images = {sequence: self.images["flair"] for sequence in SEQUENCES if sequence in channels}
        return replace(self, images=images, channels=channels, told="--channels")


@dataclass
class Found:
    """The cases of a folder, or of several folders.

    Attributes:
        layout: the name of the data set's layout; empty if each case was found by itself.
        cases: sorted by patient.
        bad: the error of each patient that cannot be used.
        left_out: files that are not used, by reason.
        claimed: every file that belongs to a patient of the layout, used or not.
    """

    layout: str = ""
    cases: list[Case] = field(default_factory=list)
    bad: dict[str, InputError] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    claimed: set[Path] = field(default_factory=set)

    def refuse(self, name: str, error: InputError) -> None:
        """Add a study that cannot be used, under a name that no other has."""
        taken = {one.casefold() for one in (*self.bad, *(case.patient for case in self.cases))}
        names = (name, *(f"{name}_{number}" for number in range(2, len(taken) + 3)))
        self.bad[next(one for one in names if one.casefold() not in taken)] = error


def make_labelled(
    patient: str, images: Mapping[str, tuple[Path, ...]], label: tuple[Path, ...], channels: Mapping[str, int]
) -> Case:
    """Return a case with a mask; its person and site are read from its name."""
    return Case(clean_name(patient), find_subject(patient), find_site(patient), images, label, channels)


def find_prepared(items: Iterable[Item]) -> Found:
    """Find the cases of a datalist; a missing file is reported when the case is read."""
    found = Found("prepared")
    for item in sorted(items, key=lambda item: item["patient"]):
        patient, files = item["patient"], [(Path(file),) for file in item["image"]]
        if len(files) in (1, len(SEQUENCES)):
            images = dict(zip(SEQUENCES if len(files) > 1 else ("flair",), files, strict=True))
            subject, site = item.get("subject", patient), item.get("site", "unknown")
            found.cases.append(Case(patient, subject, site, images, (Path(item["label"]),), told="datalist.json"))
        else:
            what = f"has {len(files)} images in the datalist, but FLAIR or {', '.join(SEQUENCES)} are needed"
            found.bad[patient] = InputError(patient, what, "write it again with brainseg prepare")
    return found

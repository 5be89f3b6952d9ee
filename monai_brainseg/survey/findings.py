"""What to look at in a data set before training on it: what looks wrong in a patient, or unlike the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

import numpy as np

from monai_brainseg.data.splits import Item
from monai_brainseg.findings import WARNING, Finding
from monai_brainseg.survey.profiles import Profile

_Value = TypeVar("_Value", bound=Hashable)

# What to do about each kind of finding, the most serious first.
REMEDIES = {
    "same images": "keep one of them: the same patient in two parts of a split makes scores too good",
    "shared slices": "find out whose slices they are, and leave the other patient out",
    "changed": "if you changed them on purpose, write the folder again with brainseg prepare",
    "mask outside the head": "check whether the mask belongs to this image and has the same orientation",
    "dark tumour": "keep it if it is a cyst; if not, the mask is of another image or has another orientation",
    "huge tumour": "check whether the mask marks the brain, or other labels than tumour (--tumor-labels)",
    "no tumour": "keep it if that is true: such patients teach what is healthy",
    "read with a change": "see whether the picture looks right; export the files again if it does not",
    "empty sequence": "export it again, or remove its file: FLAIR then replaces it",
    "repeated slices": "check whether slices were exported twice, and remove the copies",
    "clipped": "the brightest parts all look the same: export it again with a wider range",
    "dark": "training corrects the scale, but not lost contrast: look at the picture, export it again if it is coarse",
    "bright": "training corrects the scale: nothing to do if the picture looks like the others",
    "few slices": "check whether slices are missing; a tumour between slices is not seen",
    "unusual size": "training takes a pixel of unknown size as 1 mm: check whether the head is as large as the others",
    "unusual spacing": "check it: training resamples pixels with it, but keeps the distance between slices",
    "spacing unknown": "sizes are in voxels for these: add the spacing if you know it, or ignore millilitres",
    "unusual orientation": "training turns every volume the same way: check whether the nose is up in the picture",
    "not axial": "the network sees axial slices: check whether they are sharp enough",
    "sequence replaced": "nothing to do if it was not scanned, because training allows that; if it was, add it",
    "sequence missing": "FLAIR replaces it, and training allows that; add it if it was scanned",
}

# No mask of the LGG data reaches so far out of the head, and two of 80 are so dark, both of cysts. If these masks are
# mirrored, front to back or left to right, two thirds are.
_OUTSIDE = 0.005
_DARKER = 0.6
_CLIPPED = 0.02
_HUGE = 0.5
_FEW_SLICES = 8


@dataclass(frozen=True)
class PatientFinding(Finding):
    """Something to look at in a patient: in a file, or in the folder of the slices.

    Attributes:
        patient: whose it is.
        kind: a key of ``REMEDIES``.
    """

    patient: str
    kind: str


def find_problems(profiles: Sequence[Profile], items: Mapping[str, Item] | None = None) -> list[PatientFinding]:
    """Return all findings, the most serious kind first, patients in order.

    Args:
        profiles: the patients of a data set.
        items: if it was prepared, the datalist's entry of each patient.
    """
    items = items or {}
    found = [*_find_copies(profiles, items), *_find_unlike(profiles)]
    for profile in profiles:
        found += [*_look_at_mask(profile), *_look_at_images(profile)]
        if profile.study.case.patient in items:
            found += _compare_record(profile, items[profile.study.case.patient])
    kinds = list(REMEDIES)
    return sorted(found, key=lambda finding: (kinds.index(finding.kind), finding.patient))


def _note(profile: Profile, kind: str, problem: str, of: str = "flair") -> PatientFinding:
    case = profile.study.case
    files = case.label if of == "mask" else case.images[of]
    where = files[0] if len(files) == 1 else files[0].parent
    return PatientFinding(WARNING, where, problem, REMEDIES[kind], case.patient, kind)


def _look_at_mask(profile: Profile) -> Iterable[PatientFinding]:
    if not profile.study.tumor_voxels:
        yield _note(profile, "no tumour", "its mask is empty", of="mask")
    if profile.outside > _OUTSIDE:
        yield _note(profile, "mask outside the head", f"{profile.outside:.1%} of its tumour is outside it", of="mask")
    if profile.darker is not None and profile.darker < _DARKER:
        brighter = f"its tumour is brighter in FLAIR than only {profile.darker:.0%} of the head"
        yield _note(profile, "dark tumour", brighter, of="mask")
    if profile.tumor_share > _HUGE:
        yield _note(profile, "huge tumour", f"its tumour is {profile.tumor_share:.0%} of the head", of="mask")


def _look_at_images(profile: Profile) -> Iterable[PatientFinding]:
    case = profile.study.case
    for said in profile.study.notes:
        yield _note(profile, "read with a change", said)
    for sequence, values in profile.intensities.items():
        if values[0] == values[-1]:
            yield _note(profile, "empty sequence", f"{sequence} is {values[0]:g} everywhere", sequence)
        elif profile.clipped[sequence] > _CLIPPED:
            share = f"{profile.clipped[sequence]:.0%} of the head in {sequence} has its highest value"
            yield _note(profile, "clipped", share, sequence)
    for kind, problem in (("replaced", "a copy of FLAIR in place of"), ("missing", "no")):
        lacking = [s for s in ("pre", "post") if s not in profile.study.sequences]
        named = [s for s in lacking if (s in case.images) == (kind == "replaced")]
        if named:
            yield _note(profile, f"sequence {kind}", f"it has {problem} {' and '.join(named)}")
    first: dict[str, int] = {}
    again = [(first.setdefault(h, z), z) for z, h in enumerate(profile.slices, start=1) if h]
    pairs = [f"{a} and {b}" for a, b in again if a != b]
    if pairs:
        some = ", ".join(pairs[:3]) + (" and more" if len(pairs) > 3 else "")
        yield _note(profile, "repeated slices", f"its FLAIR slices {some} are the same image")
    if profile.orientation[2] not in "SI":
        leads = {"R": "right", "L": "left", "A": "front", "P": "back"}[profile.orientation[2]]
        yield _note(profile, "not axial", f"its slices run to the {leads}")


def _find_copies(profiles: Sequence[Profile], items: Mapping[str, Item]) -> Iterable[PatientFinding]:
    """Find patients that share images or slices with an earlier one."""
    whole: dict[str, Profile] = {}
    slices: dict[str, Profile] = {}
    for profile in profiles:
        first = whole.setdefault(profile.study.hash, profile)
        shared = Counter(slices.setdefault(h, profile).study.case.patient for h in profile.slices if h)
        shared.pop(profile.study.case.patient, None)
        if first is not profile:
            other = first.study.case.patient
            yield _note(profile, "same images", f"its images are those of {_say_where(profile, other, items)}")
        elif shared:
            other, count = shared.most_common(1)[0]
            where = _say_where(profile, other, items)
            yield _note(
                profile, "shared slices", f"{count} of its {profile.shape[2]} FLAIR slices are those of {where}"
            )


def _say_where(profile: Profile, other: str, items: Mapping[str, Item]) -> str:
    """Name the other patient, and its part of the split if that is another one."""
    parts = [name_part(items[patient]) for patient in (profile.study.case.patient, other) if patient in items]
    return f"{other}, which is in {parts[1]}, not in {parts[0]}" if len(set(parts)) == 2 else other


def name_part(item: Item) -> str:
    """Return the part of the split that a patient is in, "fold 3" or "test"."""
    return f"fold {item['fold']}" if "fold" in item else "test"


def _compare_record(profile: Profile, item: Item) -> Iterable[PatientFinding]:
    study = profile.study
    if item.get("hash", study.hash) != study.hash:
        yield _note(profile, "changed", "its images have changed since the datalist was written")
    elif item.get("tumor_voxels", study.tumor_voxels) != study.tumor_voxels:
        said = f"its tumour has {study.tumor_voxels} voxels, but {item['tumor_voxels']} in the datalist"
        yield _note(profile, "changed", said, of="mask")


def _find_unlike(profiles: Sequence[Profile]) -> Iterable[PatientFinding]:
    """Find patients that differ from most of the others."""
    # If the spacing is known, pixels are resampled.
    sizes = _find_usual(p.shape[:2] for p in profiles if not p.spacing)
    turns = _find_usual(p.orientation for p in profiles)
    slices = median(p.shape[2] for p in profiles) if profiles else 0
    known = [p.spacing for p in profiles if p.spacing]
    spacing = np.median(known, axis=0) if known else None
    for profile in profiles:
        columns, rows, count = profile.shape
        if sizes and not profile.spacing and profile.shape[:2] != sizes:
            usual = f"its slices have {columns}x{rows} pixels, most others have {sizes[0]}x{sizes[1]}"
            yield _note(profile, "unusual size", usual)
        if count < max(_FEW_SLICES, slices / 2):
            yield _note(profile, "few slices", f"it has {count}, the median patient has {slices:g}")
        if turns and profile.orientation != turns:
            yield _note(profile, "unusual orientation", f"its axes point to {profile.orientation}, but most to {turns}")
        if spacing is not None and profile.spacing is None:
            yield _note(profile, "spacing unknown", "its files do not give millimetres, but others do")
        elif spacing is not None and _is_twice(profile.spacing, spacing):
            said = "x".join(f"{length:.2g}" for length in profile.spacing or ())
            usual = "x".join(f"{length:.2g}" for length in spacing)
            yield _note(profile, "unusual spacing", f"its voxels are {said} mm, the median is {usual}")
    yield from _find_other_scales(profiles)


def _find_other_scales(profiles: Sequence[Profile]) -> Iterable[PatientFinding]:
    for sequence in ("pre", "flair", "post"):
        # The width says how bright a patient is also where 0 is the mean.
        ranges = [(p, v[0], v[-1]) for p in profiles if (v := p.intensities.get(sequence))]
        usual = median(high - low for _, low, high in ranges) if ranges else 0.0
        for profile, low, high in ranges:
            said = f"{sequence} is {low:.4g} to {high:.4g} in the head; the median patient's range is {usual:.4g} wide"
            if 0 < high - low < usual / 2:
                yield _note(profile, "dark", said, sequence)
            elif high - low > 2 * usual > 0:
                yield _note(profile, "bright", said, sequence)


def _is_twice(lengths: Sequence[float] | None, usual: np.ndarray) -> bool:
    return bool((np.abs(np.log2(np.asarray(lengths) / usual)) > 1).any())


def _find_usual(values: Iterable[_Value]) -> _Value | None:
    """Return the value that more than half share, None if there is none."""
    counts = Counter(values)
    return next((value for value, count in counts.most_common(1) if count > counts.total() / 2), None)

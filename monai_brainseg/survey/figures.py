"""The results of a survey: as figures, as text, and as rows of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from monai_brainseg.data.naming import SEQUENCES
from monai_brainseg.errors import InputError
from monai_brainseg.survey.findings import PatientFinding
from monai_brainseg.survey.profiles import Profile

_HEADINGS = ("patient", "site", "part", "voxels", "mm", "axes", "sequences", "FLAIR 1-99 %", "tumour", "ml", "slices")


@dataclass(frozen=True)
class Survey:
    """What a data set looks like.

    Attributes:
        source: its folder.
        layout: how it is laid out, "prepared" if it was.
        profiles: its patients, sorted by name.
        parts: of each patient of a prepared data set, the part of the split.
        findings: what to look at, the most serious first.
        bad: the error of each patient that cannot be used.
        left_out: files that are not used, by reason.
    """

    source: Path
    layout: str
    profiles: Sequence[Profile]
    parts: Mapping[str, str]
    findings: Sequence[PatientFinding]
    bad: Mapping[str, InputError]
    left_out: Mapping[str, Sequence[str]]


def summarise_survey(survey: Survey) -> dict[str, Any]:
    """Return the figures of a data set as plain JSON values; a spread without any patient is left out."""
    profiles, studies = survey.profiles, [profile.study for profile in survey.profiles]
    slices, tumor_slices = sum(p.shape[2] for p in profiles), sum(p.tumor_slices for p in profiles)
    spacings = [profile.spacing for profile in profiles if profile.spacing]
    return {
        "patients": len(profiles),
        "bad": len(survey.bad),
        "slices": slices,
        "slices_per_patient": _spread(profile.shape[2] for profile in profiles),
        "tumor_free_slices": 1 - tumor_slices / slices if slices else None,
        "sequences": {sequence: sum(sequence in study.sequences for study in studies) for sequence in SEQUENCES},
        "sizes": _count("x".join(map(str, profile.shape[:2])) for profile in profiles),
        "spacing_known": len(spacings),
        "spacing": {axis: _spread(lengths) for axis, lengths in zip("xyz", zip(*spacings, strict=True), strict=False)},
        "orientations": _count(profile.orientation for profile in profiles),
        "intensity": {
            sequence: _spread(p.intensities[sequence][2] for p in profiles if sequence in p.intensities)
            for sequence in SEQUENCES
        },
        "tumor_voxels": _spread(study.tumor_voxels for study in studies),
        "tumor_ml": _spread(study.tumor_size / 1000 for study in studies if study.spacing_known),
        "without_tumor": sum(study.tumor_voxels == 0 for study in studies),
        "copies": sum(finding.kind in ("same images", "shared slices") for finding in survey.findings),
        "sites": _count(study.case.site for study in studies),
        "parts": dict(sorted(Counter(survey.parts.values()).items())),
    }


def describe_survey(survey: Survey) -> dict[str, str]:
    """Return in words what ``summarise_survey`` gives in figures."""
    summary = summarise_survey(survey)
    known, unknown = summary["spacing_known"], summary["patients"] - summary["spacing_known"]
    spacing = [f"known in {known} patients, unknown in {unknown}" if known else "unknown"] if unknown else []
    spacing += [f"{axis} {_say_spread(spread)} mm" for axis, spread in summary["spacing"].items()]
    tumor = [f"{_say_spread(summary['tumor_voxels'])} voxels"]
    tumor += [f"{_say_spread(summary['tumor_ml'])} ml"] if summary["tumor_ml"] else []
    facts = {
        "patients": f"{summary['patients']}" + (f", and {summary['bad']} bad" if summary["bad"] else ""),
        "sites": _say_count(summary["sites"]),
        "parts": _say_count(summary["parts"]),
        "slices": f"{summary['slices']}; {_say_spread(summary['slices_per_patient'])} a patient",
        "sequences": f"{_say_count(summary['sequences'])}; FLAIR replaces the missing ones",
        "pixels": _say_count(summary["sizes"]),
        "spacing": "; ".join(spacing),
        "orientation": _say_count(summary["orientations"]),
        "intensity": "; ".join(f"{s} {_say_spread(spread)}" for s, spread in summary["intensity"].items() if spread),
        "tumour": "; ".join(tumor),
        "slices without tumour": f"{summary['tumor_free_slices'] or 0:.0%}",
        "patients without tumour": f"{summary['without_tumor']}",
        "patients with another's images": f"{summary['copies']}",
    }
    return {name: fact for name, fact in facts.items() if fact} if summary["patients"] else {"patients": "none"}


def make_rows(survey: Survey) -> tuple[list[str], list[list[str]]]:
    """Return the table of a survey, headings and a row a patient, without columns that are empty throughout."""
    rows = [_list_cells(profile, survey.parts) for profile in survey.profiles]
    used = [index for index in range(len(_HEADINGS)) if any(row[index] for row in rows)]
    return [_HEADINGS[index] for index in used], [[row[index] for index in used] for row in rows]


def _list_cells(profile: Profile, parts: Mapping[str, str]) -> list[str]:
    study, levels = profile.study, profile.intensities["flair"]
    return [
        study.case.patient,
        study.case.site,
        parts.get(study.case.patient, ""),
        "x".join(map(str, profile.shape)),
        "x".join(f"{length:.3g}" for length in profile.spacing) if profile.spacing else "unknown",
        profile.orientation,
        "+".join(study.sequences),
        f"{format_number(levels[0])} to {format_number(levels[-1])}",
        f"{study.tumor_voxels}",
        f"{study.tumor_size / 1000:.1f}" if study.spacing_known else "",
        f"{profile.tumor_slices} of {profile.shape[2]}",
    ]


def format_number(value: float) -> str:
    """Return a number with three digits or more, without an exponent if it is large."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _count(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _say_count(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.items())


def _spread(values: Iterable[float]) -> dict[str, float] | None:
    listed = list(values)
    return {"min": min(listed), "median": median(listed), "max": max(listed)} if listed else None


def _say_spread(spread: Mapping[str, float] | None) -> str:
    if not spread:
        return "none"
    low, middle, high = (format_number(spread[name]) for name in ("min", "median", "max"))
    return f"{low} to {high}, median {middle}" if low != high else low

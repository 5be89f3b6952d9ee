"""The page of a survey: facts, charts, what to look at, and a row with a picture for each patient."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby

from monai_brainseg.data.naming import SEQUENCES
from monai_brainseg.reporting.pages import draw_histogram, draw_ranges, list_facts, list_items, make_page, make_table
from monai_brainseg.survey.figures import Survey, describe_survey, make_rows
from monai_brainseg.survey.findings import REMEDIES
from monai_brainseg.survey.profiles import Profile

# Kinds with more patients than that begin folded up.
_OPEN = 5


def make_survey_page(survey: Survey) -> bytes:
    """Return the page of a survey as HTML."""
    name = survey.source.resolve().name
    parts = [
        f"<h1>{escape(name)}</h1>",
        f'<p class="note">{escape(str(survey.source))}, layout {escape(survey.layout)}; made by brainseg check</p>',
        list_facts(describe_survey(survey)),
        *_show_bad(survey),
        "<h2>What to look at</h2>",
        *_show_findings(survey),
        *_show_charts(survey.profiles),
        *_show_patients(survey),
    ]
    return make_page(f"{name}: brainseg check", parts)


def _show_bad(survey: Survey) -> Iterable[str]:
    if survey.bad:
        yield "<h2>Patients that cannot be used</h2>"
        yield list_items(escape(f"{patient}: {error}") for patient, error in sorted(survey.bad.items()))
    for reason, names in survey.left_out.items():
        files = list_items(map(escape, names))
        yield f"<details><summary>{len(names)} not used that {escape(reason)}</summary>{files}</details>"


def _show_findings(survey: Survey) -> Iterable[str]:
    rows = {profile.study.case.patient: index for index, profile in enumerate(survey.profiles)}
    for kind, group in groupby(survey.findings, key=lambda finding: finding.kind):
        lines = [
            f'<a href="#row{rows[finding.patient]}">{escape(finding.patient)}</a>: {escape(finding.what)} '
            f'<span class="note">{escape(str(finding.where))}</span>'
            for finding in group
        ]
        summary = f"<summary><b>{escape(kind)}</b> ({len(lines)}): {escape(REMEDIES[kind])}</summary>"
        yield f"<details{' open' * (len(lines) <= _OPEN)}>{summary}{list_items(lines)}</details>"
    if not survey.findings:
        yield "<p>Nothing odd was found.</p>"


def _show_charts(profiles: Sequence[Profile]) -> Iterable[str]:
    if not profiles:
        return
    millilitres = all(profile.study.spacing_known for profile in profiles)
    sizes = [p.study.tumor_size / 1000 if millilitres else p.study.tumor_voxels for p in profiles]
    yield '<h2>Charts</h2><div class="charts">'
    yield draw_histogram(sizes, f"patients by tumour size in {'millilitres' if millilitres else 'voxels'}")
    yield draw_histogram([profile.shape[2] for profile in profiles], "patients by number of slices")
    for sequence in SEQUENCES:
        ranges = {p.study.case.patient: p.intensities[sequence] for p in profiles if sequence in p.intensities}
        if ranges:
            yield draw_ranges(ranges, f"{sequence}: intensities in the head, a stroke a patient, sorted by the median")
    yield "</div>"


def _show_patients(survey: Survey) -> Iterable[str]:
    if not survey.profiles:
        return
    headings, rows = make_rows(survey)
    yield (
        '<h2>Patients</h2><p class="note">FLAIR on the axial slice with most tumour, its outline drawn; grey runs over '
        "that slice's own range, the patient's right is on the left. Rest the mouse on a picture to enlarge it. "
        "FLAIR 1-99 %: percentiles in the head. Tumour: in voxels; slices: those with tumour.</p>"
    )
    problems: dict[str, list[str]] = defaultdict(list)
    for finding in survey.findings:
        problems[finding.patient].append(escape(finding.what))
    cells = (
        [profile.picture, *map(escape, row), list_items(problems[profile.study.case.patient])]
        for profile, row in zip(survey.profiles, rows, strict=True)
    )
    yield make_table(["", *headings, "look at"], cells)

"""The page of a survey: facts, charts, what to look at, and a row with a picture for each patient."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from monai_brainseg.data.naming import SEQUENCES
from monai_brainseg.files import name_folder
from monai_brainseg.reporting.charts import draw_histogram, draw_ranges
from monai_brainseg.reporting.pages import embed, render_page
from monai_brainseg.survey.figures import Survey, describe_survey, make_rows
from monai_brainseg.survey.findings import REMEDIES
from monai_brainseg.survey.profiles import Profile


def make_survey_page(survey: Survey) -> bytes:
    """Return the page of a survey as HTML."""
    headings, rows = make_rows(survey)
    problems: dict[str, list[str]] = defaultdict(list)
    for finding in survey.findings:
        problems[finding.patient].append(finding.what)
    patients = [
        {"cells": row, "picture": profile.picture, "problems": problems[profile.study.case.patient]}
        for profile, row in zip(survey.profiles, rows, strict=True)
    ]
    return render_page(
        "survey/page.html",
        survey=survey,
        name=name_folder(survey.source),
        facts=describe_survey(survey),
        findings=[(kind, list(group)) for kind, group in groupby(survey.findings, key=lambda each: each.kind)],
        remedies=REMEDIES,
        row_of={profile.study.case.patient: index for index, profile in enumerate(survey.profiles)},
        charts=_draw_charts(survey.profiles) if survey.profiles else {},
        headings=headings,
        patients=patients,
    )


def _draw_charts(profiles: Sequence[Profile]) -> dict[str, str]:
    """Return charts of all patients as images by caption."""
    millilitres = all(profile.study.spacing_known for profile in profiles)
    sizes = [p.study.tumor_size / 1000 if millilitres else p.study.tumor_voxels for p in profiles]
    unit = "millilitres" if millilitres else "voxels"
    figures: dict[str, Any] = {
        "tumour size of the patients": draw_histogram(sizes, f"tumour in {unit}"),
        "number of slices of the patients": draw_histogram([profile.shape[2] for profile in profiles], "slices"),
    }
    for sequence in SEQUENCES:
        ranked = sorted((p for p in profiles if sequence in p.intensities), key=lambda p: p.intensities[sequence][2])
        if ranked:
            darkest, brightest = (profile.study.case.patient for profile in (ranked[0], ranked[-1]))
            caption = (
                f"{sequence}: intensities in the head, one stroke per patient, sorted by the median from "
                f"{darkest} (darkest) to {brightest} (brightest)"
            )
            figures[caption] = draw_ranges(profile.intensities[sequence] for profile in ranked)
    return {caption: embed(figure, "svg+xml") for caption, figure in figures.items()}

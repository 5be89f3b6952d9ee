"""Look at a data set before training on it: a table, what is odd and what to do about it, and a page with pictures.

MONAI's ``DataAnalyzer`` is not used: it reads a datalist of NIfTI files alone, passes over patients that fail, and says
nothing of orientation, unknown spacing, replaced sequences, copies, or whether a mask belongs to its image.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from monai_brainseg import __version__
from monai_brainseg.cases import Case, examine_each
from monai_brainseg.findings import REMEDIES, find_problems, name_part
from monai_brainseg.layouts import Found, find_cases
from monai_brainseg.profiles import PERCENTILES, Profile, profile_case
from monai_brainseg.splits import Item, read_datalist
from monai_brainseg.survey_figures import Survey, describe_summary, make_rows, summarise_survey
from monai_brainseg.survey_page import make_survey_page
from monai_brainseg.volumes import SEQUENCES, write_whole

_NAMED = 3


def check(
    source: Path,
    output: Path,
    *,
    layout: str = "auto",
    naming: str | None = None,
    tumor_labels: Collection[int] = (),
    say: Callable[[str], None] = print,
) -> Survey:
    """Survey a data set, say what was found, and write ``check.html`` and ``check.json``.

    Args:
        source: the folder of a data set as published, or a prepared one.
        output: the folder for both files.
        layout: as of ``prepare``, as are the next two; ignored for a prepared folder.
        naming: patterns of the files.
        tumor_labels: the labels that are tumour; every one above 0 if empty.
        say: receives the table and the findings, line by line.

    Raises:
        InputError: there is no patient in ``source``, or ``output`` cannot be written. Bad patients do not raise.
    """
    survey = survey_folder(source, layout, naming, tumor_labels)
    summary = summarise_survey(survey)
    facts, (headings, rows) = describe_summary(summary), make_rows(survey)
    for line in (
        *_align([headings, *rows]),
        "",
        *(f"{name}: {fact}" for name, fact in facts.items()),
        *_list_findings(survey),
    ):
        say(line)
    write_whole(output / "check.json", (json.dumps(_record(survey, summary), indent=1) + "\n").encode("ascii"))
    write_whole(output / "check.html", make_survey_page(survey, facts, headings, rows))
    say(f"wrote {output / 'check.html'}, {output / 'check.json'}")
    return survey


def survey_folder(
    source: Path, layout: str = "auto", naming: str | None = None, tumor_labels: Collection[int] = ()
) -> Survey:
    """Read and measure every patient of a data set, as published or prepared.

    Only measures and pictures are kept, some 20 kB a patient.

    Raises:
        InputError: as ``find_cases`` and ``read_datalist``.
    """
    items: dict[str, Item] = {}
    if (source / "datalist.json").is_file():
        datalist = read_datalist(source, check_files=False)
        items = {item["patient"]: item for item in [*datalist["training"], *datalist["test"]]}
        found = Found("prepared", [_make_case(item) for _, item in sorted(items.items())])
    else:
        found = find_cases(source, layout, naming)
    profiles = []
    for case, result in examine_each(found.cases, partial(profile_case, tumor_labels=tumor_labels)):
        if isinstance(result, Profile):
            profiles.append(result)
        else:
            found.bad[case.patient] = str(result)
    parts = {patient: name_part(item) for patient, item in items.items()}
    left_out = {reason: names for reason, names in found.left_out.items() if names}
    return Survey(source, found.layout, profiles, parts, find_problems(profiles, items), found.bad, left_out)


def _make_case(item: Item) -> Case:
    names = SEQUENCES if len(item["image"]) == len(SEQUENCES) else ("flair",)
    images = {name: (Path(file),) for name, file in zip(names, item["image"], strict=False)}
    patient = item["patient"]
    return Case(patient, item.get("subject", patient), item.get("site", "unknown"), images, (Path(item["label"]),))


def _align(table: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _list_findings(survey: Survey) -> Iterable[str]:
    """Yield a line a kind of finding, with the first patients; a line for each bad patient."""
    for kind, group in groupby(survey.findings, key=lambda finding: finding.kind):
        findings = list(group)
        yield f"look at: {kind} ({len(findings)}): {REMEDIES[kind]}"
        yield from (f"  {finding.file}: {finding.problem}" for finding in findings[:_NAMED])
        if len(findings) > _NAMED:
            yield f"  and {len(findings) - _NAMED} more"
    for reason, names in survey.left_out.items():
        yield f"not used: {len(names)} that {reason}: {', '.join(names[:_NAMED])}{' ...' * (len(names) > _NAMED)}"
    for patient, message in sorted(survey.bad.items()):
        yield f"bad: {patient}: {message}"


def _record(survey: Survey, summary: dict[str, Any]) -> dict[str, Any]:
    return {
        "source": str(survey.source),
        "layout": survey.layout,
        "made_by": f"brainseg {__version__}",
        "summary": summary,
        "percentiles": PERCENTILES,
        "patients": [_record_patient(profile, survey.parts) for profile in survey.profiles],
        "findings": [
            {"patient": f.patient, "file": str(f.file), "kind": f.kind, "problem": f.problem, "remedy": f.remedy}
            for f in survey.findings
        ],
        "bad": dict(sorted(survey.bad.items())),
        "left_out": survey.left_out,
    }


def _record_patient(profile: Profile, parts: Mapping[str, str]) -> dict[str, Any]:
    study = profile.study
    return {
        "patient": study.case.patient,
        "subject": study.case.subject,
        "site": study.case.site,
        "part": parts.get(study.case.patient),
        "shape": profile.shape,
        "spacing": profile.spacing,
        "orientation": profile.orientation,
        "sequences": study.sequences,
        "intensities": profile.intensities,
        "tumor_voxels": study.tumor_voxels,
        "tumor_ml": study.tumor_size / 1000 if study.spacing_known else None,
        "tumor_slices": profile.tumor_slices,
        "hash": study.hash,
    }

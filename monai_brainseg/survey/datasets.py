"""Look at a data set before training on it: a table, what looks wrong, what to do, and a page with pictures.

MONAI's ``DataAnalyzer`` is not used: it reads only a datalist of NIfTI files, skips patients that fail, and says
nothing about orientation, unknown spacing, replaced sequences, copies, or whether a mask belongs to its image.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from monai_brainseg import __version__
from monai_brainseg.data.case_voxels import examine_each
from monai_brainseg.data.cases import Found, find_prepared
from monai_brainseg.data.layouts import find_cases
from monai_brainseg.data.prepare import check_reading
from monai_brainseg.data.splits import Item, read_datalist
from monai_brainseg.files import make_folder, write_json, write_whole
from monai_brainseg.survey.figures import Survey, describe_survey, make_rows, summarise_survey
from monai_brainseg.survey.findings import REMEDIES, find_problems, name_part
from monai_brainseg.survey.page import make_survey_page
from monai_brainseg.survey.profiles import PERCENTILES, Profile, profile_case

_NAMED = 3


def check(
    source: Path,
    output: Path,
    *,
    layout: str = "auto",
    naming: str | None = None,
    channels: str | None = None,
    tumor_labels: Collection[int] = (),
    say: Callable[[str], None] = print,
) -> Survey:
    """Survey a data set, say what was found, and write ``check.html`` and ``check.json``.

    Args:
        source: the folder of a data set as published, or a prepared one.
        output: the folder for both files.
        layout: as of ``prepare``, as are the next three; ignored for a prepared folder.
        naming: patterns of the files.
        channels: what the channels of each image are.
        tumor_labels: the labels that are tumour; every one above 0 if empty.
        say: receives the table and the findings, line by line.

    Raises:
        InputError: an option is wrong, there is no patient in ``source``, or ``output`` cannot be written. Bad patients
            do not raise.
    """
    check_reading(layout, tumor_labels)
    items = _read_items(source)
    found = find_prepared(items.values()) if items else find_cases(source, layout, naming, channels)
    make_folder(output)
    survey = _survey(source, found, items, tumor_labels)
    for line in (*_list_patients(survey), *_list_facts(survey), *_list_findings(survey)):
        say(line)
    write_json(output / "check.json", _record(survey))
    write_whole(output / "check.html", make_survey_page(survey))
    say(f"wrote {output / 'check.html'}, {output / 'check.json'}")
    return survey


def _read_items(source: Path) -> dict[str, Item]:
    """Return the datalist's entries by patient, none if the folder was not prepared."""
    if not (source / "datalist.json").is_file():
        return {}
    datalist = read_datalist(source, check_files=False)
    return {item["patient"]: item for item in [*datalist["training"], *datalist["test"]]}


def _survey(source: Path, found: Found, items: Mapping[str, Item], tumor_labels: Collection[int]) -> Survey:
    """Measure every patient; measures and pictures are kept, some 20 kB each, voxels are not."""
    profiles = []
    for case, result in examine_each(found.cases, partial(profile_case, tumor_labels=tumor_labels)):
        if isinstance(result, Profile):
            profiles.append(result)
        else:
            found.bad[case.patient] = result
    parts = {patient: name_part(item) for patient, item in items.items()}
    left_out = {reason: names for reason, names in found.left_out.items() if names}
    return Survey(source, found.layout, profiles, parts, find_problems(profiles, items), found.bad, left_out)


def _list_patients(survey: Survey) -> Iterable[str]:
    headings, rows = make_rows(survey)
    table = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _list_facts(survey: Survey) -> Iterable[str]:
    yield ""
    yield from (f"{name}: {fact}" for name, fact in describe_survey(survey).items())


def _list_findings(survey: Survey) -> Iterable[str]:
    """Yield a line a kind of finding, with the first patients; a line for each bad patient."""
    for kind, group in groupby(survey.findings, key=lambda finding: finding.kind):
        findings = list(group)
        yield f"look at: {kind} ({len(findings)}): {REMEDIES[kind]}"
        yield from (f"  {finding.where}: {finding.what}" for finding in findings[:_NAMED])
        if len(findings) > _NAMED:
            yield f"  and {len(findings) - _NAMED} more"
    for reason, names in survey.left_out.items():
        some = ", ".join(names[:_NAMED]) + " ..." * (len(names) > _NAMED)
        yield f"not used ({len(names)}), because they {reason}: {some}"
    for patient, error in sorted(survey.bad.items()):
        yield f"bad: {patient}: {error}"


def _record(survey: Survey) -> dict[str, Any]:
    return {
        "source": str(survey.source),
        "layout": survey.layout,
        "made_by": f"brainseg {__version__}",
        "summary": summarise_survey(survey),
        "percentiles": PERCENTILES,
        "patients": [_record_patient(profile, survey.parts) for profile in survey.profiles],
        "findings": [
            {"patient": f.patient, "file": str(f.where), "kind": f.kind, "problem": f.what, "remedy": f.remedy}
            for f in survey.findings
        ],
        "bad": {patient: str(error) for patient, error in sorted(survey.bad.items())},
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
        "clipped": profile.clipped,
        "tumor_voxels": study.tumor_voxels,
        "tumor_ml": study.tumor_size / 1000 if study.spacing_known else None,
        "tumor_slices": profile.tumor_slices,
        "tumor_share_of_head": profile.tumor_share,
        "tumor_outside_head": profile.outside,
        "head_darker_than_tumor": profile.darker,
        "hash": study.hash,
    }

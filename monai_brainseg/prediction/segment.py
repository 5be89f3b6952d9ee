"""``segment``: the call from Python and from ``brainseg predict`` that finds studies and segments them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from tqdm import tqdm

from monai_brainseg.data.cases import Found
from monai_brainseg.errors import InputError
from monai_brainseg.inputs.roles import describe_roles
from monai_brainseg.inputs.search import find_studies, join_sequences
from monai_brainseg.prediction.mask_records import read_record
from monai_brainseg.prediction.options import Options
from monai_brainseg.prediction.studies import predict
from monai_brainseg.runs.ranks import read_share

_FEW = 5  # failures that the error names
_SHOWN = 10  # studies whose files are said before the work


def segment(
    inputs: str | Path | Sequence[str | Path] = (),
    output: str | Path = "masks",
    *,
    flair: str | Path | None = None,
    pre: str | Path | None = None,
    post: str | Path | None = None,
    naming: str | None = None,
    part: str = "test",
    fold: int | None = None,
    series: str | None = None,
    channels: str | None = None,
    command: Sequence[str] = (),
    say: Callable[[str], None] = tqdm.write,
    **options: Any,
) -> dict[str, dict[str, Any]]:
    """Segment studies; each mask has its input's grid and format, a preview and a record.

    Example::

        import monai_brainseg

        records = monai_brainseg.segment("data/lgg", "masks")
        for name, record in records.items():
            print(name, record["tumor_voxels"], record["warnings"])

    Args:
        inputs: files and folders of slices, NIfTI or DICOM, prepared folders, or folders of many of these.
        output: folder for masks, previews and ``run.json``. Studies that are there already, with the same settings, are
            not segmented again.
        flair: the FLAIR of one study, instead of ``inputs``.
        pre: its pre-contrast T1.
        post: its post-contrast T1.
        naming: patterns of NIfTI names, see ``naming.parse_naming``.
        part: of prepared folders: "test", "training" or "all".
        fold: only this fold of the training part.
        series: of DICOM studies, see ``series.choose_series``.
        channels: what the channels of a file with several are, such as "flair,t1,t1ce,t2".
        command: what ``run.json`` gives as the command.
        say: takes each line of what happens.
        options: fields of ``options.Options``, such as ``checkpoints=(Path("model.pt"),)`` or ``tta=True``.

    Returns:
        The record of each study by its name: files that were written, size of the tumour, warnings, settings.

    Raises:
        InputError: there is no study, an input or option cannot be used, or some studies failed; the others are done.
    """
    chosen = _read_options(options)
    roles = {role: Path(path) for role, path in (("flair", flair), ("pre", pre), ("post", post)) if path is not None}
    paths = [Path(path) for path in ([inputs] if isinstance(inputs, (str, Path)) else inputs)]
    if bool(paths) == bool(flair) or (roles and flair is None):
        raise InputError("INPUT or --flair", "give one of them", "--pre and --post need --flair")
    if roles:
        found = Found(cases=[join_sequences(**roles, series=series, channels=channels)])
    else:
        found = find_studies(
            paths, naming=naming, part=part, fold=fold, series=series, channels=channels, leave_out=Path(output)
        )
    if read_share()[0] == 0:
        for line in _summarise(found):
            with suppress(OSError, UnicodeError):  # a terminal that cannot take a line does not stop the work
                say(line)
    bad = predict(found, Path(output), chosen, command, say)
    if bad:
        raise _sum_up(bad, len(found.cases) + len(found.bad), Path(output))
    return {case.patient: read_record(Path(output), case.patient) for case in found.cases}


def _summarise(found: Found) -> Iterator[str]:
    """Yield which files play which role in the first studies, and what is left out."""
    for case in found.cases[:_SHOWN]:
        yield f"{case.patient}: {describe_roles(case)}"
    if len(found.cases) > _SHOWN:
        yield f"and {len(found.cases) - _SHOWN} more studies; run.json lists the files of all"
    left_out = [(reason, files) for reason, files in found.left_out.items() if files]
    for reason, files in left_out[:_SHOWN]:
        yield f"left out ({len(files)}), because they {reason}: {', '.join(files[:3])}{', ...' * (len(files) > 3)}"
    if len(left_out) > _SHOWN:
        yield f"left out for {len(left_out) - _SHOWN} other reasons, which run.json lists"


def _read_options(options: Mapping[str, Any]) -> Options:
    """Return the options; of checkpoints, one path is enough, and a path may be a text.

    Raises:
        InputError: there is no such option.
    """
    known = [field.name for field in fields(Options)]
    if unknown := sorted(set(options) - set(known)):
        raise InputError(f"segment(): {unknown[0]}", "unknown option", f"the options are {', '.join(known)}")
    files = options.get("checkpoints", ())
    paths = tuple(map(Path, [files] if isinstance(files, (str, Path)) else files))
    return Options(**{**options, "checkpoints": paths})


def _sum_up(bad: dict[str, str], count: int, output: Path) -> InputError:
    listed = "; ".join(f"{case}: {reason}" for case, reason in list(bad.items())[:_FEW])
    rest = f"; and {len(bad) - _FEW} more, in {output / 'run.json'}" if len(bad) > _FEW else ""
    return InputError(f"{len(bad)} of {count} studies failed", f"{listed}{rest}")

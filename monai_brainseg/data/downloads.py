"""The public LGG MRI segmentation set, downloaded with kagglehub, counted and prepared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from monai_brainseg.data.layouts import find_cases
from monai_brainseg.data.prepare import check_output, prepare
from monai_brainseg.errors import InputError

HANDLE = "mateuszbuda/lgg-mri-segmentation"
PAGE = f"https://www.kaggle.com/datasets/{HANDLE}"
PATIENTS, SLICES = 110, 3929  # as published
TERMS = f"""\
LGG MRI segmentation ({PAGE}), made from TCGA-LGG.
Its licence: treat it as CC BY-NC-SA 4.0. You may not use it commercially, you name its makers, and what you derive from
it, weights included, goes under the same terms. Cite both papers:
  M. Buda, A. Saha, M. A. Mazurowski: Association of genomic subtypes of lower-grade gliomas with shape features
  automatically extracted by a deep learning algorithm. Computers in Biology and Medicine, 2019.
  M. A. Mazurowski, K. Clark, N. M. Czarnek, P. Shamsesfandabadi, K. B. Peters, A. Saha: Radiogenomics of lower-grade
  glioma: algorithmically-assessed tumor shape is associated with tumor genomic subtypes and patient outcomes in a
  multi-institutional study with The Cancer Genome Atlas data. Journal of Neuro-Oncology, 2017."""
_BY_HAND = f"or download it from {PAGE} and run `brainseg prepare` on the folder"


def download(output: Path, *, overwrite: bool = False, say: Callable[[str], None] = print) -> None:
    """Download the set into kagglehub's cache, check that it is complete, and prepare it with the default options.

    Args:
        output: folder to prepare, as that of ``prepare``.
        overwrite: replace what was prepared there before.
        say: receives, line by line, the terms, where the files are, and what ``prepare`` says.

    Raises:
        InputError: kagglehub is missing, the set cannot be downloaded or is not complete, or the output cannot be used.
    """
    check_output(output.resolve(), overwrite)
    say(TERMS)
    source = fetch_published()
    say(f"published files: {source}")
    check_published(source)
    say(f"{PATIENTS} patients and {SLICES:,} slices, so the data set is complete")
    prepare(source, output, layout="kaggle_3m", overwrite=overwrite, say=say)


def fetch_published() -> Path:
    """Return the folder where kagglehub has put the set, by this call or an earlier one.

    Raises:
        InputError: kagglehub is missing, or fails.
    """
    try:
        import kagglehub
    except ImportError as error:
        install = "install it with: pip install 'monai-brainseg[download]'"
        raise InputError(HANDLE, "needs kagglehub", f"{install}, {_BY_HAND}") from error
    try:
        return Path(kagglehub.dataset_download(HANDLE))
    except Exception as error:  # its errors, and those of what it calls, have no common base
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            HANDLE, f"cannot be downloaded ({reason})", f"check the network and try again, {_BY_HAND}"
        ) from error


def check_published(source: Path) -> None:
    """Refuse a folder in which patients or slices of the published set are missing; only names are read.

    Raises:
        InputError: gives both counts.
    """
    found = find_cases(source, "kaggle_3m")
    if found.bad:
        first = found.bad[min(found.bad)]
        raise InputError(first.where, first.what, "remove the folder and download again")
    patients, slices = len(found.cases), sum(len(case.label) for case in found.cases)
    if (patients, slices) != (PATIENTS, SLICES):
        raise InputError(
            source,
            f"holds {patients} patients and {slices:,} slices, but {PATIENTS} and {SLICES:,} are published",
            "remove the folder and download again",
        )

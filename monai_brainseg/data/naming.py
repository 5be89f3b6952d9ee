"""What the names in a data set tell: which sequence, which patient, which site."""

from __future__ import annotations

import re
from collections.abc import Collection

from monai_brainseg.errors import InputError

_CHANNELS_REMEDY = "name each channel in order, such as flair,t1,t1ce,t2; - is one that is not used"

# In the order of a network's channels.
SEQUENCES = ("pre", "flair", "post")
CHANNELS = {sequence: channel for channel, sequence in enumerate(SEQUENCES)}

# What data sets call the sequences, in lower case without punctuation; T2 is a file of the patient that is not used.
_SPELLINGS = {
    "pre": ("t1", "t1n", "t1w", "t1pre", "pre"),
    "flair": ("flair", "t2f", "t2flair"),
    "post": ("t1ce", "t1gd", "t1c", "t1post", "post"),
    "unused": ("t2", "t2w"),
    "label": ("seg",),
}
ROLES = {spelling: role for role, spellings in _SPELLINGS.items() for spelling in spellings}

_SITES = (
    re.compile(r"(?:TCGA|PHANTOM)[_-]([A-Z0-9]+)[_-]"),
    re.compile(r"brats\d\d_(?!training|validation|testing)([^_]+)_", re.I),
)
# The date of TCGA's study and the time point of BraTS since 2023 follow the person.
_SUBJECTS = (re.compile(r"(TCGA[_-]\w\w[_-]\w{4})[_-]\d{8}"), re.compile(r"(BraTS-\w+-\d{5})-\d{3}"))


def find_role(name: str) -> str | None:
    """Return what a data set means by a sequence's name ("T1-Gd" is "post"), None if it is not known."""
    return ROLES.get(re.sub(r"[^a-z0-9]", "", name.lower()))


def find_site(patient: str) -> str:
    """Return the site that a patient's name carries ("CS" of ``TCGA_CS_4942_19970222``), else "unknown"."""
    return next((match[1] for match in (pattern.match(patient) for pattern in _SITES) if match), "unknown")


def find_subject(patient: str) -> str:
    """Return the person of a study ("BraTS-GLI-00005" of ``BraTS-GLI-00005-100``), else the name itself."""
    return next((match[1] for match in (pattern.fullmatch(patient) for pattern in _SUBJECTS) if match), patient)


def clean_name(patient: str) -> str:
    """Return a name that is a file name on every system: no separators, no control characters, no leading dot."""
    return re.sub(r'[\x00-\x1f/\\:*?"<>|]+', "-", patient).strip(" .") or "unnamed"


def parse_channels(text: str) -> dict[str, int]:
    """Return the channel of each role from ``flair,t1,t1ce,t2``; "unused" is the last that is not a sequence of ours.

    Raises:
        InputError: a name is unknown, a sequence is named twice, or FLAIR is not named.
    """
    names = [name.strip() for name in text.split(",")]
    roles = ["unused" if name == "-" else find_role(name) for name in names]
    for name, role in zip(names, roles, strict=True):
        if role is None or role == "label" or role in SEQUENCES and roles.count(role) > 1:
            wrong = "is named twice" if role in SEQUENCES else "is not a known sequence"
            raise InputError(f"--channels {text}", f"{name!r} {wrong}", _CHANNELS_REMEDY)
    if "flair" not in roles:
        raise InputError(f"--channels {text}", "names no flair", _CHANNELS_REMEDY)
    return {str(role): channel for channel, role in enumerate(roles)}


def parse_naming(naming: str, required: Collection[str] = ("flair", "label")) -> dict[str, re.Pattern[str]]:
    """Return one pattern a role from ``role=pattern,role=pattern``; roles are pre, flair, post and label.

    A pattern is matched against the end of a file's path. Its first ``*`` is the case, further ones match anything;
    ``*`` does not cross a ``/``. Without a ``*`` the folder of the file is the case: ``flair=FLAIR.nii.gz`` means
    ``flair=*/FLAIR.nii.gz``.

    Args:
        naming: the text.
        required: roles that must be named.

    Raises:
        InputError: a role is unknown or named twice, or one that is required is not named.
    """
    patterns: dict[str, re.Pattern[str]] = {}
    for part in naming.split(","):
        role, _, pattern = (piece.strip() for piece in part.partition("="))
        if not pattern or role not in (*SEQUENCES, "label") or role in patterns:
            raise InputError(
                f"--naming {part.strip()!r}",
                "expected pre=, flair=, post= or label= with a pattern, each once",
                "for instance --naming 'flair=*_FLAIR.nii.gz,label=*_seg.nii.gz'",
            )
        first, *others = (pattern if "*" in pattern else f"*/{pattern}").split("*")
        rest = "[^/]*".join(map(re.escape, others))
        patterns[role] = re.compile(rf"(?:.*/)?{re.escape(first)}(?P<patient>[^/]+){rest}")
    missing = set(required) - set(patterns)
    if missing:
        raise InputError(f"--naming {naming!r}", f"names no {' and no '.join(sorted(missing))}", "add a pattern")
    return patterns

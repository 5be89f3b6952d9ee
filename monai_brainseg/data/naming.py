"""What the names in a data set tell: which sequence, which patient, which site."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from monai_brainseg.errors import InputError

_CHANNELS_REMEDY = "name each channel in order, such as flair,t1,t1ce,t2; - is one that is not used"

# In the order of a network's channels.
SEQUENCES = ("pre", "flair", "post")
CHANNELS = {sequence: channel for channel, sequence in enumerate(SEQUENCES)}

# A T1-weighted image with the fluid suppressed: it looks like T1, not like FLAIR, which is T2-weighted.
T1_FLAIR = "T1 FLAIR"

# What a word of a name may consist of. "how" tells how an image was made, and not which one it is.
_PARTS = {
    "t1": r"t1(?:weighted|native|wi?|n)?|mp2?rage",
    "flair": r"t2wi?flair|t2f(?:lair)?(?!s)|e?flair|dark[\W_]?fl(?:uid)?",
    "t2": r"t2(?:weighted|star|wi?|s)?|adc|dwi|dti|swi|stir|tof",
    "label": r"segmentations?|dseg|segs?|masks?|labels?(?:t[rs])?",
    "before": r"pre(?:contrast|gado?|gd)?|noncontrast|nocontrast|native",
    "after": r"post(?:contrast|gado?|gd|ce|c)?|contrast|gado[a-z]*|gadavist|magnevist|dotarem|prohance|omniscan"
    r"|multihance|clariscan|enhanced|gd|ce|km|c",
    "no": r"no|non|without|wo",
    "how": r"tse|fse|se|mpr|f?spgr|space|spc|t?fe|ffe|gre|vibe|bravo|cube|vista|tirm|ir|fs|fl[23]d|[23]d"
    r"|ax(?:ial)?|sag(?:ittal)?|cor(?:onal)?|tra(?:nsversal)?|iso|with|plus|w",
}
# "T1_to_FLAIR" and "T1_in_FLAIR" are T1, on the grid of FLAIR; BIDS says it as "space-FLAIR".
_TOWARDS = {"to", "in", "on", "into", "2"}
_GRID_AT_END = re.compile(r"_space-[^\W_]+$", re.I)
# At the end of a name that says a sequence they are of a mask; elsewhere they may be of a patient.
_MARKED = {"lesion", "lesions", "tumor", "tumour", "roi", "rois", "gt", "truth", "groundtruth", "annotation"}
_WHOLE_WORD = re.compile(f"(?:{'|'.join(f'(?P<{part}>{pattern})' for part, pattern in _PARTS.items())})+", re.I)
_WORD = re.compile(r"dark[\W_]?fl(?:uid)?|space-[^\W_]+|[^\W_]+", re.I)
_ORIENTATIONS = {"ax", "axial", "sag", "sagittal", "cor", "coronal", "tra", "2d", "3d"}
_IMAGES = {"t1", "t2", "flair"}
# Beside a T1 they say contrast. Elsewhere they may be a person's initials.
_SHORT = {"c", "ce", "gd", "km", "native", "enhanced"}

_SITES = (
    re.compile(r"(?:TCGA|PHANTOM)[_-]([A-Z0-9]+)[_-]"),
    re.compile(r"brats\d\d_(?!training|validation|testing)([^_]+)_", re.I),
)
# The date of TCGA's study and the time point of BraTS since 2023 follow the person.
_SUBJECTS = (re.compile(r"(TCGA[_-]\w\w[_-]\w{4})[_-]\d{8}"), re.compile(r"(BraTS-\w+-\d{5})-\d{3}"))


@dataclass(frozen=True)
class Said:
    """What the name of a file says, without its ending.

    Attributes:
        role: "pre", "flair", "post", "label", "unused" (T2), ``T1_FLAIR``, or None if it says none or several.
        before: what stands before the words that say it; the whole name if there are none.
        after: the other words behind them.
        clear: whether it names T1, T2, FLAIR or a mask, and not only "pre" or "post".
        notes: what makes the role doubtful.
        told: whether the name is that of the "file" or of its "folder".
    """

    role: str | None
    before: str
    after: str = ""
    clear: bool = False
    notes: tuple[str, ...] = ()
    told: str = "file"

    @property
    def numbers(self) -> tuple[str, ...]:
        """The words behind the role that tell persons or visits apart, in lower case."""
        words = [match[0].casefold() for match in _WORD.finditer(self.after)]
        return tuple(word for word in words if re.match(r"(?!space-).*\d", word) and not _read_word(word))


@dataclass(frozen=True)
class _Word:
    place: int
    text: str
    parts: frozenset[str]


def read_name(stem: str) -> Said:
    """Read which sequence a name says: "x_T2_FLAIR" is FLAIR; "x_T1_post", "x_T1ce" and "x_T1w_contrast" are "post".

    Words may be separated by anything that is neither a letter nor a digit, and capitals do not matter. What tells of
    contrast counts behind T1 or FLAIR, or directly before T1; elsewhere it may be a part of a person's name.
    """
    words = _list_words(stem)
    said = frozenset[str]().union(*(word.parts for word in words)) & {*_IMAGES, "label"}
    contrast = {n: after for n, word in enumerate(words) if (after := _tell_contrast(words, n, said)) is not None}
    counted = [n for n, word in enumerate(words) if n in contrast or word.parts & said]
    if not counted:
        return Said(None, stem)
    role = _choose_role(words, said, contrast)
    if role is None:
        return Said(None, stem, notes=("its name says several sequences",))
    doubt = role == "flair" and any(contrast.values())
    notes = ("its name says that it was scanned after contrast",) if doubt else ()
    rest = [word.text for n, word in enumerate(words) if n > counted[0] and n not in counted and word.parts != {"no"}]
    first = counted[0]
    while first and words[first - 1].text.casefold() in _ORIENTATIONS:
        first -= 1
    before = _GRID_AT_END.sub("", stem[: words[first].place].rstrip("_-. +("))
    return Said(role, before, "_".join(rest), bool(said), notes)


def _list_words(stem: str) -> list[_Word]:
    """Return the words of a name; that of another image's grid, and of a patient's illness, say nothing."""
    words: list[_Word] = []
    for match in _WORD.finditer(stem):
        grid = len(words) > 1 and words[-1].text.casefold() in _TOWARDS and bool(words[-2].parts)
        words.append(_Word(match.start(), match[0], frozenset() if grid else _read_word(match[0])))
    said = frozenset[str]().union(*(word.parts for word in words[:-1]))
    if words and said & _IMAGES and words[-1].text.casefold() in _MARKED:
        words[-1] = replace(words[-1], parts=frozenset({"label"}))
    return words


def _read_word(word: str) -> frozenset[str]:
    """Return what a word says; nothing if a part of it is not known."""
    match = _WHOLE_WORD.fullmatch(word)
    return frozenset(part for part, text in match.groupdict().items() if text) if match else frozenset()


def _choose_role(words: Sequence[_Word], said: Set[str], contrast: Mapping[int, bool]) -> str | None:
    if "label" in said:
        return "label"
    if "t1" in said and len(said) > 1:
        named = [n for n, word in enumerate(words) if word.parts & said]
        between = words[named[0] : named[-1] + 1]
        together = all(word.parts & {*said, "how"} for word in between)
        return T1_FLAIR if together and said == {"t1", "flair"} else None
    if "flair" in said or "t2" in said:
        return "flair" if "flair" in said else "unused"
    return "post" if any(contrast.values()) else "pre"


def _tell_contrast(words: Sequence[_Word], place: int, said: Set[str]) -> bool | None:
    """Return whether a word says that the image was made after contrast (True), before it (False), or neither."""
    parts, text = words[place].parts, words[place].text.casefold()
    if not parts & {"before", "after"}:
        return None
    ahead = [word.parts for word in words[:place]]
    after = "after" in parts and not (ahead and ahead[-1] & {"no", "before"} and not ahead[-1] & _IMAGES)
    if parts & _IMAGES:
        return after
    if not said:
        return None if text in _SHORT else after
    skipped = {"how", "no", "before", "after"}
    previous = next((one for one in reversed(ahead) if not one or not one <= skipped), frozenset())
    behind = [word.parts for word in words[place + 1 :]]
    following = next((one for one in behind if not one or not one <= skipped), frozenset())
    beside = bool(previous & _IMAGES) or "t1" in following and "flair" not in following and text != "c"
    return after if beside or text not in _SHORT and any(one & _IMAGES for one in ahead) else None


def find_role(name: str) -> str | None:
    """Return what a data set means by a sequence's name ("T1-Gd" is "post"), None if it is not known."""
    return read_name(name).role


def find_site(patient: str) -> str:
    """Return the site that a patient's name carries ("CS" of ``TCGA_CS_4942_19970222``), else "unknown"."""
    return next((match[1] for match in (pattern.match(patient) for pattern in _SITES) if match), "unknown")


def find_subject(patient: str) -> str:
    """Return the person of a study ("BraTS-GLI-00005" of ``BraTS-GLI-00005-100``), else the name itself."""
    return next((match[1] for match in (pattern.fullmatch(patient) for pattern in _SUBJECTS) if match), patient)


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

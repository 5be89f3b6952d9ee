"""Recipes: overlays on a bundle, found by name, and the part of them that evaluating needs."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.utils import merge_kv

from monai_brainseg.errors import InputError
from monai_brainseg.runs.bundle_folders import DEFAULT, find_bundle, own_scripts
from monai_brainseg.runs.commands import Command, load_config
from monai_brainseg.runs.config_checks import BASED_ON, MONAI_IDS, check_command, list_bases

# Recipes of the current folder, of this checkout and of the package; of the last two, overlays too.
_FOLDERS = (
    Path("configs/recipes"),
    *(place / "configs" / folder for place in Path(__file__).resolve().parents[2:0:-1] for folder in ("recipes", "")),
)
_SCORING = ("inference.yaml", "evaluate.yaml")  # the second is an overlay on the first
# What decides how an image reaches the network in training; scores on other images would be worthless.
_READING = (
    "reading",
    "train::deterministic_transforms",
    "validate::preprocessing",
    "validate::deterministic_transforms",
)


@dataclass(frozen=True)
class Recipe:
    """One way to train a bundle.

    Attributes:
        name: of the file, without its ending.
        bundle: folder of the bundle.
        files: overlays on the bundle's ``train.yaml``: the recipe's own is the last, after those that it is based on.
        content: ids and values of them all.
        evaluating: those of them that evaluating needs.
    """

    name: str
    bundle: Path
    files: tuple[Path, ...]
    content: Mapping[str, Any]
    evaluating: Mapping[str, Any]

    @property
    def training_files(self) -> tuple[str, ...]:
        """Configs of a training; later ones win."""
        return str(self.bundle / "configs" / "train.yaml"), *map(str, self.files)

    @property
    def evaluating_files(self) -> tuple[str, ...]:
        """Configs of an evaluation, on which ``evaluating`` is an overlay."""
        return tuple(str(self.bundle / "configs" / name) for name in _SCORING)

    @property
    def digest(self) -> str:
        """SHA-256 of the recipe's ids and values, without comments."""
        return hash_content([self.content, self.evaluating])


def read_recipe(name: str, bundle: str | Path | None = None) -> Recipe:
    """Find a recipe and check it against the configs of its bundle.

    Those of its ids that evaluating has too (the network, the scaling of images, patch and pixel size) apply to
    evaluating as well, with the recipe's own ids that they refer to.

    Args:
        name: of a file in ``configs/recipes`` or of an overlay in our ``configs``, or the path of a YAML file.
        bundle: name or folder, where ``--bundle`` gives one; else that of the recipe's ``bundle_root``, or the default.

    Raises:
        InputError: there is no such recipe or bundle, the recipe names another bundle, an id is unknown, or it changes
            how images are read for training only.
    """
    files = list_files(_find_file(name))
    contents = [load_config(file) for file in files]
    brought = _merge(contents)
    folder = _choose_bundle(files[-1], brought.get("bundle_root"), bundle)
    evaluate = _merge([load_config(folder / "configs" / config) for config in _SCORING])
    recipe = Recipe(files[-1].stem, folder, files, brought, select_shared(brought, evaluate))
    check_command(Command("training", recipe.training_files, {}))
    if lost := [item for item in brought if item.lstrip("+").startswith(_READING)]:
        raise InputError(
            files[-1],
            f"'{lost[0]}' changes how images are read in training only",
            "change normalizing, pixel_size or patch_size, which scoring uses too",
        )
    return recipe


def list_files(file: Path, above: tuple[Path, ...] = ()) -> tuple[Path, ...]:
    """Return an overlay after those that it is based on, each once.

    Args:
        file: of the overlay.
        above: overlays that are based on it.

    Raises:
        InputError: ``based_on`` is not a list of names, or leads back to an overlay that is based on it.
    """
    above = (*above, file.resolve())
    found: list[Path] = []
    for base in list_bases(file, load_config(file)):
        other = _find_file(base, near=file.parent)
        if other.resolve() in above:
            raise InputError(file, f"is based on {base}, which is based on it", f"remove {base} from {BASED_ON}")
        found += list_files(other, above)
    return (*dict.fromkeys(found), file)


def _merge(contents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the ids of overlays in their order; if several have an id, the last one counts.

    An id within another, such as ``network_def::channels`` after ``network_def``, is put into that one's value, so that
    the result can be written as one overlay.
    """
    merged: dict[str, Any] = {}
    for content in contents:
        for name, value in content.items():
            head, _, rest = name.partition("::")
            if rest and isinstance(merged.get(head), dict):
                whole = ConfigParser(copy.deepcopy(merged[head]))
                whole.set(value, rest)
                merged[head] = whole.get()
            else:
                merged.pop(name, None)
                merged[name] = value
    return merged


def read_trained(name: str, bundle: str | Path | None, checkpoints: Sequence[Path]) -> Recipe:
    """Find the recipe that weights were trained by, as ``read_recipe`` does.

    Args:
        name: of the recipe.
        bundle: as ``--bundle`` gives it.
        checkpoints: the weights; none for the bundle's weights, which need a recipe that changes nothing.

    Raises:
        InputError: the recipe cannot be used, or weights of it are needed.
    """
    recipe = read_recipe(name, bundle)
    if not checkpoints and {*recipe.content} - {"bundle_root"}:
        raise InputError(
            f"recipe {recipe.name}", "the bundle's weights are not of this recipe", "name weights with --checkpoint"
        )
    return recipe


def select_inference(recipe: Recipe) -> dict[str, Any]:
    """Return the ids and values of a recipe that concern ``inference.yaml``.

    Raises:
        InputError: the bundle has no such config.
    """
    inference = find_bundle(str(recipe.bundle), "inference.yaml") / "configs" / "inference.yaml"
    return select_shared(recipe.content, load_config(inference))


def merge_overlay(config: dict[str, Any], overlay: Mapping[str, Any]) -> ConfigParser:
    """Return a config with an overlay's ids merged in, as ``--config_file "['a.yaml','b.yaml']"`` does."""
    parser = ConfigParser(config)
    for name, value in overlay.items():
        merge_kv(parser, name, value)
    return parser


def select_shared(brought: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ids of an overlay that another config has too, and those of the overlay that they refer to."""
    heads = {item: item.lstrip("+").split("::")[0] for item in brought}
    chosen = [item for item, head in heads.items() if head in config and item not in MONAI_IDS]
    while more := [item for item in brought if item not in chosen and _is_referred(item, brought, chosen)]:
        chosen += more
    return {item: brought[item] for item in brought if item in chosen}


def count_parameters(recipe: Recipe) -> int:
    """Return how many numbers a recipe's network learns."""
    config = merge_overlay(load_config(recipe.bundle / "configs" / "inference.yaml"), select_inference(recipe))
    with own_scripts(recipe.bundle):
        return sum(parameter.numel() for parameter in config.get_parsed_content("network_def").parameters())


def hash_content(content: Any) -> str:
    """Return the SHA-256 of plain values, for any order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _is_referred(item: str, brought: Mapping[str, Any], chosen: list[str]) -> bool:
    values = json.dumps([brought[one] for one in chosen], default=str)
    return re.search(rf"@{re.escape(item)}(?!\w)", values) is not None


def _find_file(name: str, near: Path | None = None) -> Path:
    """Return the file of a recipe or overlay, from a path or a name; one beside another is looked for there first."""
    if Path(name).suffix in (".yaml", ".yml", ".json"):
        if Path(name).is_file():
            return Path(name)
        raise InputError(name, "no such recipe file", "check the path")
    files = [file for folder in ([near] if near else []) + [*_FOLDERS] for file in folder.glob("*.yaml")]
    for file in files:
        if file.stem == name:
            return file
    known = ", ".join(sorted({file.stem for file in files}))
    there = f"name the path of a YAML file or one of {known}"
    nothing = "named recipes are in the repository's configs; name the path of a YAML file"
    raise InputError(name, "no such recipe", there if known else nothing)


def _choose_bundle(file: Path, own: str | None, given: str | Path | None) -> Path:
    """Return the folder of the bundle that is given, unless the recipe names another one; else of the recipe's own."""
    configs = "train.yaml", *_SCORING
    if given is None:
        # A path from the repository's root, where this is not the current folder, is the bundle of that name.
        name = DEFAULT if own is None else str(own) if (Path(own) / "configs").is_dir() else Path(own).name
        return find_bundle(name, *configs)
    found = find_bundle(str(given), *configs)
    if own is not None and Path(own).resolve().name not in (found.name, found.resolve().name):
        raise InputError(
            f"--bundle {given}",
            f"recipe {file.stem} is an overlay on {Path(own).name}",
            "leave it out, or name another recipe",
        )
    return found

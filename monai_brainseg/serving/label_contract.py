"""What a MONAI Label server asks of a bundle in its app, checked without a server and without a network.

MONAI Label 0.8.5 finds files, ids and keys by fixed names. If one is missing it does not say so: it ignores the bundle,
puts masks in the wrong place, or serves random weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from brainseg_unet_scripts.copies import holds_same_code
from monai.bundle import ConfigParser

from monai_brainseg.errors import InputError
from monai_brainseg.findings import ERROR, Finding
from monai_brainseg.runs.bundle_folders import own_scripts
from monai_brainseg.serving.plain_networks import make_network, read_network
from monai_brainseg.weights.checkpoints import check_checkpoint

# The server makes these tasks of a folder whose name contains one of them.
_TASKS = ("deepedit", "deepgrow", "detection", "classification")
_INFERENCE = ("device", "network_def", "preprocessing", "inferer", "postprocessing")
_TRAINING = ("device", "network_def", "network", "run", "train::trainer::max_epochs")
_LISTS = ("train::dataset::data", "validate::dataset::data")
_MODELS = "$@bundle_root + '/models'"


def check_contract(bundle: Path, *, served: bool = True, trusted: bool = True) -> list[Finding]:
    """Return what keeps a MONAI Label server from serving and training a bundle.

    Args:
        bundle: its folder.
        served: it is in an app, as ``APP/model/NAME``; False leaves out what ``brainseg label install`` changes.
        trusted: build the network with any code that the config names, to compare its weights; False builds it only if
            `read_network` finds nothing but networks.
    """
    return [
        *_check_name(bundle),
        *_check_metadata(bundle / "configs" / "metadata.json"),
        *_check_inference(bundle),
        *_check_training(bundle, served),
        *_check_overlay(bundle / "configs" / "multi_gpu_train.yaml"),
        *_check_weights(bundle, trusted),
    ]


def _check_name(bundle: Path) -> Iterator[Finding]:
    name = bundle.resolve().name
    if re.search(r"[\s,]", name):
        yield Finding(ERROR, bundle, "the server's launcher splits names at spaces and commas", "rename the folder")
    for task in _TASKS:
        if task in name.lower():
            yield Finding(ERROR, bundle, f"'{task}' in the folder's name makes it a {task} task", "rename the folder")


def _check_metadata(file: Path) -> Iterator[Finding]:
    try:
        formats = json.loads(file.read_bytes())["network_data_format"]
        first = {part: next(iter(formats[part])) for part in ("inputs", "outputs")}
        labels = list(formats["outputs"][first["outputs"]].get("channel_def", {}).values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        yield Finding(
            ERROR,
            file,
            f"gives no network_data_format with inputs and outputs ({type(error).__name__})",
            "write them, as JSON",
        )
        return
    for part, name in (("inputs", "image"), ("outputs", "pred")):
        if first[part] != name:
            yield Finding(
                ERROR, file, f"'{first[part]}' comes first in network_data_format's {part}", f"put '{name}' first"
            )
    if not [label for label in labels if label.lower() != "background"]:
        yield Finding(
            ERROR, file, "its channel_def of 'pred' names no label, so nothing can be drawn", "name each channel"
        )


def _load(file: Path) -> tuple[dict[str, Any] | None, list[Finding]]:
    """Read ``file``, or JSON in its place."""
    found = [path for path in (file.with_suffix(".json"), file) if path.is_file()]
    if not found:
        short = file.with_suffix(".yml")
        remedy = f"rename {short.name}" if short.is_file() else "add it"
        return None, [Finding(ERROR, file, "is missing, and the server looks only for this name or .json", remedy)]
    try:
        return ConfigParser.load_config_file(found[0]), []
    except Exception as error:  # errors of YAML and JSON readers have no common base
        return None, [Finding(ERROR, found[0], f"cannot be read ({' '.join(str(error).split())})", "correct it")]


def _miss(file: Path, config: ConfigParser, ids: tuple[str, ...]) -> Iterator[Finding]:
    for name in ids:
        if name not in config:
            yield Finding(ERROR, file, f"has no '{name}'", "add it: the server asks for it by this id")


def _list_transforms(config: ConfigParser, name: str) -> list[Any]:
    """Return the entries of a Compose, or list, of transforms that are not disabled."""
    listed = config.get(name, [])
    entries = listed.get("transforms", []) if isinstance(listed, Mapping) else listed
    return [entry for entry in entries if not (isinstance(entry, Mapping) and entry.get("_disabled_") is True)]


def _is(entry: Any, target: str, key: str) -> bool:
    keys = entry.get("keys", ()) if isinstance(entry, Mapping) else ()
    named = [keys] if isinstance(keys, str) else keys
    return key in named and str(entry.get("_target_", "")).endswith(target)


def _check_inference(bundle: Path) -> Iterator[Finding]:
    file = bundle / "configs" / "inference.yaml"
    content, problems = _load(file)
    yield from problems
    if content is None:
        return
    config = ConfigParser(content)
    yield from _miss(file, config, _INFERENCE)
    before, after = (_list_transforms(config, name) for name in ("preprocessing", "postprocessing"))
    if not any(_is(entry, "LoadImaged", "image") for entry in before):
        yield Finding(
            ERROR, file, "preprocessing has no LoadImaged of 'image'", "the server gives a file's name under that key"
        )
    if any(_is(entry, "Spacingd", "image") for entry in before):
        yield Finding(
            ERROR,
            file,
            "Spacingd of 'image' fails on the server's own key 'image_path'",
            "resample with SpatialResampled, or under another key",
        )
    if not any(_is(entry, "Invertd", "pred") for entry in after):
        yield Finding(
            ERROR,
            file,
            "postprocessing has no Invertd of 'pred': masks would be on another grid than the image",
            "add it",
        )
    kept = [entry for entry in after if not str(entry).count("SaveImaged")]  # the server removes these
    if not kept or not _is(kept[-1], "CastToTyped", "pred") or "uint8" not in str(kept[-1].get("dtype")):
        yield Finding(
            ERROR,
            file,
            "postprocessing does not end (SaveImaged aside) with CastToTyped of 'pred' to uint8",
            "add it: viewers refuse masks of another type",
        )


def _check_training(bundle: Path, served: bool) -> Iterator[Finding]:
    file = bundle / "configs" / "train.yaml"
    content, problems = _load(file)
    yield from problems
    if content is None:
        return
    config = ConfigParser(content)
    yield from _miss(file, config, (*_TRAINING, *_LISTS))
    handlers = config.get("train::handlers", None)
    if not isinstance(handlers, list) or not all(isinstance(handler, Mapping) for handler in handlers):
        yield Finding(
            ERROR,
            file,
            "train::handlers is not a plain list, but the server adds the loader of its weights to it",
            "write the handlers out there",
        )
    if served and config.get("ckpt_dir") != _MODELS:
        yield Finding(
            ERROR,
            file,
            "ckpt_dir is not the models folder of the copy: what the server trains would not be what it serves",
            f"ckpt_dir: {_MODELS}, or install the bundle with `brainseg label install`",
        )


def _check_overlay(file: Path) -> Iterator[Finding]:
    if not file.is_file():
        return
    content, problems = _load(file)
    yield from problems
    for name in content or {}:
        if re.match(r"\+?train(::|#)handlers(::|#)\d", name):
            yield Finding(
                ERROR,
                file,
                f"'{name}' numbers the handlers, but the server inserts one before them",
                "refer to an id in train.yaml instead",
            )


def check_scripts(bundle: Path, others: Sequence[Path]) -> Iterator[Finding]:
    """Compare a bundle's Python packages with those of the same name in others, as a server loads only one of them.

    Args:
        bundle: its folder.
        others: folders of the other bundles in its app.
    """
    for package in sorted(file.parent for file in bundle.glob("*/__init__.py")):
        for other in sorted(each / package.name for each in others if (each / package.name).is_dir()):
            if not holds_same_code(package, other):
                yield Finding(
                    ERROR,
                    package,
                    f"differs from {other}, and the server would run one of them for both bundles",
                    "install both bundles again, or serve this one in an app of its own",
                )


def _check_weights(bundle: Path, trusted: bool) -> Iterator[Finding]:
    models = bundle / "models"
    others = [file.name for file in sorted(models.glob("*.pt")) if file.name != "model.pt"]
    if others:
        yield Finding(
            ERROR,
            models / others[0],
            "the server offers every .pt, and uses the one with the shortest name",
            "move it away",
        )
    if not (models / "model.pt").is_file():
        if not (models / "model.ts").is_file():
            yield Finding(
                ERROR,
                models / "model.pt",
                "is missing, so the server ignores the bundle",
                "give weights with --checkpoint",
            )
        return
    content, _ = _load(bundle / "configs" / "inference.yaml")
    if content is None or "network_def" not in content:
        return
    try:
        definition = read_network(content)
        if definition is None and not trusted:
            return
        made = _make_own(bundle, content) if definition is None else make_network(definition)
    except Exception as error:  # any error of an unknown network
        reason = " ".join(str(error.__cause__ or error).split())[:120]
        yield Finding(
            ERROR, bundle / "configs" / "inference.yaml", f"network_def cannot be built ({reason})", "correct it"
        )
        return
    try:
        check_checkpoint(models / "model.pt", made)
    except InputError as error:
        remedy = "give others with --checkpoint: the server would use random weights"
        yield Finding(ERROR, error.where, f"{error.what}; {error.remedy}" if error.remedy else error.what, remedy)


def _make_own(bundle: Path, content: dict[str, Any]) -> torch.nn.Module:
    """Return the network of a config, built with any code that the config names."""
    with own_scripts(bundle):
        network: torch.nn.Module = ConfigParser({**content, "bundle_root": str(bundle.absolute())}).get_parsed_content(
            "network_def"
        )
    return network

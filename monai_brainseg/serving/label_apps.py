"""Bundles into a MONAI Label app: copied, adapted to a server that trains in place, checked against its contract."""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from monai_brainseg.errors import InputError
from monai_brainseg.findings import sum_up
from monai_brainseg.runs.bundle_folders import DEFAULT, find_bundle
from monai_brainseg.runs.commands import load_config
from monai_brainseg.runs.recipes import Recipe, merge_overlay, read_trained, select_inference
from monai_brainseg.serving.label_contract import check_contract, check_scripts
from monai_brainseg.weights.checkpoints import read_checkpoint, write_checkpoint

# The server trains in place: weights are written where it looks for them, all else beside them. It continues from
# trained weights on a few patients, and therefore has the settings of configs/finetune.yaml, but not pull_back, because
# it trains again and again, each time from the last weights.
SERVED = {
    "ckpt_dir": "$@bundle_root + '/models'",
    "output_dir": "$@bundle_root + '/training'",
    "pretrained": "false",  # it continues from the weights in models
    "overwrite": "true",  # it trains again and again, on several GPUs with a command of its own
    "val_interval": "2",
    "slices_per_volume": "64",
    "learning_rate": "0.0003",
}


def install(
    app: Path,
    bundles: Sequence[str],
    checkpoint: Path | None = None,
    *,
    recipe: str | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Copy bundles into a MONAI Label bundle app.

    Args:
        app: folder that ``monailabel apps --download --name monaibundle`` wrote.
        bundles: names or paths; none for the one that the recipe names, or the default.
        checkpoint: weights to serve instead of the ``models/model.pt`` of a bundle.
        recipe: overlay on the one bundle, or on the one that it names; the copy's name has both names.
        overwrite: replace bundles of these names in the app, with weights that the server trained.

    Returns:
        The names under which the server offers them.

    Raises:
        InputError: ``app`` is not such an app or has the bundle, there are no weights, or the copy does not meet the
            server's contract. The app is then unchanged.
    """
    _check_app(app)
    for option, value in (("--checkpoint", checkpoint), ("--recipe", recipe)):
        if value is not None and len(bundles) > 1:
            raise InputError(f"{option} {value}", f"needs a single bundle: install one at a time with {option}")
    overlay = None
    if recipe is None:
        sources = [find_bundle(bundle, "train.yaml", "inference.yaml") for bundle in bundles or [DEFAULT]]
        names = [source.resolve().name for source in sources]
    else:
        overlay = read_trained(recipe, bundles[0] if bundles else None, [checkpoint] if checkpoint else [])
        sources, names = [overlay.bundle], [f"{overlay.bundle.resolve().name}_{overlay.name}"]
    for name in names:
        if (app / "model" / name).exists() and not overwrite:
            raise InputError(
                app / "model" / name,
                "exists already, perhaps with weights that the server trained",
                "replace it with --overwrite",
            )
    for source, name in zip(sources, names, strict=True):
        _copy_bundle(source, app / "model" / name, checkpoint, overlay)
    return names


def format_start(app: Path, names: Sequence[str]) -> str:
    """Return the command that starts the server for this machine alone; DIR stands for the folder of the studies."""
    words = ["monailabel", "start_server", "--app", str(app), "--studies", "DIR", "--host", "127.0.0.1"]
    words += ["--port", "8000", "--conf", "models", ",".join(names)]
    return shlex.join([*words, "--conf", "zoo_source", "local", "--conf", "sam2", "false"])


def _check_app(app: Path) -> None:
    main = app / "main.py"
    if not main.is_file() or "BundleInferTask" not in main.read_text():
        raise InputError(
            app,
            "is not a MONAI Label bundle app",
            "make one with `monailabel apps --download --name monaibundle --output apps` and name apps/monaibundle",
        )
    if re.search(r"\s", str(app.resolve())):
        raise InputError(app.resolve(), "MONAI Label's launcher cannot take a path with spaces", "move the app")


def _copy_bundle(source: Path, target: Path, checkpoint: Path | None, recipe: Recipe | None) -> None:
    """Make the copy beside the app, check it, and move it in."""
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=target.parent) as folder:
        copy = Path(folder) / target.name
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", "*.pt"))
        weights = _copy_weights(source, copy, checkpoint)
        train = copy / "configs" / "train.yaml"
        if recipe is not None:
            _merge_file(train, recipe.content)
            _merge_file(copy / "configs" / "inference.yaml", select_inference(recipe))
        train.write_text(adapt_config(train.read_text()))
        others = [each for each in target.parent.iterdir() if each.name != target.name and each != Path(folder)]
        if findings := [*check_contract(copy), *check_scripts(copy, others)]:
            raise sum_up(findings, {copy / "models" / "model.pt": weights, copy: source})
        if target.exists():
            target.rename(Path(folder) / "replaced")
        copy.rename(target)


def _merge_file(file: Path, overlay: Mapping[str, Any]) -> None:
    """Rewrite a config with an overlay; an id with one value keeps a line of its own, as ``adapt_config`` needs it."""
    file.write_text(yaml.safe_dump(merge_overlay(load_config(file), overlay).get(), sort_keys=False, width=10**6))


def _copy_weights(source: Path, copy: Path, checkpoint: Path | None) -> Path:
    """Return which file they are, or would be."""
    weights = checkpoint or source / "models" / "model.pt"
    (copy / "models").mkdir(exist_ok=True)
    if weights.is_file():
        _copy_unwrapped(weights, copy / "models" / "model.pt")
    elif checkpoint is not None:
        read_checkpoint(checkpoint)  # says why it cannot
    if checkpoint is not None:  # an export of the bundle's own weights does not hold these
        (copy / "models" / "model.ts").unlink(missing_ok=True)
    return weights


def _copy_unwrapped(weights: Path, target: Path) -> None:
    """Copy weights; those that were wrapped are written anew, as the server would not take them."""
    content = read_checkpoint(weights)
    if "wrapped" in content:
        write_checkpoint(content, target)
    else:
        shutil.copyfile(weights, target)


def adapt_config(text: str) -> str:
    """Return the text of a ``train.yaml`` with the values of ``SERVED``; all else, comments too, stays as it is.

    Raises:
        InputError: one of these ids is not on a line of its own.
    """
    for name, value in SERVED.items():
        line = re.compile(rf"^{name}: .*?( #.*)?$", re.MULTILINE)
        if (count := len(line.findall(text))) != 1:
            raise InputError("train.yaml", f"has {count} lines '{name}: …', but the server needs one")
        text = line.sub(rf"{name}: {value}\1", text)
    return text

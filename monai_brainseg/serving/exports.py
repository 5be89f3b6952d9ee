"""A bundle's network as TorchScript and as ONNX, with its weights."""

from __future__ import annotations

import hashlib
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, ckpt_export

from monai_brainseg.errors import InputError
from monai_brainseg.files import write_beside
from monai_brainseg.prediction.segmenters import load_network
from monai_brainseg.runs.bundle_folders import DEFAULT, find_bundle, own_scripts
from monai_brainseg.runs.recipes import read_trained, select_inference
from monai_brainseg.serving.model_zoo import write_archive
from monai_brainseg.serving.onnx_files import check_package, write_onnx
from monai_brainseg.weights.checkpoints import read_checkpoint, write_checkpoint, write_half_precision

_METADATA = Path("configs") / "metadata.json"
_CONFIG = Path("configs") / "inference.yaml"
_REMEDY = "correct the network or the disk problem, or choose another --format"


def export(form: str, bundle: str | None, checkpoint: Path | None, output: Path, recipe: str | None = None) -> None:
    """Write trained weights in another format, whole or not at all.

    Args:
        form: one of ``FORMS``.
        bundle: name or path of their bundle; None for that of the recipe, or the default.
        checkpoint: the weights; None takes the bundle's own.
        output: file to write.
        recipe: that the weights were trained with; None for the bundle itself.

    Raises:
        InputError: the bundle is missing, the weights are another network's, the file cannot be written, a package is
            missing, or the bundle would not pass the model zoo's checks.
    """
    overlay: dict[str, Any] = {}
    if recipe is None:
        folder = find_bundle(bundle or DEFAULT, "inference.yaml")
    else:
        trained = read_trained(recipe, bundle, [checkpoint] if checkpoint else [])
        folder, overlay = trained.bundle, select_inference(trained)
        if form == "bundle":
            remedy = "copy the bundle, and write the recipe into its configs, metadata and README"
            raise InputError(f"--recipe {recipe}", "the zip would describe the bundle's own network", remedy)
    weights = checkpoint or folder / "models" / "model.pt"
    if output.exists() and weights.exists() and output.samefile(weights):
        raise InputError(output, "is the checkpoint itself, which would be lost", "name another --output")
    if output.is_dir():
        raise InputError(output, "is a folder", "name a file with --output")
    with _silence_exporters():
        FORMS[form](folder, weights, output, overlay)


def _export_half(bundle: Path, weights: Path, output: Path, overlay: Mapping[str, Any]) -> None:
    write_half_precision(weights, output)


def _export_torchscript(bundle: Path, weights: Path, output: Path, overlay: Mapping[str, Any]) -> None:
    """Write with MONAI's own export; the file holds the metadata and the config too."""
    load_network(bundle, [weights], overlay)  # refuses what MONAI would load in part
    if output.suffix != ".ts":  # MONAI adds it if it is missing
        raise InputError(output, "the name of a TorchScript file must end in .ts", "name another --output")
    with (
        tempfile.TemporaryDirectory() as folder,
        write_beside(output) as unfinished,
        _explain_failure(bundle, "TorchScript"),
        own_scripts(bundle),
    ):
        plain = Path(folder) / "model.pt"  # without what other programs wrap weights in
        write_checkpoint(read_checkpoint(weights), plain)
        ckpt_export(
            net_id="network_def",
            filepath=str(unfinished),
            ckpt_file=str(plain),
            meta_file=str(bundle / _METADATA),
            config_file=str(bundle / _CONFIG),
            key_in_ckpt="model",
            **{**overlay, "bundle_root": str(bundle.absolute())},
        )


def _export_onnx(bundle: Path, weights: Path, output: Path, overlay: Mapping[str, Any]) -> None:
    """Write with the code of MONAI's own export, and name origin and licence in the file."""
    check_package()
    import onnx

    metadata = ConfigParser.load_config_file(bundle / _METADATA)
    with write_beside(output) as unfinished:
        network = load_network(bundle, [weights], overlay)
        with _explain_failure(bundle, "ONNX"):
            write_onnx(network, unfinished)
        model = onnx.load(unfinished)
        names = ("name", "version", "license", "intended_use")
        given = {name: str(metadata[name]) for name in names if name in metadata}
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        onnx.helper.set_model_props(model, {**given, "bundle": bundle.resolve().name, "weights_sha256": digest})
        onnx.save(model, unfinished)


@contextmanager
def _explain_failure(bundle: Path, form: str) -> Iterator[None]:
    """Report in one line why an exporter of torch or MONAI cannot write a network."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError, OSError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(bundle, f"cannot be written as {form} ({type(error).__name__}: {reason})", _REMEDY) from error


@contextmanager
def _silence_exporters() -> Iterator[None]:
    """Hide MONAI's summary of its arguments, and the warnings that it gives for any config."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _export_bundle(bundle: Path, weights: Path, output: Path, overlay: Mapping[str, Any]) -> None:
    write_archive(bundle, weights, output)


FORMS: dict[str, Callable[[Path, Path, Path, Mapping[str, Any]], None]] = {
    "half": _export_half,
    "torchscript": _export_torchscript,
    "onnx": _export_onnx,
    "bundle": _export_bundle,
}

"""A bundle applied to volumes: the transforms, network and inferer of its ``inference.yaml``, as under MONAI Label."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from brainseg_unet_scripts.starts import list_causes
from monai.data import ImageReader
from monai.networks.nets import FlexibleUNet
from monai.transforms import LoadImaged

from monai_brainseg.data.naming import SEQUENCES
from monai_brainseg.errors import InputError
from monai_brainseg.images.volumes import Volume
from monai_brainseg.prediction.familiarity import Descriptor, Familiar, StudyDescriber, from_checkpoint
from monai_brainseg.runs.bundle_folders import own_scripts
from monai_brainseg.runs.commands import load_config
from monai_brainseg.runs.recipes import merge_overlay
from monai_brainseg.weights.checkpoints import check_checkpoint, read_checkpoint
from monai_brainseg.weights.ensembles import MeanNetwork

_CONFIG = Path("configs") / "inference.yaml"
_IN_MEMORY = "study"


@dataclass(frozen=True)
class Segmentation:
    """What a network makes of a study, on the study's grid.

    Attributes:
        mask: bool ``[x, y, z]``.
        probability: of tumour, float32, of the same shape.
        descriptor: of the study, see ``familiarity``; None if it shows no head, or the network cannot describe it.
        notes: what had to be done differently, e.g. because there was too little memory.
    """

    mask: np.ndarray
    probability: np.ndarray
    descriptor: Descriptor | None
    notes: tuple[str, ...]


class MemoryReader(ImageReader):
    """A reader for MONAI's ``LoadImage`` that returns a volume in memory, so that no file is needed."""

    volume: Volume | None = None

    def verify_suffix(self, filename: Any) -> bool:
        """Does it read this? It is asked for nothing else."""
        return True

    def read(self, data: Any, **kwargs: Any) -> Volume | None:
        """Return the volume."""
        return self.volume

    def get_data(self, img: Volume) -> tuple[np.ndarray, dict[str, Any]]:
        """Return voxels and metadata, as ``NibabelReader`` does."""
        shape = np.array(img.voxels.shape[:3])
        channel = 3 if img.voxels.ndim == 4 else float("nan")
        meta = {"affine": img.affine, "original_affine": img.affine.copy(), "spatial_shape": shape, "space": "RAS"}
        return img.voxels, {**meta, "original_channel_dim": channel, "filename_or_obj": _IN_MEMORY}


@dataclass
class Segmenter:
    """A bundle's components, loaded.

    Attributes:
        reader: what the preprocessing reads from.
        preprocessing: dictionary transform that begins with loading ``image``.
        network: in evaluation mode, on its device.
        inferer: of a batch and a network.
        windows: the sliding window beneath it, whose ``sw_batch_size`` is lowered when a GPU runs out of memory.
        postprocessing: dictionary transform of ``image`` and ``pred``; nothing is saved by it.
        device: where the network runs.
        precision: in which.
        describer: of studies; None for a network other than a ``FlexibleUNet``.
        familiar: the studies that the network is familiar with; None if its weights do not say.
    """

    reader: MemoryReader
    preprocessing: Callable[[Any], Any]
    network: torch.nn.Module
    inferer: Callable[..., torch.Tensor]
    windows: Any
    postprocessing: Callable[[Any], Any]
    device: torch.device
    precision: torch.dtype
    describer: StudyDescriber | None = None
    familiar: Familiar | None = None
    notes: list[str] = field(default_factory=list)

    def segment(self, images: Mapping[str, Volume], scale: float = 1.0) -> Segmentation:
        """Segment one study; a missing sequence is FLAIR's.

        Args:
            images: sequences on one grid; ``flair`` is among them.
            scale: of the spacing within slices, where it is unknown.

        Raises:
            InputError: there is not enough memory.
        """
        self.notes = []
        self.reader.volume = _gather(images, scale)
        data = self.preprocessing({"image": _IN_MEMORY})
        self.reader.volume = None
        with torch.inference_mode():
            prediction = self._answer(data["image"])
            try:
                output = self.postprocessing({**data, "pred": prediction})
            except RuntimeError as error:  # MONAI's transforms wrap the error in their own
                if not any(isinstance(cause, torch.cuda.OutOfMemoryError) for cause in list_causes(error)):
                    raise
                self.notes.append("the GPU has too little memory for the volume: masks were made on the CPU")
                output = self.postprocessing({**data, "pred": prediction.cpu()})
        mask, probability = (torch.as_tensor(output[key])[0].cpu().numpy() for key in ("pred", "probability"))
        descriptor = self.describer.finish() if self.describer else None
        return Segmentation(mask > 0, probability.astype(np.float32, copy=False), descriptor, tuple(self.notes))

    def _answer(self, image: torch.Tensor) -> torch.Tensor:
        """Return ``[class, x, y, z]`` of the network's answers, with smaller batches where memory runs out."""
        while True:
            if self.describer:
                self.describer.start()
            try:
                batch = torch.as_tensor(image)[None].to(self.device)
                return self.inferer(batch, lambda windows: predict_unique_windows(self.network, windows))[0]
            except torch.cuda.OutOfMemoryError as error:
                if self.windows.sw_batch_size <= 1:
                    raise InputError(
                        "the GPU",
                        "has too little memory for one slice",
                        "end other programs on it, or give --device cpu",
                    ) from error
                self.windows.sw_batch_size //= 2
                torch.cuda.empty_cache()
                self.notes.append(f"the GPU ran out of memory: batches were cut to {self.windows.sw_batch_size} slices")


def predict_unique_windows(network: Callable[[torch.Tensor], torch.Tensor], windows: torch.Tensor) -> torch.Tensor:
    """Return a network's output for windows ``[batch, channel, x, y]``; those of a single value are computed once.

    Most are the air above the head; equal windows have equal outputs, so only the time changes.
    """
    windows = torch.as_tensor(windows)
    flat = windows.flatten(2)
    empty = (flat == flat[..., :1]).all(-1).all(-1).nonzero()[:, 0]
    if len(empty) < 2:
        return network(windows)
    values, kinds = flat[empty, :, 0].unique(dim=0, return_inverse=True)
    first = torch.stack([empty[kinds == kind][0] for kind in range(len(values))])
    source = torch.arange(len(windows), device=windows.device)
    source[empty] = first[kinds]
    asked, back = source.unique(return_inverse=True)
    return network(windows[asked])[back]


def load_bundle(
    bundle: Path,
    checkpoints: Sequence[Path],
    device: torch.device,
    overrides: Mapping[str, Any],
    overlay: Mapping[str, Any] | None = None,
) -> Segmenter:
    """Load a bundle's components and its weights; of several the probabilities are averaged.

    MONAI runs the code that a bundle's config names: load only bundles that you trust.

    Args:
        bundle: its folder.
        checkpoints: files of weights, at least one.
        device: where the network runs.
        overrides: ids of ``inference.yaml`` and values.
        overlay: a recipe's ids and values, merged into the config before.

    Raises:
        InputError: weights are missing or another network's, or the bundle lacks an id.
    """
    _silence_libraries()
    parser = merge_overlay(load_config(bundle / _CONFIG), overlay or {})
    needed = ("network_def", "preprocessing", "inferer", "postprocessing", *(name.split("::")[0] for name in overrides))
    for name in needed:
        if name not in parser:
            raise InputError(bundle / _CONFIG, f"has no {name!r}", "choose another bundle, or leave the option out")
    parser.update({**overrides, "bundle_root": str(bundle.absolute()), "device": device})
    with own_scripts(bundle):
        network = _load_weights(parser.get_parsed_content("network_def"), checkpoints).to(device).eval()
        inferer = parser.get_parsed_content("inferer")
        windows = parser.get_parsed_content("slice_inferer") if "slice_inferer" in parser else inferer
        preprocessing, postprocessing = map(parser.get_parsed_content, ("preprocessing", "postprocessing"))
        precision = parser.get_parsed_content("precision") if "precision" in parser else torch.float32
    reader = MemoryReader()
    for step in preprocessing.transforms:
        if isinstance(step, LoadImaged):
            step.register(reader)  # which is asked before the others
    describer = StudyDescriber(network) if isinstance(network, FlexibleUNet) else None
    familiar = from_checkpoint(read_checkpoint(checkpoints[0]), checkpoints[0]) if describer else None
    return Segmenter(
        reader, preprocessing, network, inferer, windows, postprocessing, device, precision, describer, familiar
    )


def _silence_libraries() -> None:
    """Hide warnings about skimage's arguments in MONAI, and about GPU readers that are not installed."""
    logging.getLogger("monai.data").setLevel(logging.ERROR)
    for message in ("Parameter `min_size` is deprecated", "NvImgCodecPydicomReader"):
        warnings.filterwarnings("ignore", message=message)


def load_network(
    bundle: Path, checkpoints: Sequence[Path], overlay: Mapping[str, Any] | None = None
) -> torch.nn.Module:
    """Return a bundle's network alone with its weights, on the CPU and in evaluation mode; of several their mean.

    Args:
        bundle: its folder.
        checkpoints: files of weights, at least one.
        overlay: a recipe's ids and values, merged into the config before.

    Raises:
        InputError: weights are missing or another network's.
    """
    parser = merge_overlay(load_config(bundle / _CONFIG), overlay or {})
    parser.update({"bundle_root": str(bundle.absolute())})
    with own_scripts(bundle):
        return _load_weights(parser.get_parsed_content("network_def"), checkpoints).eval()


def _load_weights(network: torch.nn.Module, checkpoints: Sequence[Path]) -> torch.nn.Module:
    for file in checkpoints:
        check_checkpoint(file, network)
    states = [read_checkpoint(file)["model"] for file in checkpoints]
    if len(states) == 1:
        network.load_state_dict(states[0])
        return network
    together = MeanNetwork(network, len(states))
    for member, state in zip(together.networks, states, strict=True):
        member.load_state_dict(state)
    return together


def _gather(images: Mapping[str, Volume], scale: float) -> Volume:
    """Return FLAIR alone, or all sequences along a fourth axis, with a spacing that is scaled within slices."""
    flair = images["flair"]
    voxels = flair.voxels
    if len(images) > 1:
        voxels = np.stack([images.get(sequence, flair).voxels for sequence in SEQUENCES], axis=-1)
    leads = nib.orientations.io_orientation(flair.affine)[:, 0]
    factors = np.array([1.0 if lead == 2 else scale for lead in leads] + [1.0])
    return Volume(voxels, flair.affine * factors, flair.spacing_known)

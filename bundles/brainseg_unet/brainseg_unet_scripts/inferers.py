"""Running a network: in the precision that its device is good at, and on the mirrored volume too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer

from brainseg_unet_scripts.precision import Amp, select_precision


class AutocastInferer(Inferer):
    """Let another inferer run its network under autocast, and return its output in float32.

    So losses and the blending of windows stay exact. MONAI's engines autocast on CUDA only; this does on every device.

    Args:
        inferer: what cuts the input into what the network takes, e.g. ``SimpleInferer`` or ``SliceInferer``.
        amp: ``"auto"``, True or False, by which `select_precision` chooses for the device of each input (a label server
            may be asked for one device and then another); or a precision itself, such as ``torch.float32``.

    Example::

        inferer = AutocastInferer(SimpleInferer())
        logits = inferer(images, network)  # float32
    """

    def __init__(self, inferer: Callable[..., Any], amp: Amp = "auto") -> None:
        super().__init__()
        self.inferer = inferer
        self.amp = amp

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return ``network``'s output for ``inputs``, or its outputs if there are several, in float32."""
        precision = select_precision(self.amp, inputs.device)

        def compute(*images: Any, **options: Any) -> Any:
            with torch.autocast(inputs.device.type, dtype=precision, enabled=precision != torch.float32):
                answer = network(*images, **options)
            return answer.float() if isinstance(answer, torch.Tensor) else [each.float() for each in answer]

        return self.inferer(inputs.float(), compute, *args, **kwargs)


class MirroringInferer(Inferer):
    """Average another inferer's outputs for a volume and for its mirror image, which takes twice the time.

    Args:
        inferer: e.g. ``SliceInferer``.
        flip: False leaves the mirror image out.
    """

    def __init__(self, inferer: Callable[..., torch.Tensor], flip: bool) -> None:
        super().__init__()
        self.inferer = inferer
        self.flip = flip

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Return ``[batch, class, x, y, z]`` for ``[batch, channel, x, y, z]``; x runs from left to right."""
        answer = self.inferer(inputs, network)
        return (answer + self.inferer(inputs.flip(2), network).flip(2)) / 2 if self.flip else answer

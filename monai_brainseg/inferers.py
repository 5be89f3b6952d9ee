"""Running a network in the half precision its device is fast at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer


def half_precision(device: torch.device | str) -> torch.dtype:
    """Return the 16-bit type a device computes fastest in without losing range where it can: bfloat16, else float16."""
    if torch.device(device).type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16
    return torch.bfloat16


class HalfPrecisionInferer(Inferer):
    """Run another inferer under autocast and hand its answer back in float32, so that losses stay exact.

    MONAI's engines autocast on CUDA only; this works on every device, and around whole sliding-window inferers.

    Args:
        inferer: what cuts the input into what the network takes, e.g. ``SimpleInferer`` or ``SliceInferer``.
        device: where the network runs; decides the 16-bit type. A label server names it by a text.
        amp: False runs in the network's own precision.

    Example::

        inferer = HalfPrecisionInferer(SimpleInferer(), torch.device("cpu"))
        logits = inferer(images, network)  # float32
    """

    def __init__(self, inferer: Inferer, device: torch.device | str, amp: bool = True) -> None:
        super().__init__()
        self.inferer = inferer
        self.device = torch.device(device)
        self.amp = amp

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return ``network``'s answer to ``inputs``, or its answers where it gives several, in float32."""
        with torch.autocast(self.device.type, dtype=half_precision(self.device), enabled=self.amp):
            answer = self.inferer(inputs.float(), network, *args, **kwargs)
        return answer.float() if isinstance(answer, torch.Tensor) else [each.float() for each in answer]

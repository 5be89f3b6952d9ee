"""The device that a network runs on, and the precision in which it computes there: 16 bit if that is native."""

from __future__ import annotations

import logging
import platform
from typing import Literal

import torch

from brainseg_unet_scripts.errors import BundleError

logger = logging.getLogger(__name__)

# What `amp` of a config may be; a resumed training gives the precision itself.
Amp = bool | Literal["auto"] | torch.dtype


def select_device() -> torch.device:
    """Return the CUDA device if torch has one, else Apple's (mps), else the CPU.

    This bundle is untested on mps; a run there says so in its log.
    """
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        logger.warning("device: mps, on which this bundle is untested; compare its masks with those of a CPU")
        return torch.device("mps")
    return torch.device("cpu")


def select_precision(amp: Amp, device: torch.device | str) -> torch.dtype:
    """Return the type in which a device is to compute the layers that autocast covers.

    Args:
        amp: ``"auto"`` takes 16 bit if the device computes it natively: bfloat16, or float16 on a CUDA GPU without;
            True takes 16 bit on every device, False float32. A type is returned as it is.
        device: a label server gives its name.

    Raises:
        BundleError: ``amp`` is something else.
    """
    if isinstance(amp, torch.dtype):
        return amp
    if amp != "auto" and not isinstance(amp, bool):
        raise BundleError(f"--amp {amp}", "must be auto, True or False")
    kind = torch.device(device).type
    if amp is False or amp == "auto" and not _has_bfloat16(kind) and kind != "cuda":
        return torch.float32
    return torch.float16 if kind == "mps" or kind == "cuda" and not _has_bfloat16(kind) else torch.bfloat16


def needs_scaled_loss(precision: torch.dtype, device: torch.device | str) -> bool:
    """Must the loss be scaled, so that gradients do not vanish? Yes for float16; there is a scaler for CUDA."""
    return precision == torch.float16 and torch.device(device).type == "cuda"


def is_native(precision: torch.dtype, device: torch.device | str) -> bool:
    """Does the device compute this type natively? If not, torch emulates it, which is slow."""
    kind = torch.device(device).type
    if precision == torch.float16:
        return kind in ("cuda", "mps")
    return precision == torch.float32 or _has_bfloat16(kind)


def _has_bfloat16(kind: str) -> bool:
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind != "cpu":
        return False
    if platform.machine().lower() in ("arm64", "aarch64"):  # untested by us
        check = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)  # on x86 it is true for emulation too
        return check is not None and bool(check())
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return False
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in checks)


def name_precision(precision: torch.dtype) -> str:
    """Return its name, such as ``bfloat16``, as records have it."""
    return str(precision).removeprefix("torch.")


def describe_precision(precision: torch.dtype, device: torch.device | str, amp: Amp = "auto") -> str:
    """Return the selected precision and the reason as text, such as ``float32 (this CPU has no bfloat16)``."""
    kind = torch.device(device).type
    here = {"cpu": "this CPU", "cuda": "this GPU"}.get(kind, kind)
    if isinstance(amp, bool):
        why = f"amp is {amp}"
    elif kind not in ("cpu", "cuda"):
        why = f"16 bit is untested on {kind}"
    else:
        why = f"{here} has {'' if _has_bfloat16(kind) else 'no '}bfloat16"
    slow = "" if is_native(precision, device) else f"; {here} emulates it, which is many times slower than float32"
    return f"{name_precision(precision)} ({why}{slow})"


def choose_precision(amp: Amp, device: torch.device | str) -> torch.dtype:
    """Select a precision as ``select_precision`` does, and log it.

    Raises:
        BundleError: ``amp`` is neither auto nor True nor False.
    """
    precision = select_precision(amp, device)
    logger.info("precision: %s", describe_precision(precision, device, amp))
    return precision

"""Machines as torch describes them, to choose a precision on."""

from __future__ import annotations

import platform
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from brainseg_unet_scripts import precision as precisions

BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32

# What torch says of a machine; the device on it; what auto and True select there.
MACHINES: dict[str, tuple[dict[str, Any], str, torch.dtype, torch.dtype]] = {
    "GPU with bfloat16": ({"gpu": True}, "cuda", BF16, BF16),
    "second GPU": ({"gpu": True}, "cuda:1", BF16, BF16),
    "older GPU": ({"gpu": False}, "cuda", FP16, FP16),
    "AVX-512 BF16": ({"capability": "AVX512", "bf16": True}, "cpu", BF16, BF16),
    "AMX": ({"capability": "AVX512_VNNI", "amx": True}, "cpu", BF16, BF16),
    "AVX-512 alone": ({"capability": "AVX512"}, "cpu", FP32, BF16),
    "torch told to keep to AVX2": ({"capability": "AVX2", "bf16": True, "amx": True}, "cpu", FP32, BF16),
    "AVX-512 under a torch that cannot tell": ({"capability": "AVX512", "untold": True}, "cpu", FP32, BF16),
    "Arm with BF16": ({"machine": "aarch64", "arm": True}, "cpu", BF16, BF16),
    "Arm without": ({"machine": "arm64", "arm": False}, "cpu", FP32, BF16),
    "Arm under a torch that cannot tell": ({"machine": "arm64", "arm": None}, "cpu", FP32, BF16),
    "Apple's GPU": ({}, "mps", FP32, FP16),
}


def imitate(
    monkeypatch: pytest.MonkeyPatch,
    *,
    gpu: bool = False,
    capability: str = "DEFAULT",
    bf16: bool = False,
    amx: bool = False,
    untold: bool = False,
    machine: str = "x86_64",
    arm: bool | None = False,
) -> None:
    """Let torch answer as it does on a machine."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: gpu or including_emulation)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    checks = {} if untold else {"_is_avx512_bf16_supported": lambda: bf16, "_is_amx_tile_supported": lambda: amx}
    mkldnn = {} if arm is None else {"_is_mkldnn_bf16_supported": lambda: arm}
    monkeypatch.setattr(precisions.torch, "cpu", SimpleNamespace(**checks))
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace(**mkldnn))

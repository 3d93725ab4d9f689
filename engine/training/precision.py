"""Mixed precision: which number formats a training computes in, and the scaler that fp16 needs."""

from __future__ import annotations

import contextlib
import warnings
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch
from torch.amp.grad_scaler import GradScaler

from torchconsole.engine.config import schema
from torchconsole.engine.errors import DeviceError

Format = Literal["fp32", "tf32", "bf16", "fp16"]

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """What `training.precision` means on a device."""

    name: Format
    autocast: AbstractContextManager[object]
    """Entered around every forward pass and its loss; may be entered again after it was left."""
    scaler: GradScaler | None
    """Scales the loss so that small fp16 gradients do not vanish; None for other formats."""


def choose_precision(requested: schema.Precision, device: torch.device) -> Precision:
    """Choose the formats of matrix products on `device`; TF32 is a process-wide setting of torch.

    `auto` means bf16 on GPUs of compute capability 8.0 and up, and fp32 elsewhere. Raises DeviceError for a
    format that the device does not support.
    """
    name = _auto(device) if requested == "auto" else requested
    if name == "tf32" and device.type != "cuda":
        raise DeviceError(
            f"training.precision: tf32 needs an NVIDIA GPU, but the device is {device}; use fp32"
        )
    if device.type == "cuda":
        _allow_tf32(name != "fp32")
    if name not in AUTOCAST:
        return Precision(name, contextlib.nullcontext(), None)
    scaler = GradScaler(device.type) if name == "fp16" else None
    return Precision(name, torch.autocast(device.type, AUTOCAST[name]), scaler)


def _auto(device: torch.device) -> Format:
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return "bf16"
    return "fp32"


def _allow_tf32(allowed: bool) -> None:
    """Set whether what autocast leaves in float32 may be multiplied in TF32 (10 bits of mantissa)."""
    with warnings.catch_warnings(action="ignore"):
        # torch 2.9 warns about these names, but its compiler fails with the new ones.
        torch.set_float32_matmul_precision("high" if allowed else "highest")
        torch.backends.cudnn.allow_tf32 = allowed

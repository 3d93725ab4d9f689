"""Settings of a preset that cannot be combined with sharding, `distributed.strategy = "fsdp"`."""

from __future__ import annotations

import torch

from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import ComponentError

DDP = 'or set distributed.strategy to "ddp"'


def require_shardable(preset: Preset, device: torch.device) -> None:
    """Raise ComponentError for settings of a preset that cannot be combined with sharding."""
    training, offload = preset.training, preset.distributed.cpu_offload
    if offload and device.type == "cpu":
        raise ComponentError(
            "distributed.cpu_offload: it moves weights from GPUs to the host's memory, but this training "
            "runs on the CPU; set it to false"
        )
    if training.channels_last:
        raise ComponentError(
            "training.channels_last: torch shards contiguous weights only; set training.channels_last to "
            f"false, {DDP}"
        )
    if offload and training.precision == "fp16":
        raise ComponentError(
            "training.precision: with distributed.cpu_offload, fp16 gradients cannot be unscaled; use bf16"
        )
    if offload and training.nonfinite == "skip":
        raise ComponentError(
            'training.nonfinite: "skip" does not work with distributed.cpu_offload; set it to "stop"'
        )

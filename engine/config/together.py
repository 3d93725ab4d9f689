"""Settings of a preset that several processes cannot train with."""

from __future__ import annotations

from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import ComponentError

DDP = 'or set distributed.strategy to "ddp"'


def require_trainable_together(preset: Preset, *, on_cpu: bool) -> None:
    """Raise ComponentError for what several processes cannot do, whatever the model and the data are."""
    config = preset.distributed
    if config.sync_batchnorm and on_cpu:
        raise ComponentError(
            "distributed.sync_batchnorm: torch has it for GPUs only, and this training runs on the CPU; set "
            "it to false"
        )
    if config.strategy != "fsdp":
        return
    if preset.model.device_map is not None:
        raise ComponentError(
            'model.device_map: strategy = "fsdp" splits the weights itself; remove device_map, or set '
            'distributed.strategy = "ddp"'
        )
    _require_shardable(preset, on_cpu=on_cpu)


def _require_shardable(preset: Preset, *, on_cpu: bool) -> None:
    training, offload = preset.training, preset.distributed.cpu_offload
    if offload and on_cpu:
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

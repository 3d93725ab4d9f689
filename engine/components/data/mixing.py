"""Transforms of whole training batches, of inputs and targets together: MixUp, CutMix, or the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from torchconsole.engine.components.data.order import (
    MIX,
    preserved_randomness,
    sample_seed,
    seed_sample,
    stream_seed,
)
from torchconsole.engine.components.data.transforms import TRANSFORM_ERRORS
from torchconsole.engine.components.data.types import DataSpec, TrainBatches
from torchconsole.engine.components.devices import DEVICE_ERRORS
from torchconsole.engine.components.instantiate import UserCode, call, pick
from torchconsole.engine.components.torchvision_compat import import_torchvision
from torchconsole.engine.config.schema import TransformConfig
from torchconsole.engine.config.user_code import is_own
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.text import first_line

MIXERS = ("MixUp", "CutMix")
"""Classes of torchvision.transforms.v2 that mix a batch (Zhang et al. 2017, Yun et al. 2019)."""

SECTION = "data.transforms.batch"

Mixer = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class MixedBatches:
    """Training batches, each mixed by one of `mixers`; the draw is a function of (seed, epoch, batch).

    Class indices (B,) int64 become probabilities (B, C) float32.
    """

    def __init__(self, batches: TrainBatches, mixers: Sequence[Mixer], seed: int) -> None:
        self._batches = batches
        self._mixers = mixers
        self._seed = seed
        self.batches_per_epoch = batches.batches_per_epoch
        self.samples_per_epoch = batches.samples_per_epoch

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """See `TrainBatches.epoch`. Raises ComponentError for batches that cannot be mixed."""
        stream = stream_seed(self._seed, epoch, MIX)
        for number, (inputs, targets) in enumerate(self._batches.epoch(epoch, start), start=start):
            with preserved_randomness():
                seed_sample(sample_seed(stream, number))
                chosen = int(torch.randint(len(self._mixers), ())) if len(self._mixers) > 1 else 0
                mixed = self._mix(chosen, inputs, targets)
            yield mixed

    def _mix(self, chosen: int, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if inputs.ndim != 4 and type(self._mixers[chosen]).__name__ in MIXERS:
            name, shape = type(self._mixers[chosen]).__name__, tuple(inputs.shape[1:])
            raise ComponentError(f"{SECTION}.{chosen}: {name} is for images, but an input has shape {shape}")
        try:
            inputs, targets = self._mixers[chosen](inputs, targets)
        except DEVICE_ERRORS:
            raise
        except TRANSFORM_ERRORS as error:
            raise ComponentError(
                f"{SECTION}.{chosen}: cannot be applied to inputs {tuple(inputs.shape)} and targets "
                f"{tuple(targets.shape)}: {first_line(error)}"
            ) from error
        return inputs, targets


def mix(
    batches: TrainBatches, configs: Sequence[TransformConfig], spec: DataSpec, seed: int, user_code: UserCode
) -> TrainBatches:
    """Apply the batch transforms of `configs` to `batches`; return them as they are if there are none.

    Raises ComponentError for an unknown name or argument, TrustError for user code that is not trusted.
    """
    if not configs:
        return batches
    mixers = [_build(f"{SECTION}.{number}", config, spec, user_code) for number, config in enumerate(configs)]
    return MixedBatches(batches, mixers, seed)


def _build(section: str, config: TransformConfig, spec: DataSpec, user_code: UserCode) -> Mixer:
    mixer: Any
    if is_own(config.name):
        found = user_code.resolve(section, config.name)
        mixer = call(section, found, {}, config.arguments) if isinstance(found, type) else found
    else:
        v2 = import_torchvision("transforms.v2")
        factory = pick(section, config.name, {name: getattr(v2, name) for name in MIXERS})
        classes = spec.num_outputs if spec.task == "multiclass" else None
        mixer = call(section, factory, {"num_classes": classes}, config.arguments)
    if not callable(mixer):
        raise ComponentError(f"{section}.name: {config.name} is not callable")
    typed: Mixer = mixer
    return typed

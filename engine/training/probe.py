"""Measures what `resolve` decides by: trial passes over one batch, which leave no trace in the training."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from torchconsole.engine.components.data.memory_budget import InMemory
from torchconsole.engine.components.data.one_by_one import WorkerLimit
from torchconsole.engine.components.optimizers import takes_fused
from torchconsole.engine.components.schedulers import with_intervals, with_modes
from torchconsole.engine.config.data_schema import TargetScaleConfig
from torchconsole.engine.config.schema import ScheduleConfig
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.training.parts import EMA_PREFIX, TrainingParts
from torchconsole.engine.training.precision import Format
from torchconsole.engine.training.preserve import preserve
from torchconsole.engine.training.resolve import milliseconds
from torchconsole.engine.training.trial import Batch, forward_and_backward, try_batch

log = logging.getLogger(__name__)

MOST_TRIALS, ENOUGH_SECONDS = 9, 0.1
"""A step is timed at most this often, and not again once that has taken so long."""

SLOWER = 1.25
"""A compiled step that takes this many times as long is worth a warning; less may be chance."""

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


class PartsProbe:
    """The facts of a training whose parts are built, with a batch to try them on; see `resolve.Probe`."""

    def __init__(self, parts: TrainingParts, batch: Batch) -> None:
        self.device_type = parts.device.type
        self.precision: Format = parts.precision.name
        self.in_memory: InMemory = parts.data.in_memory
        self.measured = parts.data.measured
        self.texts = parts.data.texts
        self.target_scale: TargetScaleConfig | Literal[False] = parts.data.spec.target_scale or False
        self.steps_per_epoch = parts.steps_per_epoch
        self._parts = parts
        self._batch = batch
        self._step_seconds: dict[int, float] = {}

    @property
    def threads(self) -> int:
        """CPU threads that torch uses now."""
        return torch.get_num_threads()

    def takes_fused(self) -> bool:
        """Whether the optimizer can be fused for this model, and the preset leaves that open."""
        return takes_fused(self._parts.preset.optimizer, self._parts.model)

    def higher_is_better(self, monitor: str) -> bool:
        """Whether a higher value is better, of the averaged weights' metrics too."""
        return bool(self._parts.metrics.higher_is_better(monitor.replace(EMA_PREFIX, "val/", 1)))

    def complete_schedule(self, parts: Sequence[ScheduleConfig]) -> list[ScheduleConfig]:
        """Return the parts with their intervals, and the modes of those that monitor a metric."""
        user_code = self._parts.user_code
        return with_modes(with_intervals(parts, user_code), user_code, self.higher_is_better)

    def takes_channels_last(self) -> bool:
        """Put channels last and run the batch; put them first again if the model cannot compute so."""
        model = self._parts.model
        if self.device_type not in ("cpu", "cuda"):
            return False
        if not any(isinstance(module, CONVOLUTIONS) for module in model.modules()):
            return False
        convert_conv2d_weight_memory_format(model, torch.channels_last)
        try:
            try_batch(self._parts, self._batch)
        except ComponentError as error:
            convert_conv2d_weight_memory_format(model, torch.contiguous_format)
            log.info("convolutions keep channels first in memory; with channels last: %s", error)
            return False
        return True

    def step_seconds(self, threads: int) -> float:
        """Median seconds of a forward and backward pass; the number of threads is restored."""
        if threads not in self._step_seconds:
            self._step_seconds[threads] = self._measure_step(threads)
        return self._step_seconds[threads]

    @property
    def most_workers(self) -> WorkerLimit | None:
        """The most data loader workers this machine has room for; None if all samples are in memory."""
        one_by_one = self._parts.data.one_by_one
        return None if one_by_one is None else one_by_one.most_workers

    def load_seconds(self) -> float:
        """Seconds that this process takes to load a batch; 0 if all samples are in memory."""
        one_by_one = self._parts.data.one_by_one
        return 0.0 if one_by_one is None else one_by_one.batch_seconds()

    def _measure_step(self, threads: int) -> float:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with preserve([self._parts.model, self._parts.loss_fn]):
                return median_seconds(lambda: forward_and_backward(self._parts, self._batch))
        finally:
            torch.set_num_threads(before)


def warning_of_slow_compilation(parts: TrainingParts, batch: Batch) -> str:
    """Return a warning if the compiled model is slower than the uncompiled one, else an empty string.

    Only a warning: what a clock says must not decide, or two runs of one seed would differ.
    """
    with preserve([parts.model, parts.loss_fn]):
        compiled = median_seconds(lambda: forward_and_backward(parts, batch))
        with torch.compiler.set_stance("force_eager"):
            eager = median_seconds(lambda: forward_and_backward(parts, batch))
    if compiled < SLOWER * eager:
        return ""
    return (
        f"a forward and backward pass takes {milliseconds(compiled)} compiled and {milliseconds(eager)} "
        "uncompiled: training.compile = false is faster here"
    )


def median_seconds(step: Callable[[], object]) -> float:
    """Return the median duration of a few calls, after one to warm up."""
    step()
    taken: list[float] = []
    while len(taken) < MOST_TRIALS and sum(taken) < ENOUGH_SECONDS:
        begin = time.perf_counter()
        step()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)

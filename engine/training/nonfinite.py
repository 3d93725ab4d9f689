"""Losses and gradients that are nan or infinite: `training.nonfinite` stops the run, or skips their steps."""

from __future__ import annotations

import logging
from typing import Literal

import torch
from torch import Tensor, nn

from torchconsole.engine.components.torch_compat import checks_found_inf
from torchconsole.engine.errors import TrainingError
from torchconsole.engine.text import counted
from torchconsole.engine.training.elements import without_overlap
from torchconsole.engine.training.meter import LossMeter
from torchconsole.engine.training.progress import Progress

log = logging.getLogger(__name__)

MOST_LISTED = 5
"""Steps that a log line lists at most."""


class NonfiniteGuard:
    """Decides on the device whether a step counts, and undoes what its forward pass did to buffers.

    Batch normalization takes a nan into its running statistics before any loss is known.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        # A sparse buffer, such as the edges of a graph, takes no running statistics.
        dense = [buffer for buffer in model.buffers() if buffer.layout == torch.strided]
        self._buffers = [without_overlap(buffer) for buffer in dense]
        self._before = [buffer.clone() for buffer in self._buffers]
        self._decides_on_device = checks_found_inf(optimizer)
        self._has_state = bool(optimizer.state)

    @torch.no_grad()
    def remember(self) -> None:
        """Copy the buffers before the first forward pass of a step."""
        if self._buffers:
            torch._foreach_copy_(self._before, self._buffers)

    @torch.no_grad()
    def step(self, loss: Tensor, gradient_norm: Tensor) -> Tensor:
        """Make the optimizer's step, without any effect if one of the two scalars is not finite.

        Returns whether the step was left out, as a bool scalar on the device. Fused optimizers of torch check
        `found_inf` on the device, except in their first step, which creates their state. For others the host
        waits for the device here, once a step.
        """
        is_bad = ~torch.isfinite(loss + gradient_norm.to(loss.device))
        for buffer, before in zip(self._buffers, self._before, strict=True):
            buffer.copy_(torch.where(is_bad.to(buffer.device), before, buffer))
        if not (self._decides_on_device and self._has_state):
            if not is_bad:
                self._optimizer.step()
                # All the state that it will ever have: SGD without momentum has none.
                self._has_state = True
            return is_bad
        self._optimizer.grad_scale = None  # type: ignore[attr-defined]
        self._optimizer.found_inf = is_bad.float()  # type: ignore[attr-defined]
        self._optimizer.step()
        return is_bad


class NonfiniteCheck:
    """Looks at the losses that the host has read: stops the run, or counts the steps that were left out."""

    def __init__(self, policy: Literal["stop", "skip"], meter: LossMeter, progress: Progress) -> None:
        self._skips = policy == "skip"
        self._meter = meter
        self._progress = progress
        self._left_out = 0

    def take_steps(self) -> list[int]:
        """Return the steps, each once, whose loss was not finite, and count those that were left out."""
        steps = self._meter.take_nonfinite()
        if self._skips:
            self._progress.skipped += len(steps)
            self._left_out += len(steps)
        return steps

    def judge(self, steps: list[int]) -> None:
        """Log the `steps` that were left out. Raises TrainingError if they were not."""
        if not steps:
            return
        if not self._skips:
            raise TrainingError(
                f"the loss was not finite at step {steps[0]:,}; lower optimizer.lr or set "
                'training.clip_norm, or skip such steps with training.nonfinite = "skip"; the existing '
                "checkpoints are not affected"
            )
        shown = ", ".join(f"{step:,}" for step in steps[:MOST_LISTED])
        shown += ", ..." if len(steps) > MOST_LISTED else ""
        log.warning("step %s skipped: the loss or a gradient was not finite", shown)

    def describe_skipped(self) -> str:
        """Return a clause for the run's reason to end; empty if no step was left out."""
        if not (skipped := self._progress.skipped):
            return ""
        why = "were skipped, since they were" if skipped > 1 else "was skipped, since it was"
        return f"; {counted(skipped, 'step')} {why} not finite"

    def count_left_out(self) -> int:
        """Return how many of the steps that this process has counted had no effect.

        Steps that the scaler skips are not counted at all. The host waits for the device here, and all
        processes that train together must call this at the same step.
        """
        self.check_now()
        return self._left_out

    def check_now(self) -> None:
        """Read every loss and judge them: what stops the run must not be saved first.

        The host waits for the device here, as an evaluation or a save does anyway.
        """
        self._meter.collect()
        self.judge(self.take_steps())

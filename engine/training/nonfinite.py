"""Leaves out steps whose loss or gradient is nan or infinite, as `training.nonfinite = "skip"` asks."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NonfiniteGuard:
    """Decides on the device whether a step counts, and undoes what its forward pass did to buffers.

    Batch normalisation takes a nan into its running statistics before any loss is known.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._buffers = list(model.buffers())
        self._before = [buffer.clone() for buffer in self._buffers]
        self._decides_on_device = bool(getattr(optimizer, "_step_supports_amp_scaling", False))
        self._has_state = bool(optimizer.state)

    @torch.no_grad()
    def remember(self) -> None:
        """Before a step's first forward pass."""
        if self._buffers:
            torch._foreach_copy_(self._before, self._buffers)

    @torch.no_grad()
    def step(self, loss: Tensor, gradient_norm: Tensor) -> Tensor:
        """The optimizer's step, without any effect where one of the two scalars is not finite.

        Returns whether it was left out, a bool scalar on the device.

        Fused optimizers of torch look at `found_inf` on the device, but for their first step, which makes
        their state. For others the host waits for the device here: once a step.
        """
        spoilt = ~torch.isfinite(loss + gradient_norm)
        for buffer, before in zip(self._buffers, self._before, strict=True):
            buffer.copy_(torch.where(spoilt, before, buffer))
        if not (self._decides_on_device and self._has_state):
            if not spoilt:
                self._optimizer.step()
                # All that it will ever have: SGD without momentum has none.
                self._has_state = True
            return spoilt
        self._optimizer.grad_scale = None  # type: ignore[attr-defined]
        self._optimizer.found_inf = spoilt.float()  # type: ignore[attr-defined]
        self._optimizer.step()
        return spoilt

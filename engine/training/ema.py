"""The exponential moving average of a model's weights (Polyak and Juditsky 1992; as in torch's swa_utils)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from torchconsole.engine.training.elements import without_overlap


class WeightAverage:
    """Computes `average = decay * average + (1 - decay) * weights`, starting from the weights.

    torch's AveragedModel does the same but reads a counter from the device in each update. Buffers (running
    statistics) are copied, not averaged.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(model).requires_grad_(False).eval()
        self._decay = decay
        self.follow(model)

    def follow(self, model: nn.Module) -> None:
        """Average the parameters that `model` has now: those that are sharded over processes are new ones."""
        self._averages: list[Tensor] = list(self.module.parameters())
        self._weights: list[Tensor] = list(model.parameters())
        # A copied model lays out its tensors as the model does.
        self._own_buffers = [without_overlap(buffer) for buffer in self.module.buffers()]
        self._buffers = [without_overlap(buffer) for buffer in model.buffers()]

    @torch.no_grad()
    def update(self, left_out: Tensor | None = None) -> None:
        """Update the average with the weights after a step. The host does not wait for the device.

        `left_out` is a bool scalar on the device: after a step that was left out the average does not change.
        """
        if left_out is not None:
            share = torch.where(left_out, 0.0, 1 - self._decay)
            for average, weight in zip(self._averages, self._weights, strict=True):
                average.lerp_(weight, share.to(average))
        elif self._averages:
            torch._foreach_lerp_(self._averages, self._weights, 1 - self._decay)
        if self._own_buffers:
            torch._foreach_copy_(self._own_buffers, self._buffers)

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged model's state, under the key `module`."""
        return {"module": self.module.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned. Raises RuntimeError if it is of another model."""
        self.module.load_state_dict(state["module"])

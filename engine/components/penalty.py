"""Penalties on the weights that are added to the training loss: L1 and L2, for chosen parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from torchconsole.engine.components.parameters import norm_and_bias_names, select
from torchconsole.engine.components.shards import local
from torchconsole.engine.config.schema import LossConfig
from torchconsole.engine.errors import ComponentError


class Penalty:
    """L1 and L2 penalty: `l1` times the sum of |w| plus `l2` / 2 times the sum of w^2, over trained weights.

    Each applies to the parameters that match its name patterns; without patterns, to all but biases and norm
    layers (see `norm_and_bias_names`). Raises ComponentError for a pattern that matches nothing.
    """

    def __init__(self, model: nn.Module, config: LossConfig) -> None:
        self._l1 = config.l1
        self._l2 = config.l2
        self._l1_weights = _choose("loss.l1_parameters", model, config.l1, config.l1_parameters)
        self._l2_weights = _choose("loss.l2_parameters", model, config.l2, config.l2_parameters)
        self._device = next((weight.device for weight in model.parameters()), None)

    def __call__(self) -> Tensor:
        """The penalty as a scalar, to add to the training loss before the backward pass.

        Of weights that are sharded over processes it is that of this process's part, as is its gradient.
        """
        total = torch.zeros((), device=self._device)
        for weight in self._l1_weights:
            if weight.requires_grad:
                total = total + (self._l1 * local(weight).abs().sum()).to(total.device)
        for weight in self._l2_weights:
            if weight.requires_grad:
                total = total + (0.5 * self._l2 * local(weight).square().sum()).to(total.device)
        return total


def build_penalty(model: nn.Module, config: LossConfig) -> Penalty | None:
    """Return the penalty of a preset, or None if it has none. Raises ComponentError for a wrong pattern."""
    for name in ("l1", "l2"):
        if getattr(config, f"{name}_parameters") is not None and not getattr(config, name):
            raise ComponentError(f"loss.{name}_parameters: has no effect without loss.{name}; set its factor")
    return Penalty(model, config) if config.l1 or config.l2 else None


def _choose(key: str, model: nn.Module, factor: float, patterns: Sequence[str] | None) -> list[nn.Parameter]:
    if not factor:
        return []
    parameters = dict(model.named_parameters())
    if patterns is not None:
        return [parameters[name] for name in select(key, patterns, parameters)]
    excluded = norm_and_bias_names(model)
    return [weight for name, weight in parameters.items() if name not in excluded]

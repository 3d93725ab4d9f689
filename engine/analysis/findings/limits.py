"""Finds the limits of a model's outputs by their values, in passes with weights of other sizes and signs.

The name of a function tells it only if the function is known; a sigmoid may be written as 1 / (1 + exp(-x)).
"""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchconsole.engine.analysis.findings.observe import main_output

PASSES, ENOUGH = 16, 10
"""Passes that are made, and how many of them must give finite outputs."""

MAX_SECONDS = 2.0

MAX_ROWS = 8

FACTORS = (1.0, 4.0, 32.0)
"""Sizes of the weights, relative to what they are."""

TOLERANCE = 1e-3


@dataclass(frozen=True)
class Limits:
    """What the outputs of a model never left."""

    low: float
    high: float
    """The smallest and the largest output that occurred."""
    total: float | None
    """The sum of each row, if all rows had the same one and no output was negative."""

    @property
    def sign(self) -> int:
        """1 if no output was negative, -1 if none was positive, else 0."""
        return 1 if self.low >= 0 else -1 if self.high <= 0 else 0

    def within(self, low: float, high: float) -> bool:
        """Whether all outputs were between these values."""
        return low - TOLERANCE <= self.low and self.high <= high + TOLERANCE

    @property
    def rounded(self) -> tuple[float, float]:
        """The narrowest of the usual limits that holds them: 0 to 1, -1 to 1, or one side of 0."""
        for low, high in ((0.0, 1.0), (-1.0, 1.0), (0.0, math.inf), (-math.inf, 0.0)):
            if self.within(low, high):
                return low, high
        return -math.inf, math.inf


def find_limits(model: nn.Module, inputs: Tensor, outputs: Tensor, *, is_compiled: bool) -> Limits | None:
    """Return the limits of the outputs for some of `inputs` (B, ...); None if there are none, or if unknown.

    `outputs` (B, ...) are those of the model as it is. The model changes; the caller preserves it. A pass
    that shows that outputs have any sign and size is the last, so that most models need one or two.
    """
    seen, finite = _Seen(), 0
    if not seen.add(outputs) or not any(True for _ in model.parameters()):
        return None
    factors = [FACTORS[number % len(FACTORS)] for number in range(PASSES)]
    for found in _passes(model, inputs, factors, is_compiled):
        if bool(found.isfinite().all()):
            finite += 1
            if not seen.add(found):
                return None
    return seen.limits if finite >= ENOUGH else None


def has_fixed_scale(model: nn.Module, inputs: Tensor, outputs: Tensor, *, is_compiled: bool) -> bool:
    """Whether outputs stay as large as `outputs` (B, ...) when all weights become larger, as cosines do.

    The model changes; the caller preserves it.
    """
    largest = outputs.abs().max()
    passes = list(_passes(model, inputs, [FACTORS[-1]] * 3, is_compiled))
    return len(passes) == 3 and all(bool(found.abs().max() <= 2 * largest) for found in passes)


def _passes(
    model: nn.Module, inputs: Tensor, factors: Sequence[float], is_compiled: bool
) -> Iterator[Tensor]:
    """Yield the outputs for some of `inputs` (B, ...) with other weights, one for each of `factors`.

    Ends early if the model fails or takes too long.
    """
    weights = [weight for weight in model.parameters() if weight.is_floating_point()]
    end = time.monotonic() + MAX_SECONDS
    rows = inputs[: max(2, min(MAX_ROWS, len(inputs)))]
    with (
        torch.no_grad(),
        warnings.catch_warnings(action="ignore"),
        torch.compiler.set_stance("force_eager") if is_compiled else contextlib.nullcontext(),
    ):
        last: float | None = None
        for factor in factors:
            try:
                _redraw(weights, factor, last)
                found = main_output(model(rows.clone()))
            except Exception:  # noqa: BLE001 - the dry run reports what a model raises
                return
            if found is None or not found.is_floating_point() or time.monotonic() > end:
                return
            yield found.float()
            last = factor


def _redraw(weights: Sequence[Tensor], factor: float, last: float | None) -> None:
    """Give each number of the weights another sign, and `factor` times its first size; also zeros.

    `last` is the factor that it has; None in the first pass. There is no copy of the first weights: a GPU
    may have no room for it.
    """
    for weight in weights:
        if last is None:
            weight.abs_().add_(torch.rand_like(weight), alpha=0.1)
        weight.mul_(factor / (last or 1.0) * (torch.rand_like(weight) - 0.5).sign())


class _Seen:
    """Collects the outputs of several passes."""

    def __init__(self) -> None:
        self._low, self._high = float("inf"), float("-inf")
        self._totals: list[float] = []
        self._has_totals = True

    def add(self, outputs: Tensor) -> bool:
        """Take in outputs (B, ...). Return whether they may still have a limit."""
        low, high = (value.item() for value in outputs.aminmax())
        self._low, self._high = min(self._low, low), max(self._high, high)
        sums = outputs.sum(1) if outputs.ndim > 1 and outputs.shape[1] > 1 else outputs.new_tensor([0.0, 1.0])
        self._totals += [value.item() for value in sums.aminmax()]
        return self._low >= 0 or self._high <= 0 or (self._low >= -1 and self._high <= 1)

    @property
    def limits(self) -> Limits:
        """The limits of all outputs so far."""
        least, most = min(self._totals), max(self._totals)
        is_sum = self._low >= 0 and least > 0 and most - least <= 0.02 * most
        return Limits(self._low, self._high, most if is_sum else None)

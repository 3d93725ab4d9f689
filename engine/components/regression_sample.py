"""A bounded sample of a regression's predictions and true values, taken without waiting for the device."""

from __future__ import annotations

import torch
from torch import Tensor

from torchconsole.engine.components.ranks import Ranks
from torchconsole.engine.protocol.info import RegressionSample, TargetSample

MOST_SAMPLES = 512
"""Samples that are reported, at most; of a larger set at least half as many."""

MOST_TARGETS = 4
"""Targets that are reported, the first ones."""


class SampleKeeper:
    """Keeps every n-th sample of an evaluation; n doubles whenever too many are kept.

    So the kept samples are evenly spaced over a set of any size, whatever the batches are. All tensors stay
    on their device until `result`.
    """

    def __init__(self) -> None:
        self._stride = 1
        self._seen = 0
        self._targets = 0
        self._kept: list[Tensor] = []
        self._count = 0

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        """Add a batch: both (B,) or (B, K)."""
        batch = len(targets)
        first = -self._seen % self._stride
        self._seen += batch
        if first >= batch:
            return
        pairs = torch.stack([_as_columns(predictions, batch), _as_columns(targets, batch)], dim=2)
        self._targets = pairs.shape[1]
        kept = pairs[first :: self._stride, :MOST_TARGETS].detach().clone()
        self._kept.append(kept)
        self._count += len(kept)
        while self._count > 2 * MOST_SAMPLES:
            self._thin()

    def merge(self, ranks: Ranks) -> None:
        """Add what the other processes have kept. Waits for the device if there are any."""
        if ranks.is_alone:
            return
        stride = max(ranks.gather(self._stride))
        while self._stride < stride:
            self._thin()
        self._seen = sum(ranks.gather(self._seen))
        self._kept = [kept for own in ranks.gather([kept.cpu() for kept in self._kept]) for kept in own]
        self._count = sum(map(len, self._kept))

    def result(self) -> RegressionSample | None:
        """Return the sample; None without one. Waits for the device."""
        if not self._kept:
            return None
        while self._count > MOST_SAMPLES:
            self._thin()
        pairs = torch.cat(self._kept).double().cpu()
        finite = pairs.isfinite().all(dim=2).all(dim=1)
        columns = pairs[finite].unbind(dim=1)
        return RegressionSample(
            shown=[
                TargetSample(predicted=_rounded(column[:, 0]), true=_rounded(column[:, 1]))
                for column in columns
            ],
            samples=self._seen,
            targets=self._targets,
            nonfinite=int((~finite).sum()),
        )

    def _thin(self) -> None:
        """Drop every second sample."""
        self._kept = [torch.cat(self._kept)[::2]]
        self._count = len(self._kept[0])
        self._stride *= 2


def _as_columns(values: Tensor, batch: int) -> Tensor:
    return values.reshape(batch, -1).float()


def _rounded(values: Tensor) -> list[float]:
    """Return the values with seven digits: more are not seen, and the message is half as long."""
    return [float(f"{value:.7g}") for value in values.tolist()]

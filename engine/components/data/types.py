"""What data hands to the training: its shape, its batches and its parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from torch import Tensor

TaskType = Literal["multiclass", "binary", "multilabel", "regression"]
"""What kind of target the data has; it decides the default loss, the metrics and the targets' form.

multiclass: targets (B,) int64 in 0..C-1, outputs (B, C) logits.
binary:     targets (B, 1) float32 in {0, 1}, outputs (B, 1) logits.
multilabel: targets (B, L) float32 in {0, 1}, outputs (B, L) logits.
regression: targets (B, K) float32, outputs (B, K).
"""


@dataclass(frozen=True)
class DataSpec:
    """What a model for this data must take and give."""

    task: TaskType
    input_shape: tuple[int, ...]
    """One input as the model sees it in training, without the batch."""
    num_outputs: int
    class_names: list[str]
    """In the labels' order: C names for multiclass, 2 for binary, L for multilabel, none for regression."""


class TrainBatches(Protocol):
    """The training part in batches, in an order that is a function of (seed, epoch) alone."""

    @property
    def batches_per_epoch(self) -> int:
        """Batches of one epoch, a short last one included unless it is dropped."""

    @property
    def samples_per_epoch(self) -> int:
        """Samples in these batches."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches `start`, `start` + 1, ... of `epoch` (both from 0) as (inputs, targets) on the device.

        Inputs are (B, *input_shape) float32, or int64 where the data gives indices such as tokens. Iterating
        leaves the process's random numbers as they are. Raises DataError for samples that cannot be read or
        do not fit together.
        """


class EvalBatches(Protocol):
    """The validation or test part in batches, always the same ones."""

    @property
    def samples(self) -> int:
        """Samples in all batches together."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All batches as (inputs, targets) on the device. Raises DataError as `TrainBatches.epoch` does."""


@dataclass
class DataModule:
    """A data set, split and batched."""

    spec: DataSpec
    train: TrainBatches
    val: EvalBatches
    test: EvalBatches | None
    class_counts: Tensor | None
    """Samples of each class in the training part, (C,) int64: 2 for binary, of ones for multilabel (L,)."""
    in_memory: bool | Literal["auto"] = "auto"
    """What `data.in_memory` came to; auto where the samples' size had no part in it."""
    notes: list[str] = field(default_factory=list)
    """What was decided on the user's behalf, a sentence each."""

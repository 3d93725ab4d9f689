"""What the rest of the engine gets from the data: the shape of a sample, and the batches of each set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import Tensor

from torchconsole.engine.config.data_schema import NormalizeConfig, TargetScaleConfig
from torchconsole.engine.protocol.reports import DataColumn

if TYPE_CHECKING:
    from torchconsole.engine.components.data.data_record import DataRecord
    from torchconsole.engine.components.data.one_by_one import OneByOne

TaskType = Literal["multiclass", "binary", "multilabel", "regression"]
"""The kind of target. It decides the default loss, the metrics and the form of the targets.

multiclass: targets (B,) int64 in 0..C-1, outputs (B, C) logits.
binary:     targets (B, 1) float32 in {0, 1}, outputs (B, 1) logits.
multilabel: targets (B, L) float32 in {0, 1}, outputs (B, L) logits.
regression: targets (B, K) float32, outputs (B, K); standardized if `DataSpec.target_scale` says so.
"""


@dataclass(frozen=True)
class DataSpec:
    """The inputs and outputs that a model for this data must have."""

    task: TaskType
    input_shape: tuple[int, ...]
    """Shape of one input as the model sees it in training, without the batch dimension."""
    num_outputs: int
    class_names: list[str]
    """In the order of the labels: C for multiclass, 2 for binary, L for multilabel, none for regression."""
    input_dtype: torch.dtype = torch.float32
    """float32, or int64 for indices such as tokens."""
    target_scale: TargetScaleConfig | None = None
    """What regression targets and so the model's outputs are standardized with; None if they are not."""
    vocab_size: int | None = None
    """Number of different tokens, with 0 for the padding at the end of a text; None for other data."""

    @property
    def loss_unit(self) -> str:
        """What the loss is computed on; empty for targets as they are."""
        return "standardized targets" if self.target_scale else ""


@dataclass(frozen=True)
class TextRecord:
    """How the texts of a run became tokens, so that later ones become the same."""

    vocab_size: int
    vocabulary: str
    """`data.vocabulary`."""
    max_length: int
    """Tokens in a row."""


class TrainBatches(Protocol):
    """The training set in batches, in an order that depends on (seed, epoch) only."""

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches in an epoch, including a short last one unless it is dropped."""

    @property
    def samples_per_epoch(self) -> int:
        """Number of samples in these batches, over all processes that train together."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (inputs, targets) on the device: batches `start`, `start` + 1, ... of `epoch`, both from 0.

        Inputs are (B, *input_shape) float32, or int64 if the data gives indices such as tokens. Iterating
        does not change the process's random numbers. Raises DataError for samples that cannot be read or do
        not fit together.
        """


class EvalBatches(Protocol):
    """The validation or test set in batches, the same ones in each pass."""

    @property
    def samples(self) -> int:
        """Number of samples in all batches."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (inputs, targets) on the device. Raises DataError as `TrainBatches.epoch` does."""


@dataclass
class DataModule:
    """A dataset, split and batched."""

    spec: DataSpec
    train: TrainBatches
    val: EvalBatches
    test: EvalBatches | None
    record: DataRecord
    """What a run records about the data."""
    class_counts: Tensor | None
    """Training samples of each class, (C,) int64; (2,) for binary, the ones per label (L,) for multilabel."""
    held_out_counts: dict[str, Tensor] = field(default_factory=dict)
    """The same of the validation and the test set, by these names; empty if there are no classes."""
    targets_require_grad: bool = False
    """Whether the dataset returned targets that require gradients. Those of its batches may not."""
    in_memory: bool | Literal["auto"] = "auto"
    """What `data.in_memory` was resolved to; auto if the size of the samples did not matter."""
    one_by_one: OneByOne | None = None
    """The sets whose samples are loaded one by one; None if all samples are in memory."""
    measured: NormalizeConfig | None = None
    """What `data.normalize = "auto"` measured; None if inputs are not normalized or the preset has values."""
    texts: TextRecord | None = None
    """How texts became tokens; None for other data."""
    notes: list[str] = field(default_factory=list)
    """Decisions that were made for the user, one sentence each."""
    columns: list[DataColumn] = field(default_factory=list)
    """The columns of a table and their roles; empty for other data."""
    first_validated: int = 0
    """Index of the first sample of `val`: of several processes, each has a part of the validation set."""
    val_samples: int = 0
    """Samples of the validation set, those of all processes."""
    idle_passes: int = 0
    """How many batches of `val` another process has more than this one."""
    places: dict[str, Callable[[int], str]] = field(default_factory=dict)
    """By the name of a set: return where its sample n is from, a file, a line of one, or a number."""

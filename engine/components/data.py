"""Data sets as tensors, split into a training and a validation part and standardised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchconsole.engine.components.instantiate import pick
from torchconsole.engine.config.schema import DataConfig
from torchconsole.engine.errors import DataError


@dataclass(frozen=True)
class Samples:
    """Inputs (N, ...) float32 and class indices (N,) int64."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def batches(self, batch_size: int) -> int:
        """Batches of one pass, the short last one included."""
        return -(-len(self) // batch_size)

    def to(self, device: torch.device) -> Samples:
        """The same samples on `device`."""
        return Samples(self.inputs.to(device), self.targets.to(device))


@dataclass(frozen=True)
class DataSet:
    """A classification data set, split."""

    train: Samples
    val: Samples
    num_classes: int

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input, without the batch."""
        return tuple(self.train.inputs.shape[1:])

    def to(self, device: torch.device) -> DataSet:
        """The same data on `device`."""
        return DataSet(self.train.to(device), self.val.to(device), self.num_classes)


def load_data(config: DataConfig, seed: int) -> DataSet:
    """Load, split and standardise. Raises ComponentError for an unknown name, DataError for unfit data."""
    samples = pick("data", config.name, SOURCES)()
    num_classes = int(samples.targets.max()) + 1
    train_index, val_index = _stratified_split(samples.targets, config.val_fraction, seed)
    train = Samples(samples.inputs[train_index], samples.targets[train_index])
    val = Samples(samples.inputs[val_index], samples.targets[val_index])
    if config.standardize:
        mean, deviation = _moments(train.inputs)
        train = Samples((train.inputs - mean) / deviation, train.targets)
        val = Samples((val.inputs - mean) / deviation, val.targets)
    return DataSet(train, val, num_classes)


def _digits() -> Samples:
    """1,797 handwritten digits of 8x8 pixels (UCI ML hand-written digits, test part), as (N, 1, 8, 8)."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    return Samples(torch.from_numpy(bunch.images).float().unsqueeze(1), torch.from_numpy(bunch.target).long())


SOURCES: dict[str, Callable[[], Samples]] = {"digits": _digits}


def _stratified_split(targets: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of both parts, every class in the same proportion in each."""
    from sklearn.model_selection import train_test_split

    try:
        train, val = train_test_split(
            range(len(targets)), test_size=fraction, random_state=seed % 2**32, stratify=targets.numpy()
        )
    except ValueError as error:
        raise DataError(
            f"data.val_fraction: {fraction} leaves too few samples of a class: {error}"
        ) from error
    return torch.tensor(train), torch.tensor(val)


def _moments(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation per channel for images (N, C, ...), per feature for tables (N, F)."""
    dims = [0, *range(2, inputs.ndim)]
    deviation, mean = torch.std_mean(inputs, dim=dims, keepdim=True)
    return mean, torch.where(deviation > 0, deviation, torch.ones_like(deviation))

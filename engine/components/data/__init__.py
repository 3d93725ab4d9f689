"""Data sets: found by name, split, normalised and batched, in memory or by loader processes."""

from torchconsole.engine.components.data.loading import load_data, measure_data
from torchconsole.engine.components.data.types import (
    DataModule,
    DataSpec,
    EvalBatches,
    TaskType,
    TrainBatches,
)

__all__ = [
    "DataModule",
    "DataSpec",
    "EvalBatches",
    "TaskType",
    "TrainBatches",
    "load_data",
    "measure_data",
]

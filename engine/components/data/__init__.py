"""Datasets: opened by name, split, normalized and batched, from memory or by data loader workers."""

from torchconsole.engine.components.data.builder import DataBuilder
from torchconsole.engine.components.data.memory_budget import MemoryProbe, decide_in_memory
from torchconsole.engine.components.data.opening import load_data, open_data
from torchconsole.engine.components.data.types import (
    DataModule,
    DataSpec,
    EvalBatches,
    TaskType,
    TrainBatches,
)

__all__ = [
    "DataBuilder",
    "DataModule",
    "DataSpec",
    "EvalBatches",
    "MemoryProbe",
    "TaskType",
    "TrainBatches",
    "decide_in_memory",
    "load_data",
    "open_data",
]

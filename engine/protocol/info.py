"""Plain data inside events: the device, the model's layers, the best evaluation and the like."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Metrics = dict[str, float | None]
"""Metric name -> value; None where the value is not finite, or cannot be computed (n/a)."""


class Facts(BaseModel):
    """Base of plain data inside events. Unknown fields are ignored, so that older consoles can read them."""

    model_config = ConfigDict(extra="ignore")


class GpuInfo(Facts):
    """One GPU as torch or NVML describes it; memory in bytes."""

    index: int
    name: str
    uuid: str | None = None
    memory_total: int | None = None


class DeviceInfo(Facts):
    """The device used for training, and the versions of its software. Memory in bytes."""

    device: str
    name: str
    torch: str
    torchvision: str | None = None
    cuda: str | None = None
    cudnn: str | None = None
    threads: int
    cpu: str
    cpu_count: int
    memory_total: int
    gpus: list[GpuInfo] = []
    notes: list[str] = Field(default=[], description="limitations of the device, a sentence each")


class Telemetry(Facts):
    """The present load of the machine, in percent of one core or GPU and in bytes; None if unknown."""

    cpu_percent: float | None = None
    process_cpu_percent: float | None = None
    process_memory: int | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    gpu_percent: float | None = None
    gpu_memory_used: int | None = None
    gpu_memory_total: int | None = None
    gpu_temperature: float | None = None


class LayerInfo(Facts):
    """One module of the model. `output_shape` is for a batch of one; `macs` is None if unknown."""

    name: str
    type: str
    depth: int
    output_shape: list[int] | None = None
    params: int
    trainable: int
    macs: int | None = None


class ModelSummary(Facts):
    """The layer table. `macs` counts the multiply-accumulates of one sample's forward pass."""

    layers: list[LayerInfo]
    params: int
    trainable: int
    macs: int | None = None
    macs_complete: bool = True
    input_shape: list[int]


class ConfusionMatrix(Facts):
    """Samples of each class (row) predicted as each class (column): their number, or their share."""

    classes: list[str]
    counts: list[list[int | float]]


class EarlyStoppingInfo(Facts):
    """The state of early stopping.

    `best` is the extreme value seen. `target` is the value to beat, so that `counter` starts again at 0; it
    follows `best` only when an evaluation beats it. Both are None before the first evaluation.
    """

    monitor: str
    mode: Literal["min", "max"]
    patience: int
    min_delta: float
    counter: int = 0
    best: float | None = None
    best_step: int | None = None
    target: float | None = None


class Best(Facts):
    """The best evaluation so far."""

    metric: str
    value: float
    step: int

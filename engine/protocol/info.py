"""Plain data inside events: the device, the model's layers, the best evaluation and the like."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
"""A number of things: it fits into an integer of numpy."""

Step = Annotated[int, Field(ge=0, le=2**53)]
"""A number of steps, epochs or lines: exact as a float."""

Timestamp = Annotated[float, Field(ge=0, le=253402300799)]
"""Seconds since the epoch, up to the year 9999."""

Cell = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | float
"""A count or a share; a matrix of another kind may hold anything that is no larger."""

Seconds = Annotated[float, Field(ge=0, le=1e12)]
"""A duration."""

Metrics = dict[str, float | None]
"""Metric name -> value; None where the value is not finite, or cannot be computed (n/a)."""


class Facts(BaseModel):
    """Base of plain data inside events. Unknown fields are ignored, so that older consoles can read them."""

    model_config = ConfigDict(extra="ignore")


class GpuInfo(Facts):
    """One GPU as torch or NVML describes it; memory in bytes."""

    index: Count
    name: str
    uuid: str | None = None
    memory_total: Count | None = None


class DeviceInfo(Facts):
    """The device used for training, and the versions of its software. Memory in bytes."""

    device: str
    name: str
    torch: str
    torchvision: str | None = None
    cuda: str | None = None
    cudnn: str | None = None
    threads: Count
    cpu: str
    cpu_count: Count
    memory_total: Count
    gpus: list[GpuInfo] = []
    notes: list[str] = Field(default=[], description="limitations of the device, a sentence each")


class GpuProcess(Facts):
    """A process that computes on a GPU; `memory` in bytes. `user` and `command` are empty if unknown."""

    pid: Count
    memory: Count | None = None
    user: str = ""
    command: str = ""


class GpuLoad(Facts):
    """The present load of one GPU: percent, bytes, degrees Celsius and watts; None if unknown.

    `memory_ours` is the part of `memory_used` that the run's own processes hold; of it, torch's allocator has
    reserved `memory_reserved`, and its tensors took `memory_peak` at most. `others` are the processes of
    others, those with the most memory first. From `temperature_limit` on the GPU slows itself down.
    """

    index: Count
    percent: float | None = None
    memory_used: Count | None = None
    memory_total: Count | None = None
    memory_ours: Count | None = None
    memory_reserved: Count | None = None
    memory_peak: Count | None = None
    others: list[GpuProcess] = []
    temperature: float | None = None
    temperature_limit: float | None = None
    power: float | None = None
    power_limit: float | None = None


class StepTimes(Facts):
    """Where the time of a step goes: the seconds of its parts, which add up to a step, in order.

    The parts are data_wait, transfer (on a GPU: it waits for the copy of a batch), forward, backward,
    communication (several processes: it waits for the others), optimizer (with clipping), logging (the part
    of a logged line) and other. `is_compiled`: the model is compiled, so that forward and backward pass are
    those of the compiled code.
    """

    parts: dict[str, Seconds]
    is_compiled: bool = False


class Telemetry(Facts):
    """The present load of the machine, in percent of one core and in bytes; None if unknown.

    `process_memory` is what the worker holds, and `process_memory_peak` the most so far.
    `loaders` counts the worker's child processes, such as data loader workers, and `loaders_memory` is what
    they hold. `disk_free` and `disk_total` describe the file system of the run's folder. `gpus`
    are all GPUs that the run may use; the fields before it are of the GPU that it trains on, and the only
    ones that the first workers of this protocol send. `step_times` is None for programs of the user's own.
    """

    cpu_percent: float | None = None
    process_cpu_percent: float | None = None
    process_memory: Count | None = None
    process_memory_peak: Count | None = None
    loaders: Count | None = None
    loaders_memory: Count | None = None
    memory_used: Count | None = None
    memory_total: Count | None = None
    disk_free: Count | None = None
    disk_total: Count | None = None
    gpu_percent: float | None = None
    gpu_memory_used: Count | None = None
    gpu_memory_total: Count | None = None
    gpu_temperature: float | None = None
    gpus: list[GpuLoad] = []
    step_times: StepTimes | None = None

    def gpu(self, device: str) -> GpuLoad | None:
        """Return the load of the device that trains, such as `cuda:1`; None if it is no GPU or unknown."""
        kind, _, number = device.partition(":")
        index = int(number) if number.isdecimal() else 0
        if kind != "cuda":
            return None
        if not self.gpus and self.gpu_memory_used is not None:
            return GpuLoad(
                index=index,
                percent=self.gpu_percent,
                memory_used=self.gpu_memory_used,
                memory_total=self.gpu_memory_total,
                temperature=self.gpu_temperature,
            )
        return next((gpu for gpu in self.gpus if gpu.index == index), None)


class LayerInfo(Facts):
    """One module of the model, with all modules in it. `output_shape` is for a batch of one.

    `activations` are the bytes that it keeps of one sample for the backward pass. `macs` and `activations`
    are None if unknown.
    """

    name: str
    type: str
    depth: Count
    output_shape: list[Count] | None = None
    params: Count
    trainable: Count
    macs: Count | None = None
    activations: Count | None = None


class ModelSummary(Facts):
    """The layer table. `macs` counts the multiply-accumulates of one sample's forward pass.

    `activations` are the bytes that this pass keeps for the backward pass, in float32 and evaluation mode.
    """

    layers: list[LayerInfo]
    params: Count
    trainable: Count
    macs: Count | None = None
    macs_complete: bool = True
    activations: Count | None = None
    input_shape: list[Count]


class LayerStatistics(Facts):
    """What one step shows of a layer. `nonfinite` names the values that are None because they are not finite.

    `weight_norm` is that of its own parameters before the step, `grad_norm` that of their gradients before
    clipping, `update_ratio` the norm of their change by the step as a share of `weight_norm`. `dead` is the
    share of its units whose gradient, or without weights whose output, is 0 for all samples. `mean` and
    `deviation` are those of its outputs.
    """

    name: str
    weight_norm: FiniteFloat | None = None
    grad_norm: FiniteFloat | None = None
    update_ratio: FiniteFloat | None = None
    dead: FiniteFloat | None = None
    mean: FiniteFloat | None = None
    deviation: FiniteFloat | None = None
    nonfinite: dict[str, Literal["nan", "inf", "-inf"]] = {}


class ConfusionMatrix(Facts):
    """Samples of each class (row) predicted as each class (column): their number, or their share."""

    classes: list[str]
    counts: list[list[Cell]]

    @model_validator(mode="after")
    def _check_square(self) -> ConfusionMatrix:
        if len(self.counts) != len(self.classes) or any(len(row) != len(self.classes) for row in self.counts):
            raise ValueError("the matrix must have one row and one column per class")
        return self


class TargetSample(Facts):
    """Predictions of one target of a regression and its true values, in the same order and in its unit."""

    true: list[FiniteFloat]
    predicted: list[FiniteFloat]

    @model_validator(mode="after")
    def _check_length(self) -> TargetSample:
        if len(self.true) != len(self.predicted):
            raise ValueError("there must be one prediction for each true value")
        return self


class RegressionSample(Facts):
    """Evenly spaced samples of an evaluation of a regression, for each of its first targets.

    `samples` is the number of all samples, `targets` that of all targets, and `nonfinite` how many of the
    predictions here are left out because they are not finite.
    """

    shown: list[TargetSample]
    samples: Count
    targets: Count
    nonfinite: Count = 0


class WorstSample(Facts):
    """A sample with one of the highest losses of an evaluation, and what the model predicted for it.

    `place` is its file, its line in a file, or its number in the source; `index` is its number in the set
    that was evaluated, from 0. `label` and `predicted` are classes, the labels of a multilabel sample, or the
    first values of a regression, which `true` and `values` have as numbers. `probability` is that of the
    predicted class, and `label_probability` that of the true one; None for other data. `loss` is None if it
    is not finite.
    """

    index: Count
    place: str
    loss: FiniteFloat | None
    label: str
    predicted: str
    probability: FiniteFloat | None = None
    label_probability: FiniteFloat | None = None
    true: list[float | None] = []
    values: list[float | None] = []


class EarlyStoppingInfo(Facts):
    """The state of early stopping.

    `best` is the extreme value seen. `target` is the value to beat, so that `counter` starts again at 0; it
    follows `best` only when an evaluation beats it. Both are None before the first evaluation.
    """

    monitor: str
    mode: Literal["min", "max"]
    patience: Count
    min_delta: float
    counter: Count = 0
    best: float | None = None
    best_step: Step | None = None
    target: float | None = None


class Mark(Facts):
    """A step at which a checkpoint was saved, or from which the run was resumed or, live, rolled back to."""

    kind: Literal["saved", "resumed"]
    step: Step
    rolled_back: bool = False


class Best(Facts):
    """The best evaluation so far."""

    metric: str
    value: float
    step: Step

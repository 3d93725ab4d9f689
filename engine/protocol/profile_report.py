"""The report of a profile: where the time and the memory of a few training steps went."""

from __future__ import annotations

from torchconsole.engine.protocol.info import Count, Facts, Seconds, StepTimes


class OperationTime(Facts):
    """An operation: its calls and the seconds spent in itself, per step; `share` is of all operations."""

    name: str
    calls: float
    seconds: Seconds
    share: float


class LayerTime(Facts):
    """A module without the modules in it: seconds per step in each pass; `share` is of all operations."""

    name: str
    type: str
    forward: Seconds
    backward: Seconds
    share: float


class MemoryCurve(Facts):
    """The memory in use: bytes at times in seconds, each the most since the one before."""

    seconds: list[Seconds]
    allocated: list[Count]
    peak: Count
    reserved: Count | None = None


class ProfileReport(Facts):
    """A profile of `steps` steps from `first_step`, counted from 1.

    `left_out` of them took more than twice as long as the median step and are in no figure but the memory's.
    `step_seconds` is the mean duration of the others while they were profiled, which is longer than without.
    `times` are the parts of steps that were not profiled; None if unknown. Operations and layers have times
    of the GPU if `on_gpu`, else of the CPU; the longest ones come first. `layers` is empty for a compiled
    model. Of several `processes` it is a profile of the first.
    The memory of the CPU is that of weights, buffers and optimizer, and what the steps added.
    """

    device: str
    precision: str
    first_step: Count
    steps: Count
    left_out: Count = 0
    batch_size: Count
    processes: Count = 1
    step_seconds: Seconds
    times: StepTimes | None = None
    on_gpu: bool
    operations: list[OperationTime]
    layers: list[LayerTime]
    memory: MemoryCurve | None = None
    trace: str = ""

"""Reports that a process with torch makes for the console and the command line."""

from __future__ import annotations

from typing import Literal

from torchconsole.engine.protocol.info import Facts, Metrics


class CheckReport(Facts):
    """What a check of a preset found: it builds, and one batch went forward and backward with this `loss`.

    `seconds` are what each phase took; `trainable` are the parameters that the optimizer has.
    """

    device: str
    task: str
    input_shape: list[int]
    outputs: int
    train_samples: int
    val_samples: int
    steps_per_epoch: int
    params: int
    trainable: int
    loss: float | None
    seconds: dict[str, float]
    notes: list[str] = []


class EvaluationReport(Facts):
    """A checkpoint's evaluation on one part of its data. `tables` hold a row for each class."""

    checkpoint: str
    step: int
    epoch: int
    part: Literal["val", "test", "train"]
    samples: int
    device: str
    averaged: bool
    metrics: Metrics
    tables: dict[str, list[list[float]]] = {}
    classes: list[str] = []


class ExportReport(Facts):
    """The file that a checkpoint's weights were written to. `tied` names stand for the tensor of another."""

    file: str
    checkpoint: str
    step: int
    bytes: int
    tensors: int
    params: int
    averaged: bool
    tied: dict[str, str] = {}


class LearningRateCurve(Facts):
    """The lr that a preset's schedule gives each parameter group, at some of the run's steps.

    `lrs` holds a list for each group, as long as `steps`. `metric` is what the schedule waits for where a
    part of it goes by one: the lr is taken to stay as it is then.
    """

    steps_per_epoch: int
    total_steps: int
    steps: list[int]
    lrs: list[list[float]]
    metric: str | None = None

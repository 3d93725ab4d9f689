"""Reports that a process with torch creates for the console and the command line."""

from __future__ import annotations

from typing import Literal

from torchconsole.engine.protocol.info import Facts, Metrics

ColumnRole = Literal["numeric", "categorical", "date", "text", "target", "dropped"]
"""What a column of a table is used as. A date becomes several numbers; a dropped column is not used."""


class DataColumn(Facts):
    """A column of a table, its role, and a detail: its range, its categories, or why it is dropped."""

    name: str
    role: ColumnRole
    detail: str = ""


class CheckReport(Facts):
    """The result of a preset check: everything was built, and a dry run with one batch gave this `loss`.

    `seconds` has the duration of each phase; `trainable` counts the parameters that the optimizer updates.
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
    columns: list[DataColumn] = []


class EvaluationReport(Facts):
    """An evaluation of a checkpoint on one part of its data. `tables` have one row per class."""

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
    """The file with the weights of a checkpoint. `tied` maps names to the tensor that they share."""

    file: str
    checkpoint: str
    step: int
    bytes: int
    tensors: int
    params: int
    averaged: bool
    tied: dict[str, str] = {}


class LearningRateCurve(Facts):
    """The scheduled lr of each parameter group, at some of the run's steps.

    `lrs` has a list per group, as long as `steps`. `metric` is the one that a part of the schedule depends
    on, if any; the lr is assumed to be constant during that part.
    """

    steps_per_epoch: int
    total_steps: int
    steps: list[int]
    lrs: list[list[float]]
    metric: str | None = None

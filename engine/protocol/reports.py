"""Reports that a process with torch creates for the console and the command line."""

from __future__ import annotations

from typing import Literal

from torchconsole.engine.protocol.info import Count, Facts
from torchconsole.engine.protocol.model_reports import UnreadInput

ColumnRole = Literal["numeric", "categorical", "date", "text", "target", "dropped"]
"""What a column of a table is used as. A date becomes several numbers; a dropped column is not used."""


class DataColumn(Facts):
    """A column of a table, its role, and a detail: its range, its categories, or why it is dropped."""

    name: str
    role: ColumnRole
    detail: str = ""


class Finding(Facts):
    """A pitfall that a check or a start found. An error refuses the start of a run.

    `name` is its kebab-case id. `remedy` is a key of the preset or a line of code.
    """

    level: Literal["error", "warning", "hint"]
    name: str
    evidence: str
    reason: str
    remedy: str

    @property
    def line(self) -> str:
        """The finding in one line, without its level."""
        return f"{self.name}: {self.evidence}; {self.reason}; to fix it: {self.remedy}"


class ClassCount(Facts):
    """A class or label and its number of training samples; None if unknown."""

    name: str
    samples: int | None = None


class LrAt(Facts):
    """The scheduled lr of the first parameter group in the first step of an epoch, counted from 1."""

    epoch: int
    lr: float


class OverfitReport(Facts):
    """A training on one batch of `samples`: whether the loss fell to `limit`, so that the batch is learned.

    `curve` has (step, loss before it), thinned; `lr` is constant. `limit` is None if the first loss was not
    finite.
    """

    learned: bool
    samples: int
    steps: int
    seconds: float
    lr: float
    limit: float | None
    curve: list[tuple[int, float]]


class StepMemory(Facts):
    """The memory of a training step by what it holds, in bytes.

    Gradients are those of all trained parameters, `optimizer` is its state after a step, and `activations`
    are what the forward pass keeps for the backward pass; on a GPU also what operations need meanwhile.
    """

    parameters: Count
    buffers: Count
    gradients: Count
    optimizer: Count
    activations: Count


class CheckReport(Facts):
    """The result of a preset check: what its dry run saw, and the findings.

    `input_shape` and `output_shape` are of one sample. `trainable` counts the parameters that the optimizer
    updates, `memory` the bytes of a step, and `memory_parts` says what holds them (None if unknown).
    `loss_unit` says what the loss is computed on, if not on the targets as they are. `step_seconds` and
    `batch_seconds` are the times of an optimizer step and of loading a batch, `num_workers` the data loader
    workers of a run (None if its samples are in memory), of each of its `processes`. A step of all of them
    is of `effective_batch` samples, with `lr_factor` times the preset's lr and `threads` each. `seconds` has
    the duration of each phase of the check. `lrs` has the lr at the start of the first, middle and last
    epoch, `lr_unit` what the schedule counts.
    """

    device: str
    precision: str = ""
    task: str
    input_shape: list[int]
    input_type: str = ""
    output_shape: list[int]
    train_samples: int
    val_samples: int
    test_samples: int | None = None
    classes: list[ClassCount] = []
    batch_size: int
    processes: int = 1
    effective_batch: int = 0
    lr_factor: float = 1.0
    threads: int = 0
    steps_per_epoch: int
    params: int
    trainable: int
    memory: int | None = None
    memory_parts: StepMemory | None = None
    loss: float | None
    loss_unit: str = ""
    step_seconds: float
    batch_seconds: float
    num_workers: int | None = None
    lrs: list[LrAt] = []
    lr_unit: str = ""
    seconds: dict[str, float]
    notes: list[str] = []
    columns: list[DataColumn] = []
    findings: list[Finding] = []
    overfit: OverfitReport | None = None


class ExportedGraph(Facts):
    """What an exported graph takes and gives, and how it was compared with the model.

    `inputs` and `outputs` are such as `float32 (N, 3, 32, 32)`, where N is any number.
    """

    inputs: str
    outputs: str
    checked_by: str
    """What ran it for the comparison, with its version; empty if nothing could."""
    difference: float | None = None
    """Largest difference from the model's outputs for random inputs; None if it was not compared."""
    notes: list[str] = []


class ExportReport(Facts):
    """The file with the weights of a checkpoint, or its model as a graph.

    `tied` maps names to the tensor that they share.

    `target_scale` has the mean and std (K,) that turn its outputs into the targets' unit, if it needs them.
    """

    file: str
    checkpoint: str
    step: int
    bytes: int
    tensors: int
    params: int
    averaged: bool
    tied: dict[str, str] = {}
    normalize: dict[str, list[float]] | None = None
    target_scale: dict[str, list[float]] | None = None
    """`mean` and `std` of each channel or feature, which the model's inputs need; None if it has none."""
    graph: ExportedGraph | None = None
    """None for a file of weights."""


class TrainingSample(Facts):
    """A sample of a training batch after its transforms: a text, the first values of a row, or a picture.

    `pixels` are the bytes of a picture, row by row, in base64. A value is None if it is not finite.
    """

    place: str
    label: str
    text: str = ""
    values: list[float | None] = []
    pixels: str = ""


class TrainingSamples(Facts):
    """The first samples of a training batch, before they are normalized. `shape` is that of an input.

    `picture` is the shape (H, W, 3) of the pictures, which are reduced if they are large; `is_scaled` says
    that their values were not between 0 and 1. `columns` names the values of a row, if they have names.
    """

    kind: Literal["images", "rows", "texts"]
    samples: list[TrainingSample]
    shape: list[int]
    batch_size: int
    picture: list[int] = []
    is_scaled: bool = False
    columns: list[str] = []


class LearningRateCurve(Facts):
    """The scheduled lr of each parameter group, at some of the run's steps.

    `lrs` has a list per group, as long as `steps`. `metric` is the one that a part of the schedule depends
    on, if any; the lr is assumed to be constant during that part. `unit` says what each part counts; `epochs`
    has the lr at the start of the first, middle and last epoch.
    """

    steps_per_epoch: int
    total_steps: int
    steps: list[int]
    lrs: list[list[float]]
    metric: str | None = None
    unit: str = ""
    epochs: list[LrAt] = []


class LearningRateSearch(Facts):
    """A learning rate range test of at most `steps` steps: the loss before the step with each lr.

    `lrs`, `losses` and `smoothed` (a debiased moving average) are as long as the test; `lr` is the preset's
    optimizer.lr, and all lrs are in its place. `step` is that of the checkpoint whose weights it starts from,
    None without one. `steepest` is the lr where the smoothed loss falls most,
    `minimum` where it is lowest, `tenth` a tenth of that; all are None, and `settings` is empty, if the loss
    does not fall. `settings` has the overrides (key=value) that take `suggestion` over, for each parameter
    group with an lr of its own too.
    """

    device: str
    precision: str
    lr: float
    steps: int
    lrs: list[float]
    losses: list[float]
    smoothed: list[float]
    diverged: bool
    step: int | None = None
    steepest: float | None = None
    minimum: float | None = None
    tenth: float | None = None
    suggestion: float | None = None
    settings: list[str] = []


class TensorValues(Facts):
    """The range of a tensor's finite values; `deviation` is the population's standard deviation.

    `zeros` is the share of all values that are 0, `nonfinite` counts NaN and infinities. Without a finite
    value the range is None.
    """

    name: str
    shape: list[int]
    min: float | None
    max: float | None
    mean: float | None
    deviation: float | None
    zeros: float
    nonfinite: int


class ValuesReport(Facts):
    """The values of a model: of a checkpoint, or if that is None, of a preset's before its first step."""

    checkpoint: str | None
    averaged: bool
    tensors: list[TensorValues]


class GraphReport(Facts):
    """A file with a drawing of a model's modules."""

    file: str
    bytes: int


class ImportedRun(Facts):
    """A run that was imported from `source`, and the metrics that were found at its `steps`.

    `renamed` has the metrics that are called otherwise in the source. `notes` say what of the source, which
    may have several runs, was left out or changed. `separator` is that between the columns of a CSV file.
    """

    run: str
    folder: str
    source: str
    format: str
    steps: int
    metrics: list[str]
    renamed: dict[str, str] = {}
    separator: str = ""
    notes: list[str] = []


class ImportReport(Facts):
    """The runs that were imported, and the files and folders of which none was."""

    runs: list[ImportedRun] = []
    failed: list[UnreadInput] = []

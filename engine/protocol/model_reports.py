"""Reports on a trained model: evaluations, predictions, and the outputs of its layers."""

from __future__ import annotations

from typing import Literal

from torchconsole.engine.protocol.info import Facts, Metrics, WorstSample


class ClassFigures(Facts):
    """The figures of one class or label; None where one cannot be computed.

    `samples` have the class, and `predicted` are predicted as it.
    """

    name: str
    samples: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None


class Confusion(Facts):
    """Samples of the class `true` that were predicted as `predicted`; `share` is of all of `true`."""

    true: str
    predicted: str
    samples: int
    share: float


class Calibration(Facts):
    """How far the probabilities of the predicted classes are from the accuracy.

    `error` is the expected calibration error (Naeini et al. 2015; Guo et al. 2017, equation 3): the samples
    are put into `bins` of equal width from 0 to 1 by the probability of the predicted class (confidence), and
    the differences between mean confidence and accuracy in each bin are averaged, weighted by its samples.
    `confidence` and `accuracy` are the means over all samples.
    """

    error: float
    bins: int
    confidence: float
    accuracy: float


class UnreadInput(Facts):
    """A file that could not be used, and why."""

    file: str
    reason: str


class EvaluationReport(Facts):
    """An evaluation of a checkpoint on one part of its data, or on the other `data` in a file or folder.

    `tables` have one row per class. `failed` has files of other data that could not be used.

    `unavailable` says of a metric without a value why it cannot be computed. `confusions` has all pairs of
    classes that were confused, the most frequent one first. `missing` says why `per_class`, `confusions`,
    `calibration` or `worst` is empty.
    """

    checkpoint: str
    step: int
    epoch: int
    part: Literal["val", "test", "train", "other"]
    data: str = ""
    samples: int
    device: str
    averaged: bool
    metrics: Metrics
    unavailable: dict[str, str] = {}
    tables: dict[str, list[list[float]]] = {}
    classes: list[str] = []
    loss_unit: str = ""
    """What the loss is computed on; empty for targets as they are."""
    changes: list[str] = []
    """What has changed in the data since the run started, a sentence each."""
    per_class: list[ClassFigures] = []
    confusions: list[Confusion] = []
    calibration: Calibration | None = None
    worst: list[WorstSample] = []
    """The samples with the highest losses, the highest first."""
    missing: dict[str, str] = {}
    failed: list[UnreadInput] = []


STDIN = "-"
"""Names standard input among the inputs of a model."""

READ_ONCE = "a pipe can be read once only; write what comes from it to a file"
"""Says why data to evaluate on cannot be a pipe: its targets are read apart from its inputs."""


class Picture(Facts):
    """A small picture. `pixels` are `height` x `width` x 3 bytes, RGB, in base64."""

    height: int
    width: int
    pixels: str


class Prediction(Facts):
    """What a model predicts for a file or one of its rows, counted from 1.

    `line` is where the row starts in a file that is text, such as a CSV file.
    `classes` are the most probable ones with their `probabilities`, the first one first; `values` are those
    of a regression, in the targets' unit. A number that is not finite is None. `picture` is that of an image,
    if it was asked for.
    """

    file: str
    row: int | None = None
    line: int | None = None
    classes: list[str] = []
    probabilities: list[float | None] = []
    values: list[float | None] = []
    picture: Picture | None = None


class PredictionReport(Facts):
    """The predictions of a checkpoint, or of an export, which has no `epoch`.

    `targets` names the values of a regression.
    `target_transform` is the function of the targets that the values are in; empty if there is none. With
    `flips`, predictions are means over an image and its mirror image.
    """

    checkpoint: str
    step: int
    epoch: int | None
    device: str
    averaged: bool
    task: str
    targets: list[str] = []
    target_transform: str = ""
    flips: bool = False
    predictions: list[Prediction] = []
    failed: list[UnreadInput] = []


class LayerOutput(Facts):
    """What a layer gives in a forward pass. `type` is its class.

    `shape` is that of its output for one input, None if there is no row for each input. Of several `calls`,
    the last one counts.
    """

    name: str
    type: str
    shape: list[int] | None
    calls: int


class LayerReport(Facts):
    """The layers of the model of a checkpoint, or of an export, which has no `epoch`.

    `averaged` says whether the weights are those of the EMA.
    """

    checkpoint: str
    step: int
    epoch: int | None
    averaged: bool
    layers: list[LayerOutput]


class FeatureReport(LayerReport):
    """The outputs of layers for `inputs` inputs, and the file that has them; empty if there are no inputs."""

    file: str
    device: str
    inputs: int
    failed: list[UnreadInput] = []

"""Metrics of an evaluation over its batches: their values by name, and which cannot be computed, and why."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchconsole.engine.components.data.target_scaling import TargetUnit
from torchconsole.engine.components.data.types import DataSpec
from torchconsole.engine.components.devices import DEVICE_ERRORS
from torchconsole.engine.components.outputs import OutputKind, as_numbers, as_predictions
from torchconsole.engine.components.ranks import Ranks
from torchconsole.engine.components.regression_sample import SampleKeeper
from torchconsole.engine.components.undefined_metrics import Labels
from torchconsole.engine.components.user_errors import describe_error
from torchconsole.engine.config.user_code import is_user_code
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.protocol.info import ConfusionMatrix, RegressionSample
from torchconsole.engine.system_limits import is_memory_error
from torchconsole.engine.text import first_line

if TYPE_CHECKING:
    from torchmetrics import Metric

MAX_MATRIX_CLASSES = 100
"""Evaluations with more classes are reported without a confusion matrix: 10,000 numbers are 25 kB of JSON."""

NOT_A_NUMBER = "its value is not a number (nan)"


@dataclass(frozen=True)
class NamedMetric:
    """A metric with its key in the preset and its name there, for messages."""

    metric: Metric
    section: str
    name: str


class MetricSet:
    """Computes metrics over the batches since the last reset.

    A metric that cannot be computed has the value None, and `unavailable` says why. An evaluation never fails
    because of a metric; `check` raises what failed for another reason than the labels of the samples.
    Metrics of standardized targets are computed in the targets' `unit`.
    """

    def __init__(
        self,
        metrics: Mapping[str, NamedMetric],
        spec: DataSpec,
        outputs: OutputKind,
        unit: TargetUnit | None = None,
    ) -> None:
        self.unavailable: dict[str, str] = {}
        """Why a metric could not be computed the last time, by its name."""
        self._metrics = dict(metrics)
        self._spec = spec
        self._outputs = outputs
        self._unit = unit
        self._labels = Labels(spec)
        self._sample = SampleKeeper()
        self._failed: dict[str, Exception] = {}
        self._values: dict[str, Tensor | None] | None = None
        self._names: dict[str, list[str]] = {}

    @property
    def by_key(self) -> dict[str, Metric]:
        """The metrics by their keys."""
        return {key: named.metric for key, named in self._metrics.items()}

    def update(self, outputs: object, targets: Tensor) -> None:
        """Add a batch: the outputs of the model, and targets in the form that `TaskType` describes.

        Raises TypeError, ValueError or ComponentError for outputs that do not fit the data (`as_rows`),
        unless all metrics are the user's own.
        """
        if not self._metrics:
            with contextlib.suppress(ComponentError, TypeError, ValueError):
                self._prepared(outputs, targets)
            return
        self._values = None
        self._labels.update(targets)
        prepared = self._prepared(outputs, targets)
        for key, named in self._metrics.items():
            arguments = prepared
            if self._outputs.form == "values" and _is_of_numbers(named.metric):
                arguments = self._in_unit(*as_numbers(outputs, targets, self._spec))
            if key not in self._failed:
                with self._catching(key):
                    named.metric.update(*arguments)

    def _prepared(self, outputs: object, targets: Tensor) -> tuple[Any, Tensor]:
        """Return the arguments of the metrics; for the user's own, outputs of another form as they are."""
        try:
            predictions, rows = self._in_unit(*as_predictions(outputs, targets, self._spec, self._outputs))
            if self._spec.task == "regression":
                self._sample.update(predictions, rows)
            return predictions, rows
        except (ComponentError, TypeError, ValueError) as error:
            if all(is_user_code(named.name) for named in self._metrics.values()):
                return (outputs, targets)
            if not isinstance(error, ComponentError):
                raise
            raise ComponentError(
                f"{error}; if a loss of your own needs these outputs, set metrics = [], or name only metrics "
                "of your own, which get the outputs as they are"
            ) from error

    def _in_unit(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if self._unit is None:
            return predictions, targets
        return self._unit(predictions), self._unit(targets)

    def merge(self, ranks: Ranks) -> None:
        """Add the batches of the other processes. The metrics themselves are merged by `compute`.

        A metric that failed in one process is not computed in any.
        """
        if ranks.is_alone:
            return
        reasons = {key: first_line(_cause(error)) for key, error in self._failed.items()}
        for key, reason in ((key, reason) for own in ranks.gather(reasons) for key, reason in own.items()):
            self._failed.setdefault(key, RuntimeError(reason))
        self._labels.merge(ranks)
        self._sample.merge(ranks)

    def compute(self) -> dict[str, float | None]:
        """Return the values by name, such as val/accuracy; a value per class as val/recall/<class>."""
        self.unavailable = {}
        values: dict[str, float | None] = {}
        for key, value in self._computed().items():
            if value is not None and value.ndim == 2:
                continue
            values |= self._named_values(key, value)
        return values

    def tables(self) -> dict[str, list[list[float]]]:
        """Return the metrics that are tables, such as the confusion matrix with a row for each true class."""
        found = self._computed().items()
        return {key: value.tolist() for key, value in found if value is not None and value.ndim == 2}

    def confusion_matrix(self) -> ConfusionMatrix | None:
        """Return the first square table; None if there is none or it exceeds `MAX_MATRIX_CLASSES`."""
        for counts in self.tables().values():
            if counts and len(counts) == len(counts[0]) <= MAX_MATRIX_CLASSES:
                return ConfusionMatrix(classes=self._class_names(len(counts)), counts=counts)
        return None

    def regression_sample(self) -> RegressionSample | None:
        """Return some of the predictions with their true values; None for classes, and without batches."""
        return self._sample.result()

    def why_no_tables(self) -> str:
        """Return why there is neither a confusion matrix nor a sample of a regression, and what to do."""
        if self._spec.task == "regression":
            return "the outputs of the model are not numbers that can be compared with the targets"
        if self._spec.task == "multilabel":
            return (
                "a sample may have several labels, so no class is mistaken for another; for the values of "
                'each label add average = "none" to a metric'
            )
        square = [counts for counts in self.tables().values() if counts and len(counts) == len(counts[0])]
        if square:
            return f"{len(square[0]):,} classes; a matrix is shown for at most {MAX_MATRIX_CLASSES}"
        if any("ConfusionMatrix" in named.name for named in self._metrics.values()):
            return "the confusion matrix could not be computed; the log says why"
        return 'the preset has no such metric: add [[metrics]] with name = "ConfusionMatrix"'

    def reset(self) -> None:
        """Remove all batches."""
        self._labels = Labels(self._spec)
        self._sample = SampleKeeper()
        self._failed = {}
        self._values = None
        for named in self._metrics.values():
            named.metric.reset()

    def check(self) -> None:
        """Raise ComponentError for a metric that does not support the data, after batches of it.

        An error while computing the value is not one if the samples lack a class: it may be the reason.
        """
        self._computed()
        for key, error in self._failed.items():
            if isinstance(error, _ComputationError) and not self._labels.is_complete:
                continue
            named = self._metrics[key]
            raise ComponentError(
                f"{named.section}.name: {named.name} does not support {self._spec.task} data: "
                f"{describe_error(_cause(error))}"
            ) from error

    def higher_is_better(self, name: str) -> bool | None:
        """Whether higher values of the metric `name` are better; None if torchmetrics does not define it."""
        for key, named in self._metrics.items():
            if name == key or name.startswith(f"{key}/"):
                return named.metric.higher_is_better
        return None

    @contextmanager
    def _catching(self, key: str) -> Iterator[None]:
        """Note an error of a metric, which may be user code, and go on without the metric."""
        try:
            yield
        except DEVICE_ERRORS:
            raise
        except Exception as error:  # metrics of user code may raise anything
            if is_memory_error(error) or is_memory_error(error.__cause__ or error):
                raise
            self._failed[key] = error

    def _computed(self) -> dict[str, Tensor | None]:
        """Return the value of each metric; None for one that failed."""
        if self._values is None:
            self._values = {key: self._compute_one(key, named) for key, named in self._metrics.items()}
        return self._values

    def _compute_one(self, key: str, named: NamedMetric) -> Tensor | None:
        if key in self._failed:
            return None
        values: list[Tensor] = []
        with self._catching(key):
            try:
                value = named.metric.compute()
            except DEVICE_ERRORS:
                raise
            except Exception as error:
                raise _ComputationError from error
            values.append(_as_tensor(value))
        return next(iter(values), None)

    def _named_values(self, key: str, value: Tensor | None) -> dict[str, float | None]:
        """Return the values of one metric by name, None for those that cannot be computed."""
        named = self._metrics[key]
        if value is None:
            reason = first_line(_cause(self._failed[key]))
            names = self._names.get(key, [key])
            self.unavailable |= dict.fromkeys(names, reason)
            return dict.fromkeys(names)
        if value.ndim == 0:
            why = self._labels.reason(named.metric) or (NOT_A_NUMBER if value.isnan() else None)
            values = {key: float(value)}
            reasons = {key: why} if why else {}
        else:
            names = [f"{key}/{name}" for name in self._class_names(len(value))]
            values = dict(zip(names, value.tolist(), strict=True))
            undefined = self._labels.undefined_classes(named.metric)
            absent = zip(names, undefined, strict=True) if len(undefined) == len(names) else ()
            reasons = {name: NOT_A_NUMBER for name, number in values.items() if math.isnan(number)}
            reasons |= {name: "no sample or every sample is of this class" for name, bad in absent if bad}
        self._names[key] = list(values)
        self.unavailable |= reasons
        return {name: None if name in reasons else number for name, number in values.items()}

    def _class_names(self, count: int) -> list[str]:
        known = self._spec.class_names
        return known if len(known) == count else [str(index) for index in range(count)]


class _ComputationError(Exception):
    """Marks an error of `compute`, its cause, which may come from the labels of few samples."""


def _cause(error: Exception) -> BaseException:
    cause = error.__cause__ if isinstance(error, _ComputationError) else error
    return cause or error


def _as_tensor(value: object) -> Tensor:
    """Return a value, a value per class or a table as a tensor. Raises TypeError for anything else."""
    if isinstance(value, int | float):
        return torch.tensor(float(value))
    if not isinstance(value, Tensor) or value.ndim > 2:
        raise TypeError("it returns curves or several values; use a metric with one value")
    return value


def _is_of_numbers(metric: Metric) -> bool:
    """Whether a metric compares numbers rather than classes."""
    return any(base.__module__.startswith("torchmetrics.regression") for base in type(metric).__mro__)

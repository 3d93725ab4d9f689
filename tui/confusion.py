"""What a confusion matrix says about each class, and which classes are mistaken for each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torchconsole.engine.protocol.info import ConfusionMatrix
from torchconsole.engine.text import printable

Measure = Literal["recall", "precision", "f1", "support", "class"]
MEASURES: tuple[Measure, ...] = ("recall", "precision", "f1", "support", "class")
"""What classes can be sorted by; `class` is the order of the data."""

_TOLERANCE = 0.01


@dataclass(frozen=True)
class ClassScore:
    """The figures of one class. `support` is the number of its samples, None if the matrix holds shares only.

    A figure is None where it cannot be computed: without samples, without predictions, or from such shares.
    """

    index: int
    name: str
    recall: float | None
    precision: float | None
    support: float | None

    @property
    def f1(self) -> float | None:
        """The harmonic mean of precision and recall."""
        if self.recall is None or self.precision is None:
            return None
        total = self.recall + self.precision
        return 2 * self.recall * self.precision / total if total else 0.0

    def figure(self, measure: Measure) -> float | None:
        """Return one of the figures."""
        if measure == "class":
            return float(self.index)
        value = {"recall": self.recall, "precision": self.precision, "f1": self.f1, "support": self.support}
        return value[measure]


@dataclass(frozen=True)
class Confusion:
    """Samples of class `true` that were predicted as class `predicted`: their number or share, and the share
    of all samples of their class, None if unknown.
    """

    true: int
    predicted: int
    count: float
    share: float | None


def is_counted(matrix: ConfusionMatrix) -> bool:
    """Whether the matrix holds numbers of samples rather than shares."""
    cells = [cell for row in matrix.counts for cell in row]
    return all(isinstance(cell, int) or float(cell).is_integer() for cell in cells) and sum(cells) > 1.5


def class_scores(matrix: ConfusionMatrix) -> list[ClassScore]:
    """Return the figures of each class, in the order of the matrix."""
    rows = [_total(row) for row in matrix.counts]
    columns = [_total(column) for column in zip(*matrix.counts, strict=True)]
    counted = is_counted(matrix)
    of_all = abs(sum(rows) - 1) < _TOLERANCE and len(rows) > 1
    by_row = counted or of_all or _are_ones(rows)
    by_column = counted or of_all or _are_ones(columns)
    if by_row and by_column and not (counted or of_all):
        by_column = False  # both sums are 1: torchmetrics normalizes by the true classes far more often
    return [
        ClassScore(
            index,
            printable(name),
            matrix.counts[index][index] / rows[index] if by_row and rows[index] else None,
            matrix.counts[index][index] / columns[index] if by_column and columns[index] else None,
            rows[index] if counted else None,
        )
        for index, name in enumerate(matrix.classes)
    ]


def sorted_scores(
    scores: Sequence[ClassScore], measure: Measure, *, best_first: bool = False
) -> list[ClassScore]:
    """Return the classes, the worst first; those without the figure come last."""

    def key(score: ClassScore) -> float:
        value = score.figure(measure)
        return math.inf if value is None else -value if best_first else value

    return sorted(scores, key=key)


def confusions(matrix: ConfusionMatrix) -> list[Confusion]:
    """Return all pairs of classes that are confused, those with the most samples first."""
    totals = [_total(row) for row in matrix.counts]
    found = [
        Confusion(true, predicted, float(count), count / totals[true] if totals[true] else None)
        for true, row in enumerate(matrix.counts)
        for predicted, count in enumerate(row)
        if true != predicted and count > 0
    ]
    return sorted(found, key=lambda pair: -pair.count)


def macro(scores: Sequence[ClassScore], measure: Measure) -> float | None:
    """Return the mean of a figure over the classes that have it."""
    values = [value for score in scores if (value := score.figure(measure)) is not None]
    return sum(values) / len(values) if values else None


def _total(cells: Sequence[float]) -> float:
    return float(sum(cell for cell in cells if cell > 0))


def _are_ones(totals: Sequence[float]) -> bool:
    return any(totals) and all(total == 0 or abs(total - 1) < _TOLERANCE for total in totals)

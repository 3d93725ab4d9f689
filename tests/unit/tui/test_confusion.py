"""What a confusion matrix says about classes, whatever it is normalized by."""

from __future__ import annotations

import pytest

from torchconsole.engine.protocol.info import ConfusionMatrix
from torchconsole.tui.confusion import class_scores, confusions, macro, sorted_scores

COUNTS: list[list[int | float]] = [[8, 2, 0], [1, 9, 0], [5, 0, 5]]
NAMES = ["cat", "dog", "owl"]


def matrix(counts: list[list[int | float]]) -> ConfusionMatrix:
    """Return a matrix of three classes."""
    return ConfusionMatrix(classes=NAMES, counts=counts)


def test_recall_precision_and_support_of_counts() -> None:
    cat, dog, owl = class_scores(matrix(COUNTS))
    assert (cat.recall, cat.precision, cat.support) == (0.8, pytest.approx(8 / 14), 10)
    assert (dog.recall, dog.precision) == (0.9, pytest.approx(9 / 11))
    assert (owl.recall, owl.precision, owl.f1) == (0.5, 1.0, pytest.approx(2 / 3))


@pytest.mark.parametrize("as_float", [float, int])
def test_counts_may_be_floats(as_float: type) -> None:
    counts = [[as_float(cell) for cell in row] for row in COUNTS]
    assert class_scores(matrix(counts))[0].support == 10


def test_a_matrix_normalized_by_the_true_classes_has_no_precision() -> None:
    cat, *_ = class_scores(matrix([[cell / 10 for cell in row] for row in COUNTS]))
    assert (cat.recall, cat.precision, cat.support) == (pytest.approx(0.8), None, None)


def test_a_matrix_normalized_by_the_predicted_classes_has_no_recall() -> None:
    totals = [14, 11, 5]
    shares: list[list[int | float]] = [
        [cell / total for cell, total in zip(row, totals, strict=True)] for row in COUNTS
    ]
    cat, *_ = class_scores(matrix(shares))
    assert (cat.recall, cat.precision) == (None, pytest.approx(8 / 14))


def test_a_matrix_normalized_by_all_samples_has_both() -> None:
    cat, *_ = class_scores(matrix([[cell / 30 for cell in row] for row in COUNTS]))
    assert (cat.recall, cat.precision) == (pytest.approx(0.8), pytest.approx(8 / 14))


def test_classes_without_samples_come_last_in_both_directions() -> None:
    scores = class_scores(matrix([[8, 2, 0], [1, 9, 0], [0, 0, 0]]))
    assert scores[2].recall is None
    assert [score.name for score in sorted_scores(scores, "recall")] == ["cat", "dog", "owl"]
    assert [score.name for score in sorted_scores(scores, "recall", best_first=True)] == ["dog", "cat", "owl"]
    assert macro(scores, "recall") == pytest.approx(0.85)


def test_the_most_confused_pairs_come_first() -> None:
    found = [
        (NAMES[pair.true], NAMES[pair.predicted], pair.count, pair.share)
        for pair in confusions(matrix(COUNTS))
    ]
    assert found == [("owl", "cat", 5, 0.5), ("cat", "dog", 2, 0.2), ("dog", "cat", 1, 0.1)]


def test_an_empty_matrix_and_one_without_samples_raise_nothing() -> None:
    assert class_scores(ConfusionMatrix(classes=[], counts=[])) == []
    nothing = matrix([[0, 0, 0]] * 3)
    assert [score.recall for score in class_scores(nothing)] == [None] * 3
    assert confusions(nothing) == []

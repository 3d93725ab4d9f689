"""The figures of classes, confusions and calibration, checked by hand computation and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, recall_score

from tests.support.sessions import MakeSession
from torchconsole.engine.analysis.checkpoint_reports import evaluate_checkpoint
from torchconsole.engine.analysis.evaluation_details import calibration, class_figures, confused_pairs
from torchconsole.engine.protocol.model_reports import ClassFigures
from torchconsole.engine.run.names import BEST
from torchconsole.engine.training.checkpoint import read_checkpoint

NAMES = ["cat", "dog", "owl", "elk"]
TRUE = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
PREDICTED = np.array([0, 0, 1, 2, 1, 1, 0, 1, 1, 2])


def figures(found: ClassFigures) -> tuple[object, ...]:
    return found.samples, found.predicted, found.precision, found.recall, found.f1


def test_the_figures_of_each_class() -> None:
    cat, dog, owl, elk = class_figures(TRUE, PREDICTED, NAMES)
    assert [each.name for each in (cat, dog, owl, elk)] == NAMES
    assert figures(cat) == (4, 3, pytest.approx(2 / 3), 2 / 4, pytest.approx(4 / 7))
    assert figures(dog) == (3, 5, 2 / 5, pytest.approx(2 / 3), 0.5)
    assert figures(owl) == (3, 2, 1 / 2, pytest.approx(1 / 3), pytest.approx(0.4))
    assert figures(elk) == (0, 0, None, None, None)


def test_the_figures_of_each_label() -> None:
    true = np.array([[1, 0, 1], [1, 0, 0], [0, 0, 1]])
    predicted = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1]])
    one, two, three = class_figures(true, predicted, ["a", "b", "c"])
    assert figures(one) == (2, 1, 1.0, 0.5, pytest.approx(2 / 3))
    assert figures(two) == (0, 1, 0.0, None, 0.0)
    assert figures(three) == (2, 1, 1.0, 0.5, pytest.approx(2 / 3))


def test_all_pairs_that_are_confused_the_most_frequent_first() -> None:
    found = [
        (pair.true, pair.predicted, pair.samples, pair.share)
        for pair in confused_pairs(TRUE, PREDICTED, NAMES)
    ]
    assert found == [
        ("owl", "dog", 2, pytest.approx(2 / 3)),
        ("cat", "dog", 1, 0.25),
        ("cat", "owl", 1, 0.25),
        ("dog", "cat", 1, pytest.approx(1 / 3)),
    ]
    assert confused_pairs(TRUE, TRUE, NAMES) == []


def test_the_calibration_error_is_the_weighted_mean_over_the_bins() -> None:
    confidences = torch.tensor([0.95, 0.97, 1.0, 0.61, 0.65, 0.30])
    correct = torch.tensor([True, False, True, True, False, False])
    found = calibration(confidences, correct)
    # Bins of 1/15: three samples above 14/15, two from 9/15 to 10/15, one from 4/15 to 5/15.
    expected = (3 * abs(2.92 / 3 - 2 / 3) + 2 * abs(0.63 - 0.5) + 1 * 0.30) / 6
    assert found.error == pytest.approx(expected)
    assert (found.bins, found.accuracy) == (15, 0.5)
    assert found.confidence == pytest.approx(4.48 / 6)


def test_a_perfect_model_is_calibrated() -> None:
    assert calibration(torch.ones(4), torch.ones(4, dtype=torch.bool)).error == pytest.approx(0, abs=1e-12)


def test_an_evaluation_tells_of_classes_confusions_calibration_and_worst_samples(
    session: MakeSession,
) -> None:
    done = session("training.epochs=1")
    done.trainer.run()
    report = evaluate_checkpoint(done.checkpoints / BEST, "val", "auto")
    done.setup.model.load_state_dict(read_checkpoint(done.checkpoints / BEST)["model"])
    done.setup.model.eval()
    with torch.inference_mode():
        pairs = [(done.setup.model(inputs), targets) for inputs, targets in done.setup.data.val]
    outputs, targets = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    predicted, losses = (
        outputs.argmax(1),
        torch.nn.functional.cross_entropy(outputs, targets, reduction="none"),
    )
    recall = recall_score(targets, predicted, average=None)
    assert [each.recall for each in report.per_class] == pytest.approx(recall.tolist())
    matrix = confusion_matrix(targets, predicted)
    for pair in report.confusions:
        assert pair.samples == matrix[int(pair.true), int(pair.predicted)]
    assert sum(pair.samples for pair in report.confusions) == int((predicted != targets).sum())
    confidences = outputs.softmax(1).max(1).values.double()
    bins = [(confidences > low / 15) & (confidences <= (low + 1) / 15) for low in range(15)]
    gaps = [abs(float(confidences[bin].sum()) - float((predicted == targets)[bin].sum())) for bin in bins]
    assert report.calibration is not None
    assert report.calibration.error == pytest.approx(sum(gaps) / len(targets), abs=1e-6)
    highest = losses.sort(descending=True)
    assert [each.index for each in report.worst] == highest.indices[:9].tolist()
    assert [each.loss for each in report.worst] == pytest.approx(highest.values[:9].tolist(), rel=1e-5)
    assert report.missing == {}


def test_the_worst_samples_of_the_training_data_are_found_in_their_source(session: MakeSession) -> None:
    from sklearn.datasets import load_digits

    done = session("training.epochs=1")
    done.trainer.run()
    report = evaluate_checkpoint(done.checkpoints / BEST, "train", "auto")
    labels = load_digits().target
    for each in report.worst:
        assert each.label == str(labels[int(each.place.removeprefix("sample "))])
    assert len({each.place for each in report.worst}) == 9


def test_a_regression_has_worst_samples_alone(session: MakeSession) -> None:
    done = session(
        "data.name=diabetes", "model={name='MLP'}", "loss.name=auto", "early_stopping=", "training.epochs=1"
    )
    done.trainer.run()
    report = evaluate_checkpoint(done.checkpoints / BEST, "val", "auto")
    assert (report.per_class, report.confusions, report.calibration) == ([], [], None)
    assert report.missing == dict.fromkeys(
        ("per_class", "confusions", "calibration"), "the targets are numbers"
    )
    scale = done.setup.data.spec.target_scale
    assert scale is not None
    for each in report.worst:
        squared = ((each.values[0] or math.nan) - (each.true[0] or math.nan)) ** 2 / scale.std[0] ** 2
        assert each.loss == pytest.approx(squared, rel=1e-4)

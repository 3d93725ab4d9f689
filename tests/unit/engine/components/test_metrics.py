"""Metrics: the defaults of each task and any class of torchmetrics, compared with values computed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.specs import USER_CODE, spec, trusted_file
from torchconsole.engine.components.data.types import DataSpec, TaskType
from torchconsole.engine.components.metrics import MAX_MATRIX_CLASSES, MetricSet, build_metrics, snake_case
from torchconsole.engine.config.schema import MetricConfig
from torchconsole.engine.errors import ComponentError

CPU = torch.device("cpu")


def make(of: DataSpec, *configs: dict[str, Any]) -> MetricSet:
    named = [MetricConfig.model_validate(config) for config in configs] or None
    return build_metrics(named, of, CPU, USER_CODE)


def measure(metrics: MetricSet, outputs: Tensor, targets: Tensor, batch_size: int = 4) -> dict[str, float]:
    metrics.reset()
    with torch.inference_mode():
        for part in zip(outputs.split(batch_size), targets.split(batch_size), strict=True):
            metrics.update(*part)
    return metrics.compute()


def logits(rows: int, columns: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(3)) * 0.4


def f1(predicted: Tensor, true: Tensor) -> float:
    hits = (predicted & true).sum()
    return float(2 * hits / (predicted.sum() + true.sum()))


def test_multiclass_by_hand() -> None:
    metrics = make(spec("multiclass", 7))
    outputs, targets = logits(30, 7), torch.arange(30) % 7
    top = outputs.argmax(dim=1)
    in_top5 = (outputs.topk(5).indices == targets.unsqueeze(1)).any(dim=1)
    assert measure(metrics, outputs, targets) == pytest.approx(
        {
            "val/accuracy": float((top == targets).float().mean()),
            "val/top5_accuracy": float(in_top5.float().mean()),
            "val/f1": sum(f1(top == label, targets == label) for label in range(7)) / 7,
        }
    )
    table = metrics.tables()["val/confusion_matrix"]
    assert table[2][3] == int(((targets == 2) & (top == 3)).sum())
    assert sum(map(sum, table)) == 30
    matrix = metrics.confusion_matrix()
    assert matrix is not None
    assert (matrix.classes, matrix.counts) == (list("abcdefg"), table)


def test_a_confusion_matrix_with_too_many_classes_is_not_reported() -> None:
    metrics = make(spec("multiclass", MAX_MATRIX_CLASSES + 1))
    metrics.update(torch.eye(MAX_MATRIX_CLASSES + 1), torch.arange(MAX_MATRIX_CLASSES + 1))
    assert metrics.confusion_matrix() is None
    assert len(metrics.tables()["val/confusion_matrix"]) == MAX_MATRIX_CLASSES + 1


def test_a_regression_has_no_confusion_matrix() -> None:
    metrics = make(spec("regression", 1))
    metrics.update(torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [3.0]]))
    assert metrics.confusion_matrix() is None


def test_five_classes_have_no_top5_accuracy() -> None:
    assert "val/top5_accuracy" not in measure(
        make(spec("multiclass", 5)), logits(10, 5), torch.arange(10) % 5
    )


def test_binary_by_hand_on_logits_that_look_like_probabilities() -> None:
    outputs = torch.tensor([[0.2], [0.6], [-0.4], [0.1], [-0.2], [-0.9]])
    targets = torch.tensor([[0.0], [1.0], [0.0], [1.0], [1.0], [0.0]])
    # Above 0 is positive: predicted 1 1 0 1 0 0. Of the 9 pairs, 0.2 is above 0.1 and -0.2.
    expected = {"val/accuracy": 4 / 6, "val/f1": 2 / 3, "val/auroc": 7 / 9}
    assert measure(make(spec("binary", 1)), outputs, targets, 2) == pytest.approx(expected)


def test_multilabel_by_hand() -> None:
    outputs, targets = logits(20, 3), (logits(20, 6)[:, 3:] > 0).float()
    predicted, true = outputs > 0, targets > 0.5
    expected = {
        "val/accuracy": float((predicted == true).float().mean()),
        "val/f1": sum(f1(predicted[:, label], true[:, label]) for label in range(3)) / 3,
    }
    assert measure(make(spec("multilabel", 3)), outputs, targets) == pytest.approx(expected)


@pytest.mark.parametrize("outputs", [1, 3])
def test_regression_by_hand(outputs: int) -> None:
    predicted, true = logits(20, outputs), logits(20, 6)[:, :outputs] + 1
    spread = ((true - true.mean(dim=0)) ** 2).sum(dim=0)
    expected = {
        "val/mae": float((predicted - true).abs().mean()),
        "val/mse": float(((predicted - true) ** 2).mean()),
        "val/r2": float((1 - ((predicted - true) ** 2).sum(dim=0) / spread).mean()),
    }
    assert measure(make(spec("regression", outputs)), predicted, true) == pytest.approx(expected, rel=1e-4)


def test_a_reset_removes_all_batches_and_values_do_not_depend_on_batch_size() -> None:
    metrics = make(spec("multiclass", 7))
    outputs, targets = logits(30, 7), torch.arange(30) % 7
    first = measure(metrics, outputs, targets, 4)
    assert measure(metrics, outputs, targets, 30) == first


def test_metrics_of_torchmetrics_take_their_own_arguments_and_keys() -> None:
    metrics = make(
        spec("multiclass", 3),
        {"name": "MulticlassRecall", "average": "none"},
        {"name": "AUROC"},
        {"name": "F1Score", "average": "weighted", "key": "f1"},
        {"name": "ConfusionMatrix", "normalize": "true"},
    )
    values = measure(metrics, logits(12, 3), torch.arange(12) % 3)
    assert list(values) == [
        *(f"val/multiclass_recall/{name}" for name in "abc"),
        "val/auroc",
        "val/f1",
    ]
    assert [sum(row) for row in metrics.tables()["val/confusion_matrix"]] == pytest.approx([1, 1, 1])


def test_an_empty_list_means_no_metrics() -> None:
    assert build_metrics([], spec(), CPU, USER_CODE).compute() == {}


def test_a_metric_from_user_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = trusted_file(
        tmp_path,
        monkeypatch,
        "import torch\nfrom torchmetrics import Metric\n"
        "class TopGap(Metric):\n"
        "    def __init__(self, num_classes):\n"
        "        super().__init__(); self.add_state('total', torch.tensor(0.0))\n"
        "        self.scale = num_classes\n"
        "    def update(self, preds, target): self.total += preds.sum() * self.scale\n"
        "    def compute(self): return self.total\n",
    )
    metrics = make(spec("multiclass", 3), {"name": f"{path}:TopGap"})
    # Probabilities of a sample sum to 1; the trial on example outputs has been reset.
    assert measure(metrics, logits(4, 3), torch.arange(4) % 3) == pytest.approx({"val/top_gap": 12})


def test_building_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    make(spec("multiclass", 7))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("F1Score", "f1_score"),
        ("AUROC", "auroc"),
        ("MulticlassAUROC", "multiclass_auroc"),
        ("R2Score", "r2_score"),
        ("MeanAbsoluteError", "mean_absolute_error"),
    ],
)
def test_names_in_snake_case(name: str, expected: str) -> None:
    assert snake_case(name) == expected


@pytest.mark.parametrize(
    ("task", "config", "message"),
    [
        (
            "multiclass",
            {"name": "Acuracy"},
            "metrics.0.name: unknown name 'Acuracy', did you mean 'Accuracy'?",
        ),
        ("multiclass", {"name": "Metric"}, "metrics.0.name: unknown name 'Metric'"),
        ("multiclass", {"name": "Accuracy", "topk": 3}, "metrics.0.topk: Accuracy takes no argument"),
        ("multiclass", {"name": "Accuracy", "top_k": 9}, "metrics.0: Accuracy rejects these arguments"),
        (
            "multiclass",
            {"name": "BinaryF1Score"},
            "is for binary data, but the data is multiclass; use F1Score",
        ),
        ("multiclass", {"name": "ROC"}, "ROC returns curves or several values"),
        ("multiclass", {"name": "MeanAbsoluteError"}, "does not support multiclass data"),
        ("regression", {"name": "Accuracy"}, "Accuracy rejects these arguments"),
        (
            "multiclass",
            {"name": "Accuracy", "key": "loss"},
            "metrics.0.key: there is already a metric",
        ),
    ],
)
def test_a_wrong_metric_is_reported_in_one_line(task: TaskType, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ComponentError) as caught:
        make(spec(task, 3), config)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_metrics_cannot_have_the_same_key() -> None:
    with pytest.raises(ComponentError, match=r"metrics\.1\.key: there is already a metric val/accuracy"):
        make(spec(), {"name": "Accuracy"}, {"name": "Accuracy", "average": "macro"})

"""Metrics: the defaults of each task and any class of torchmetrics, compared with values computed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.specs import USER_CODE, spec, trusted_file
from torchconsole.engine.components.data.types import DataSpec, TaskType
from torchconsole.engine.components.metric_set import MAX_MATRIX_CLASSES, MetricSet
from torchconsole.engine.components.metrics import build_metrics, snake_case
from torchconsole.engine.components.outputs import OutputForm, OutputKind
from torchconsole.engine.config.schema import MetricConfig
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.protocol.info import Metrics

CPU = torch.device("cpu")


def make(of: DataSpec, *configs: dict[str, Any], outputs: OutputForm = "logits") -> MetricSet:
    named = [MetricConfig.model_validate(config) for config in configs] or None
    return build_metrics(named, of, OutputKind(outputs), CPU, USER_CODE)


def measure(metrics: MetricSet, outputs: Tensor, targets: Tensor, batch_size: int = 4) -> Metrics:
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
    metrics = build_metrics([], spec(), OutputKind(), CPU, USER_CODE)
    metrics.update((torch.zeros(2, 3), "anything"), torch.zeros(2))
    assert metrics.compute() == {}


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
        ("regression", {"name": "Accuracy"}, "Accuracy is for classes, but the data is regression; use"),
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


EVERY_CLASS: dict[TaskType, Tensor] = {
    "multiclass": torch.tensor([0, 1, 2, 1]),
    "regression": torch.tensor([[0.0], [1.0], [2.0], [0.5]]),
}


@pytest.mark.parametrize(
    ("task", "config", "message"),
    [
        ("multiclass", {"name": "ROC"}, "ROC does not support multiclass data: it returns curves or several"),
        ("multiclass", {"name": "MeanAbsoluteError"}, "MeanAbsoluteError does not support multiclass data"),
    ],
)
def test_a_metric_that_fails_on_a_real_batch_is_reported(
    task: TaskType, config: dict[str, Any], message: str
) -> None:
    metrics = make(spec(task, 3), config)
    key = snake_case(config["name"])
    assert measure(metrics, logits(4, 3), EVERY_CLASS[task]) == {f"val/{key}": None}
    with pytest.raises(ComponentError) as caught:
        metrics.check()
    assert str(caught.value).startswith(f"metrics.0.name: {message}")


FAILING = (
    "import torch\nfrom torchmetrics import Metric\n"
    "class Mine(Metric):\n"
    "    def __init__(self):\n"
    "        super().__init__(); self.add_state('labels', [])\n"
    "    def update(self, preds, target): self.labels.append(target)\n"
    "    def compute(self):\n"
    "        if len(torch.cat(self.labels).unique()) < 3: raise ValueError('only some classes')\n"
    "        return 0.5\n"
)


def test_a_metric_that_fails_without_every_class_is_no_misfit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = make(spec(), {"name": f"{trusted_file(tmp_path, monkeypatch, FAILING)}:Mine", "key": "mine"})
    assert measure(metrics, logits(4, 3), torch.tensor([0, 0, 1, 1])) == {"val/mine": None}
    assert metrics.unavailable == {"val/mine": "only some classes"}
    metrics.check()
    assert measure(metrics, logits(4, 3), EVERY_CLASS["multiclass"]) == {"val/mine": 0.5}
    assert metrics.unavailable == {}


ONE = torch.tensor([[1.0], [1.0], [1.0]])
UNDEFINED: list[tuple[DataSpec, dict[str, Any], Tensor, str]] = [
    (spec("binary", 1), {"name": "AUROC"}, ONE, "all 3 samples are of class b"),
    (spec("binary", 1), {"name": "AUROC", "thresholds": 5}, 0 * ONE, "all 3 samples are of class a"),
    (spec("binary", 1), {"name": "AveragePrecision"}, 0 * ONE, "all 3 samples are of class a"),
    (spec("binary", 1), {"name": "Recall"}, 0 * ONE, "all 3 samples are of class a"),
    (spec("binary", 1), {"name": "F1Score"}, 0 * ONE, "all 3 samples are of class a"),
    (spec("binary", 1), {"name": "Specificity"}, ONE, "all 3 samples are of class b"),
    (spec("binary", 1), {"name": "MatthewsCorrCoef"}, ONE, "all 3 samples are of class b"),
    (spec(), {"name": "AUROC"}, torch.tensor([0, 1, 1]), "none of the 3 samples is of class c"),
    (
        spec(),
        {"name": "AUROC", "average": "weighted"},
        torch.tensor([1, 1, 1]),
        "all 3 samples are of class b",
    ),
    (spec(), {"name": "AveragePrecision"}, torch.tensor([0, 0, 0]), "is of class b, c"),
    (spec(), {"name": "CohenKappa"}, torch.tensor([2, 2, 2]), "all 3 samples are of class c"),
    (spec("multilabel", 2), {"name": "AUROC"}, torch.tensor([[0.0, 1], [1, 1], [0, 1]]), "are of class b"),
    (
        spec("multilabel", 2),
        {"name": "AUROC", "average": "micro"},
        torch.ones(3, 2),
        "all 6 labels are equal",
    ),
    (spec("regression", 1), {"name": "R2Score"}, ONE, "all targets of the 3 samples are equal"),
    (spec("regression", 1), {"name": "PearsonCorrCoef"}, ONE, "all targets of the 3 samples are equal"),
    (spec("regression", 1), {"name": "R2Score"}, ONE[:1], "at least two samples"),
]


@pytest.mark.filterwarnings("ignore:No ", "ignore:Average")
@pytest.mark.parametrize(("of", "config", "targets", "reason"), UNDEFINED)
def test_a_metric_that_cannot_be_computed_has_no_value(
    of: DataSpec, config: dict[str, Any], targets: Tensor, reason: str
) -> None:
    metrics = make(of, {**config, "key": "it"})
    assert measure(metrics, logits(len(targets), of.num_outputs), targets) == {"val/it": None}
    assert reason in metrics.unavailable["val/it"]
    metrics.check()


@pytest.mark.filterwarnings("ignore:No ", "ignore:Average")
def test_only_the_classes_without_samples_have_no_value() -> None:
    metrics = make(
        spec(),
        {"name": "AUROC", "average": "none"},
        {"name": "Recall", "average": "none"},
        {"name": "AUROC", "average": "weighted", "key": "weighted"},
    )
    outputs, targets = logits(4, 3), torch.tensor([0, 1, 1, 0])
    values = measure(metrics, outputs, targets)
    assert [name for name, value in values.items() if value is None] == ["val/auroc/c", "val/recall/c"]
    assert list(metrics.unavailable) == ["val/auroc/c", "val/recall/c"]


def binary_expectation(scores: Tensor, targets: Tensor) -> dict[str, float]:
    """Accuracy at 0, and the share of pairs of a positive and a negative that are in the right order."""
    positive, negative = scores[targets > 0.5], scores[targets < 0.5]
    ranked = (positive.unsqueeze(1) > negative).float().mean()
    return {
        "val/accuracy": float(((scores > 0) == (targets > 0.5)).float().mean()),
        "val/auroc": float(ranked),
    }


BINARY_OUTPUTS: list[tuple[OutputForm, Any]] = [
    ("logits", lambda x: x.unsqueeze(1)),
    ("logits", lambda x: x),
    ("logits", lambda x: torch.stack([x * 0, x], dim=1)),
    ("probabilities", lambda x: x.sigmoid().unsqueeze(1)),
    ("probabilities", lambda x: x.sigmoid()),
    ("probabilities", lambda x: torch.stack([-x, x], dim=1).mul(0.5).softmax(1)),
    ("log_probabilities", lambda x: torch.stack([x * 0, x], dim=1).log_softmax(1)),
    ("values", lambda x: 0.5 + 3 * x.unsqueeze(1)),
    ("values", lambda x: torch.stack([0.5 - x, 0.5 + x], dim=1)),
]


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize(("form", "ending"), BINARY_OUTPUTS)
def test_outputs_of_any_form_have_the_same_accuracy_and_auroc(
    task: TaskType, form: OutputForm, ending: Any
) -> None:
    of = spec(task, 1 if task == "binary" else 2)
    scores = torch.tensor([1.2, -0.3, 0.4, -2.0, 0.1, -0.6, 1.9])
    labels = torch.tensor([1.0, 1, 0, 0, 1, 0, 1])
    metrics = make(of, {"name": "Accuracy"}, {"name": "AUROC"}, outputs=form)
    targets = labels.unsqueeze(1) if task == "binary" else labels.long()
    expected = binary_expectation(scores, labels)
    for size in (7, 3, 1):
        metrics.reset()
        for part in zip(scores.split(size), targets.split(size), strict=True):
            metrics.update(ending(part[0]), part[1])
        assert metrics.compute() == pytest.approx(expected), size


def test_values_close_to_one_hot_are_classes_by_the_largest() -> None:
    outputs = torch.tensor([[1.4, 1.2, 0.0], [0.0, -0.2, -0.3], [0.1, 0.2, 3.0]])
    metrics = make(spec(), {"name": "Accuracy"}, {"name": "AUROC"}, outputs="values")
    targets = torch.tensor([0, 1, 2])
    assert measure(metrics, outputs, targets)["val/accuracy"] == pytest.approx(2 / 3)


def test_metrics_of_numbers_get_values_unchanged() -> None:
    metrics = make(spec("binary", 1), {"name": "MeanSquaredError"}, outputs="values")
    outputs, targets = torch.tensor([[1.5], [0.0]]), torch.tensor([[1.0], [1.0]])
    assert measure(metrics, outputs, targets) == {"val/mean_squared_error": pytest.approx(0.625)}


def test_metrics_of_counts_get_counts_from_their_logarithms() -> None:
    metrics = make(spec("regression", 1), {"name": "MeanAbsoluteError", "key": "mae"}, outputs="log_values")
    counts = torch.tensor([[1.0], [4.0]])
    assert measure(metrics, counts.log() + 0, counts + 1) == {"val/mae": pytest.approx(1.0)}


def test_squeezed_outputs_of_a_regression() -> None:
    metrics = make(spec("regression", 1))
    outputs, targets = logits(5, 1), logits(5, 2)[:, 1:]
    assert measure(metrics, outputs.squeeze(), targets) == measure(metrics, outputs, targets)


def test_several_tensors_are_no_predictions() -> None:
    with pytest.raises(TypeError, match="a tensor is needed, not a tuple"):
        make(spec()).update((torch.zeros(2, 3), torch.zeros(2)), torch.zeros(2, dtype=torch.int64))

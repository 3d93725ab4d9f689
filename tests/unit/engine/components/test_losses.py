"""Losses of torch on the tasks they support, class weights and penalties, checked by hand computation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.support.specs import USER_CODE, batch, net, spec, trusted_file
from torchconsole.engine.components.data.types import DataSpec, TaskType
from torchconsole.engine.components.losses import Penalty, build_loss
from torchconsole.engine.config.schema import LossConfig
from torchconsole.engine.errors import ComponentError


def make(of: DataSpec, counts: list[int] | None = None, **config: Any) -> Any:
    tensor = None if counts is None else torch.tensor(counts)
    return build_loss(LossConfig.model_validate(config), of, tensor, USER_CODE)


def value(of: DataSpec, **config: Any) -> float:
    return float(make(of, **config)(*batch(of)).detach())


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("multiclass", nn.CrossEntropyLoss()),
        ("binary", nn.BCEWithLogitsLoss()),
        ("multilabel", nn.BCEWithLogitsLoss()),
        ("regression", nn.MSELoss()),
    ],
)
def test_the_default_loss_depends_on_the_task(task: TaskType, expected: nn.Module) -> None:
    of = spec(task, 1 if task == "binary" else 3)
    assert value(of) == float(expected(*batch(of)).detach())


def test_losses_take_torch_arguments() -> None:
    loss = make(spec(), name="CrossEntropyLoss", label_smoothing=0.1)
    assert isinstance(loss, nn.CrossEntropyLoss)
    assert loss.label_smoothing == 0.1


ONE_VALUE: list[tuple[TaskType, dict[str, Any], dict[str, Any]]] = [
    ("multiclass", {"name": "NLLLoss"}, {"name": "CrossEntropyLoss"}),
    ("multiclass", {"name": "KLDivLoss", "reduction": "batchmean"}, {"name": "CrossEntropyLoss"}),
    (
        "multiclass",
        {"name": "KLDivLoss", "reduction": "batchmean", "log_target": True},
        {"name": "CrossEntropyLoss"},
    ),
    ("binary", {"name": "BCELoss"}, {"name": "BCEWithLogitsLoss"}),
    ("multilabel", {"name": "BCELoss"}, {"name": "BCEWithLogitsLoss"}),
    ("multiclass", {"name": "BCELoss"}, {"name": "BCEWithLogitsLoss"}),
    ("multilabel", {"name": "SoftMarginLoss"}, {"name": "BCEWithLogitsLoss"}),
    ("multilabel", {"name": "MultiLabelSoftMarginLoss"}, {"name": "BCEWithLogitsLoss"}),
    ("multiclass", {"name": "MultiLabelMarginLoss"}, {"name": "MultiMarginLoss"}),
    ("regression", {"name": "SmoothL1Loss"}, {"name": "HuberLoss"}),
]


@pytest.mark.parametrize(("task", "one", "other"), ONE_VALUE)
def test_two_ways_to_write_the_same_loss_agree(
    task: TaskType, one: dict[str, Any], other: dict[str, Any]
) -> None:
    of = spec(task, 1 if task == "binary" else 3)
    assert value(of, **one) == pytest.approx(value(of, **other), rel=1e-5)


def test_class_indices_become_one_hot_for_losses_that_compare_numbers() -> None:
    of = spec("multiclass")
    outputs, targets = batch(of)
    expected = F.mse_loss(outputs.detach(), F.one_hot(targets, 3).float())
    assert value(of, name="MSELoss") == pytest.approx(float(expected))


def test_labels_become_index_lists_for_multilabel_margin_loss() -> None:
    outputs = torch.tensor([[0.1, 0.2, 0.4, 0.8]])
    loss = make(spec("multilabel", 4), name="MultiLabelMarginLoss")
    # torch's own example: labels 3 and 0 give 0.85.
    assert float(loss(outputs, torch.tensor([[1.0, 0.0, 0.0, 1.0]]))) == pytest.approx(0.85)


@pytest.mark.parametrize("name", ["BCELoss", "NLLLoss", "MultiLabelSoftMarginLoss", "MSELoss"])
def test_losses_are_computed_in_float32_under_autocast(name: str) -> None:
    """Half precision is too coarse for a sigmoid near 1, and torch rejects some losses under autocast."""
    loss = make(spec("multiclass", 5), name=name)
    outputs, targets = batch(spec("multiclass", 5))
    short = outputs.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = loss(short, targets)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, loss(short.float(), targets))


def test_shapes_that_torch_would_broadcast_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"outputs of shape \(4,\) do not match targets of shape \(4, 1\)"):
        make(spec("regression", 1), name="L1Loss")(torch.zeros(4), torch.zeros(4, 1))


def test_balanced_weights_are_inversely_proportional_to_class_counts() -> None:
    of = spec("multiclass")
    loss = make(of, [10, 30, 60], weight="balanced")
    expected = nn.CrossEntropyLoss(weight=torch.tensor([100 / 30, 100 / 90, 100 / 180]))
    assert float(loss(*batch(of))) == pytest.approx(float(expected(*batch(of))))
    assert torch.isfinite(make(of, [10, 0, 5], weight="balanced").weight).all()


def test_the_balanced_weight_of_a_binary_loss_is_negatives_over_positives() -> None:
    of = spec("binary", 1)
    loss = make(of, [90, 10], weight="balanced")
    expected = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([9.0]))
    assert float(loss(*batch(of))) == pytest.approx(float(expected(*batch(of))))


def test_listed_weights_are_passed_to_torch() -> None:
    of = spec("multiclass")
    expected = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]))(*batch(of))
    assert value(of, weight=[1.0, 2.0, 3.0]) == float(expected)
    several = spec("multilabel")
    expected = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0, 3.0]))(*batch(several))
    assert value(several, weight=[1.0, 2.0, 3.0]) == float(expected)
    assert value(several, name="BCEWithLogitsLoss", pos_weight=[1.0, 2.0, 3.0]) == float(expected)


def test_losses_are_added_with_their_factors() -> None:
    of = spec("multiclass")
    both = value(of, factor=0.5, also=[{"name": "MultiMarginLoss", "factor": 2.0}])
    assert both == pytest.approx(0.5 * value(of) + 2 * value(of, name="MultiMarginLoss"))
    loss = make(of, factor=0.5, also=[{"name": "MultiMarginLoss"}])
    outputs, targets = batch(of)
    loss(outputs, targets).backward()
    assert outputs.grad is not None


def test_a_user_loss_gets_outputs_and_targets_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = trusted_file(
        tmp_path,
        monkeypatch,
        "from torch import nn\n"
        "class Focal(nn.Module):\n"
        "    def __init__(self, gamma, weight=None):\n"
        "        super().__init__(); self.gamma, self.weight = gamma, weight\n"
        "    def forward(self, outputs, targets):\n"
        "        assert targets.ndim == 1\n"
        "        return self.gamma * outputs.mean()\n",
    )
    of = spec("multiclass")
    loss = make(of, [10, 10, 20], name=f"{path}:Focal", gamma=2.0, weight="balanced")
    assert loss.weight.tolist() == pytest.approx([4 / 3, 4 / 3, 2 / 3])
    assert float(loss(*batch(of))) == pytest.approx(2 * float(batch(of)[0].mean()))


@pytest.mark.parametrize(
    ("task", "config", "message"),
    [
        (
            "multiclass",
            {"name": "CrossEntropyLos"},
            "loss.name: unknown name 'CrossEntropyLos', did you mean",
        ),
        ("multiclass", {"name": "Linear"}, "loss.name: unknown name 'Linear'"),
        ("multiclass", {"name": "MSELoss", "label_smoothing": 0.1}, "loss.label_smoothing: MSELoss takes no"),
        (
            "multilabel",
            {"name": "BCEWithLogitsLoss", "pos_weight": ["x"]},
            "loss.pos_weight: must be a list of numbers",
        ),
        ("multiclass", {"reduction": "none"}, "loss.reduction: training needs the mean"),
        (
            "multiclass",
            {"weight": [1.0, 2.0]},
            "must be a list of 3 weights, one for each class",
        ),
        ("multiclass", {"weight": [1.0, 2.0, -1.0]}, "none negative"),
        (
            "multiclass",
            {"weight": [0.0, 0.0, 0.0]},
            "at least one class must have a weight above 0",
        ),
        (
            "multiclass",
            {"name": "MSELoss", "weight": "balanced"},
            "loss.weight: MSELoss takes no class weights",
        ),
        ("multilabel", {"weight": "balanced"}, '"balanced" needs one class per sample'),
        ("binary", {"name": "BCELoss", "weight": "balanced"}, "use BCEWithLogitsLoss"),
        ("regression", {"weight": [1.0]}, "regression takes no class weights"),
        (
            "binary",
            {"name": "CrossEntropyLoss"},
            "CrossEntropyLoss is for multiclass data, but the data is binary",
        ),
        ("multiclass", {"also": [{"name": "MAELoss"}]}, "loss.also.0.name: unknown name 'MAELoss'"),
        ("multiclass", {"also": [{"l1": 0.1}]}, "loss.also.0.l1: a penalty applies to the whole model"),
    ],
)
def test_a_wrong_loss_gives_a_one_line_error(task: TaskType, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ComponentError) as caught:
        make(spec(task, 1 if task == "binary" else 3), [5, 5, 5], **config)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def model() -> Any:
    return net(conv=nn.Conv1d(2, 3, 1), norm=nn.BatchNorm1d(3), head=nn.Linear(4, 2))


def weights(of: Any) -> list[Tensor]:
    return [of.conv.weight, of.head.weight]


def test_penalties_exclude_biases_and_norm_layers() -> None:
    of = model()
    expected = 0.1 * sum(w.abs().sum() for w in weights(of)) + 0.2 * sum(
        (w**2).sum() / 2 for w in weights(of)
    )
    penalty = Penalty(of, l1=0.1, l2=0.2)
    assert float(penalty()) == pytest.approx(float(expected), rel=1e-6)
    penalty().backward()
    for weight in weights(of):
        assert torch.allclose(weight.grad, 0.1 * weight.sign() + 0.2 * weight)
    assert of.norm.weight.grad is None
    assert of.head.bias.grad is None


def test_frozen_weights_are_penalized_only_once_they_are_trained() -> None:
    of = model()
    penalty = Penalty(of, l1=1.0, l2=0.0)
    of.conv.requires_grad_(False)
    assert float(penalty()) == pytest.approx(float(of.head.weight.abs().sum()), rel=1e-6)
    of.conv.requires_grad_(True)
    assert float(penalty()) == pytest.approx(float(sum(w.abs().sum() for w in weights(of))), rel=1e-6)

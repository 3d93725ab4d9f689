"""Losses of torch on the tasks they support, class weights and penalties, checked by hand computation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.support.specs import USER_CODE, batch, net, spec, trusted_file
from torchconsole.engine.components.data.types import DataSpec, TaskType
from torchconsole.engine.components.loss_adapters import match_shape
from torchconsole.engine.components.losses import build_loss
from torchconsole.engine.components.outputs import OutputForm
from torchconsole.engine.components.penalty import Penalty, build_penalty
from torchconsole.engine.config.schema import LossConfig
from torchconsole.engine.errors import ComponentError


def make(of: DataSpec, counts: list[int] | None = None, **config: Any) -> Any:
    tensor = None if counts is None else torch.tensor(counts)
    return build_loss(LossConfig.model_validate(config), of, tensor, USER_CODE)


def value(of: DataSpec, **config: Any) -> float:
    """The loss of a model that ends in what the loss takes."""
    loss = make(of, **config)
    outputs, targets = batch(of)
    return float(loss(activated(outputs, loss.outputs.form), targets).detach())


def activated(outputs: Tensor, form: OutputForm) -> Tensor:
    """The outputs of a model whose last layer gives this form."""
    if form == "probabilities":
        return outputs.sigmoid()
    return outputs.log_softmax(1) if form == "log_probabilities" else outputs


def inner(loss: Any) -> Any:
    """The loss of torch or of the user."""
    return loss.losses[0].loss


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
    loss = inner(make(spec(), name="CrossEntropyLoss", label_smoothing=0.1))
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
    short = activated(outputs, loss.outputs.form).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = loss(short, targets)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, loss(short.float(), targets))


def test_shapes_that_torch_would_broadcast_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"outputs of shape \(4, 2\) do not match targets of shape \(4, 1\)"):
        match_shape(torch.zeros(4, 2), torch.zeros(4, 1))


def test_balanced_weights_are_inversely_proportional_to_class_counts() -> None:
    of = spec("multiclass")
    loss = make(of, [10, 30, 60], weight="balanced")
    expected = nn.CrossEntropyLoss(weight=torch.tensor([100 / 30, 100 / 90, 100 / 180]))
    assert float(loss(*batch(of))) == pytest.approx(float(expected(*batch(of))))
    assert torch.isfinite(inner(make(of, [10, 0, 5], weight="balanced")).weight).all()


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
    assert inner(loss).weight.tolist() == pytest.approx([4 / 3, 4 / 3, 2 / 3])
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
            "multilabel",
            {"name": "CrossEntropyLoss"},
            "CrossEntropyLoss is for multiclass or binary data, but the data is multilabel",
        ),
        (
            "multiclass",
            {"also": [{"name": "NLLLoss"}]},
            "loss.also.0.name: NLLLoss takes log-probabilities, but CrossEntropyLoss takes logits; a sum",
        ),
        (
            "regression",
            {"also": [{"name": "PoissonNLLLoss"}]},
            "PoissonNLLLoss takes logarithms of values, but MSELoss takes values",
        ),
        ("multiclass", {"outputs": "probabilities"}, "loss.outputs: CrossEntropyLoss takes logits; remove"),
        ("regression", {"outputs": "probabilities"}, "loss.outputs: the data is regression"),
        ("multiclass", {"name": "L1Loss", "outputs": "logits"}, "loss.outputs: L1Loss takes values"),
        ("multiclass", {"also": [{"name": "MAELoss"}]}, "loss.also.0.name: unknown name 'MAELoss'"),
        ("multiclass", {"also": [{"l1": 0.1}]}, "loss.also.0.l1: a penalty applies to the whole model"),
        ("multiclass", {"also": [{"l2_parameters": ["*"]}]}, "loss.also.0.l2_parameters: a penalty applies"),
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
    penalty = Penalty(of, LossConfig(l1=0.1, l2=0.2))
    assert float(penalty()) == pytest.approx(float(expected), rel=1e-6)
    penalty().backward()
    for weight in weights(of):
        assert torch.allclose(weight.grad, 0.1 * weight.sign() + 0.2 * weight)
    assert of.norm.weight.grad is None
    assert of.head.bias.grad is None


def test_frozen_weights_are_penalized_only_once_they_are_trained() -> None:
    of = model()
    penalty = Penalty(of, LossConfig(l1=1.0))
    of.conv.requires_grad_(False)
    assert float(penalty()) == pytest.approx(float(of.head.weight.abs().sum()), rel=1e-6)
    of.conv.requires_grad_(True)
    assert float(penalty()) == pytest.approx(float(sum(w.abs().sum() for w in weights(of))), rel=1e-6)


def test_penalties_of_chosen_parameters() -> None:
    """Pruning channels puts L1 on the scales of norm layers (Liu et al. 2017), L2 on the rest."""
    of = model()
    config = LossConfig(l1=0.1, l1_parameters=["norm.weight"], l2=0.2, l2_parameters=["head", "*.bias"])
    penalty = Penalty(of, config)
    squares = sum((w**2).sum() / 2 for w in (of.conv.bias, of.norm.bias, of.head.weight, of.head.bias))
    expected = 0.1 * of.norm.weight.abs().sum() + 0.2 * squares
    assert float(penalty()) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"l1": 0.1, "l1_parameters": ["haed.*"]}, "loss.l1_parameters: 'haed.*' matches no parameter, did"),
        ({"l1": 0.1, "l2_parameters": ["head"]}, "loss.l2_parameters: has no effect without loss.l2"),
    ],
)
def test_a_wrong_penalty_is_reported(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ComponentError, match=re.escape(message)):
        build_penalty(model(), LossConfig.model_validate(config))


# What torch's documentation says: the loss takes this, and nothing is added to it.
CONTRACTS: list[tuple[TaskType, str, OutputForm]] = [
    ("binary", "BCELoss", "probabilities"),
    ("multilabel", "BCELoss", "probabilities"),
    ("binary", "BCEWithLogitsLoss", "logits"),
    ("multiclass", "CrossEntropyLoss", "logits"),
    ("multiclass", "NLLLoss", "log_probabilities"),
    ("multiclass", "KLDivLoss", "log_probabilities"),
    ("multiclass", "MSELoss", "values"),
    ("regression", "L1Loss", "values"),
    ("regression", "PoissonNLLLoss", "log_values"),
]


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize(("task", "name", "form"), CONTRACTS)
def test_a_loss_takes_what_torch_says_and_says_so(task: TaskType, name: str, form: OutputForm) -> None:
    of = spec(task, 1 if task == "binary" else 3)
    loss = make(of, name=name)
    assert loss.outputs.form == form
    outputs, targets = batch(of)
    outputs = activated(outputs.detach(), form)
    one_hot = task == "multiclass" and name in ("KLDivLoss", "MSELoss")
    expected = getattr(nn, name)()(outputs, F.one_hot(targets, 3).float() if one_hot else targets)
    assert torch.equal(loss(outputs, targets), expected)


def test_the_outputs_of_a_poisson_loss_are_values_without_log_input() -> None:
    assert make(spec("regression", 1), name="PoissonNLLLoss", log_input=False).outputs.form == "values"


def test_outputs_of_a_squared_error_can_be_probabilities() -> None:
    assert make(spec(), name="MSELoss", outputs="probabilities").outputs.form == "probabilities"


def test_bce_on_logits_is_refused_with_the_remedy() -> None:
    of = spec("binary", 1)
    with pytest.raises(
        ComponentError, match=r"BCELoss takes probabilities .* from -.* to .*sigmoid.*BCEWith"
    ):
        make(of, name="BCELoss")(*batch(of))


def test_bce_on_outputs_that_are_not_finite_is_not_finite() -> None:
    """So that a run that diverges ends, or skips steps, as with any other loss."""
    of = spec("binary", 1)
    outputs = torch.tensor([[0.5], [torch.nan]], requires_grad=True)
    loss = make(of, name="BCELoss")(outputs, torch.tensor([[0.0], [1.0]]))
    assert loss.isnan()
    loss.backward()


TWO_CLASSES: list[TaskType] = ["binary", "multiclass"]
ENDINGS: dict[str, tuple[str, Any]] = {
    "a logit": ("BCEWithLogitsLoss", lambda x: x[:, 1:] - x[:, :1]),
    "a probability": ("BCELoss", lambda x: x.softmax(1)[:, 1:]),
    "a squeezed logit": ("BCEWithLogitsLoss", lambda x: (x[:, 1:] - x[:, :1]).squeeze()),
    "a squeezed probability": ("BCELoss", lambda x: x.softmax(1)[:, 1:].squeeze(-1)),
    "two logits": ("CrossEntropyLoss", lambda x: x),
    "two log-probabilities": ("NLLLoss", lambda x: x.log_softmax(1)),
}


@pytest.mark.parametrize("task", TWO_CLASSES)
@pytest.mark.parametrize(("name", "ending"), ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("size", [6, 1])
def test_ways_to_end_a_binary_classifier_agree(task: TaskType, name: str, ending: Any, size: int) -> None:
    of = spec(task, 1 if task == "binary" else 2)
    logits, labels = batch(spec("multiclass", 2), size)
    targets = labels.float().unsqueeze(1) if task == "binary" else labels
    expected = float(F.cross_entropy(logits, labels).detach())
    assert float(make(of, name=name)(ending(logits), targets).detach()) == pytest.approx(expected, rel=1e-5)


def test_mixed_labels_of_two_classes_for_one_output() -> None:
    """MixUp turns class indices into the probabilities of both classes."""
    outputs, mixed = torch.tensor([[0.3], [-1.0]]), torch.tensor([[0.75, 0.25], [0.0, 1.0]])
    loss = make(spec("multiclass", 2), name="BCEWithLogitsLoss")
    expected = F.binary_cross_entropy_with_logits(outputs, mixed[:, 1:])
    assert torch.equal(loss(outputs, mixed), expected)


def test_two_logits_for_binary_data_take_two_class_weights() -> None:
    of = spec("binary", 1)
    outputs, labels = batch(spec("multiclass", 2))
    targets = labels.float().unsqueeze(1)
    for weight, expected in (("balanced", [5 / 9, 5.0]), ([1.0, 3.0], [1.0, 3.0])):
        loss = make(of, [90, 10], name="CrossEntropyLoss", weight=weight)
        by_hand = F.cross_entropy(outputs, labels, torch.tensor(expected))
        assert float(loss(outputs, targets)) == pytest.approx(float(by_hand))


@pytest.mark.parametrize(
    ("of", "config", "outputs", "message"),
    [
        (
            spec("binary", 1),
            {"name": "CrossEntropyLoss"},
            (4, 1),
            "needs 2 outputs for each sample of two cla",
        ),
        (spec("binary", 1), {"name": "BCEWithLogitsLoss"}, (4, 2), "use CrossEntropyLoss for two outputs"),
        (
            spec("multiclass", 2),
            {"name": "BCEWithLogitsLoss", "weight": [1.0, 2.0]},
            (4, 1),
            'set data.task = "binary"',
        ),
        (
            spec(),
            {},
            (4, 1000),
            "has 1,000 outputs for each sample, but the data has 3 classes: it must have 3",
        ),
        (spec("regression", 1), {}, (4, 3), "but each target has 1 value: it must have 1"),
        (spec(), {}, (4, 3, 1, 1), "outputs for 4 samples must have shape (4, 3); flatten or pool them"),
        (spec(), {}, (1, 3), "outputs for 4 samples must have shape (4, 3)"),
    ],
)
def test_outputs_that_do_not_fit_are_reported(
    of: DataSpec, config: dict[str, Any], outputs: tuple[int, ...], message: str
) -> None:
    targets = torch.zeros(4, dtype=torch.int64) if of.task == "multiclass" else torch.zeros(4, 1)
    with pytest.raises((ComponentError, ValueError), match=re.escape(message)):
        make(of, **config)(torch.zeros(outputs), targets)


def test_a_model_that_returns_several_tensors_is_reported() -> None:
    with pytest.raises(TypeError, match="a tensor is needed, not a tuple"):
        make(spec())((torch.zeros(4, 3), torch.zeros(4, 8)), torch.zeros(4, dtype=torch.int64))


OWN = (
    "from torch import nn\n"
    "class Mine(nn.Module):\n"
    "    def forward(self, outputs, targets):\n"
    "        return ((outputs - targets) ** 2){}\n"
)


def test_what_a_user_loss_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = f"{trusted_file(tmp_path, monkeypatch, OWN.format('.mean()'))}:Mine"
    assert make(spec(), name=mine).outputs.form == "logits"
    assert make(spec("regression", 1), name=mine).outputs.form == "values"
    assert make(spec(), name=mine, outputs="log_probabilities").outputs.form == "log_probabilities"
    both = make(spec("binary", 1), name="BCELoss", also=[{"name": mine, "outputs": "probabilities"}])
    assert both.outputs.form == "probabilities"
    with pytest.raises(ComponentError, match=r"or say what yours takes with loss\.also\.0\.outputs"):
        make(spec("binary", 1), name="BCELoss", also=[{"name": mine}])


def test_targets_for_a_user_loss_match_squeezed_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch would broadcast (B,) against (B, 1) to (B, B)."""
    mine = f"{trusted_file(tmp_path, monkeypatch, OWN.format('.mean()'))}:Mine"
    outputs, targets = batch(spec("regression", 1))
    loss = make(spec("regression", 1), name=mine)
    assert torch.equal(loss(outputs.squeeze(), targets), F.mse_loss(outputs, targets))
    assert torch.equal(loss(outputs, targets), F.mse_loss(outputs, targets))


def test_a_user_loss_must_return_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = f"{trusted_file(tmp_path, monkeypatch, OWN.format(''))}:Mine"
    with pytest.raises(
        ComponentError, match=r"must return one number as a tensor, but it returned shape \(6"
    ):
        make(spec("regression", 1), name=mine)(*batch(spec("regression", 1)))


def test_a_sum_of_a_distance_and_a_loss_of_probabilities() -> None:
    """The Brier score beside the cross entropy, in either order."""
    for names, key in ((("BCELoss", "MSELoss"), "loss.also.0"), (("MSELoss", "BCELoss"), "loss")):
        with pytest.raises(
            ComponentError, match=f'if the model returns .*, set {key}.outputs = "probabilities"'
        ):
            make(spec("binary", 1), name=names[0], also=[{"name": names[1]}])
    both = make(spec("binary", 1), name="BCELoss", also=[{"name": "MSELoss", "outputs": "probabilities"}])
    assert both.outputs.form == "probabilities"

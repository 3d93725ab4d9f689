"""Findings on outputs and losses: each fault has its finding, and a twin without the fault has none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.support.findings import (
    AMOUNTS,
    BINARY,
    CLASSES,
    Functional,
    Loss,
    binary,
    by_name,
    checked,
    data_of,
    found,
    head,
)
from torchconsole.engine.analysis.findings import find

Build = Callable[[], nn.Module]


@pytest.mark.parametrize(
    ("name", "level", "faulty"),
    [
        ("softmax-before-cross-entropy", "warning", lambda: nn.Sequential(nn.Linear(4, 3), nn.Softmax(1))),
        ("softmax-before-cross-entropy", "warning", lambda: head(lambda x: F.softmax(x, -1))),
        ("softmax-before-cross-entropy", "warning", lambda: head(lambda x: x.exp() / x.exp().sum(1, True))),
        ("activation-before-cross-entropy", "warning", lambda: head(torch.sigmoid)),
        ("activation-before-cross-entropy", "warning", lambda: nn.Sequential(nn.Linear(4, 3), nn.Tanh())),
        ("softmax-before-cross-entropy", "warning", lambda: head(lambda x: x.softmax(1).clamp(1e-7, 1))),
        ("relu-before-cross-entropy", "warning", lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU())),
        ("softmax-over-the-batch", "error", lambda: head(lambda x: x.softmax(0))),
        ("softmax-before-cross-entropy", "warning", lambda: head(lambda x: 100 * x.softmax(1))),
        ("softmax-before-cross-entropy", "warning", lambda: head(lambda x: x.softmax(1) + 0.01)),
        (
            "softmax-before-cross-entropy",
            "warning",
            lambda: nn.Sequential(nn.Linear(4, 3), nn.Softmax(1), nn.Dropout(0.5)),
        ),
        ("activation-before-cross-entropy", "warning", lambda: head(lambda x: 1 / (1 + torch.exp(-x)))),
        ("activation-before-cross-entropy", "warning", lambda: head(lambda x: x / (1 + x.abs()))),
        ("activation-before-cross-entropy", "warning", lambda: head(lambda x: x.clamp(-1, 1))),
    ],
)
def test_an_activation_before_cross_entropy(name: str, level: str, faulty: Build) -> None:
    finding = found(CLASSES, model=faulty())[name]
    assert finding.level == level


@pytest.mark.parametrize(
    "twin",
    [
        lambda: nn.Linear(4, 3),
        lambda: head(lambda x: x.log_softmax(1)),
        lambda: head(lambda x: 3 * torch.tanh(x)),
        lambda: nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 3)),
        lambda: Functional(nn.Linear(4, 3), lambda module, x: (x.softmax(1), x)[1]),
        lambda: head(lambda x: 3 * x / (1 + x.abs())),
        lambda: head(lambda x: -x.square()),
        lambda: head(lambda x: x - x.mean(1, keepdim=True)),
        lambda: head(lambda x: 0.1 * x + 0.5),
        lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3), nn.BatchNorm1d(3)),
        lambda: nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3), nn.LayerNorm(3)),
        lambda: nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.2)),
        lambda: head(lambda x: x.clamp(-20, 20)),
    ],
)
def test_logits_for_cross_entropy_have_no_finding(twin: Build) -> None:
    assert not found(CLASSES, model=twin())


def test_a_finding_states_numbers_and_names_the_layer_to_remove() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))
    finding = found(CLASSES, model=model)["softmax-before-cross-entropy"]
    assert finding.evidence.startswith("the outputs of all 16 rows sum to 1 and lie in [0.")
    assert "cannot fall below 0.55" in finding.reason
    assert "remove nn.Softmax (1) from the end of the model" in finding.remedy


class Act(nn.Module):
    """A hidden activation layer, and a function at the end."""

    def __init__(self, act: nn.Module, end: Callable[[Tensor], Tensor], outputs: int = 3) -> None:
        super().__init__()
        self.body, self.act, self.head = nn.Linear(4, 8), act, nn.Linear(8, outputs)
        self.end = end

    def forward(self, inputs: Tensor) -> Tensor:
        return self.end(self.head(self.act(self.body(inputs))))


@pytest.mark.parametrize(
    ("act", "end", "name"),
    [
        (nn.Softmax(1), lambda x: F.softmax(x, 1), "softmax"),
        (nn.ReLU(), F.relu, "relu"),
        (nn.ReLU(), torch.relu_, "relu"),
        (nn.Sigmoid(), torch.sigmoid, "sigmoid"),
        (nn.Tanh(), torch.tanh, "tanh"),
    ],
)
def test_a_hidden_layer_is_not_the_one_to_remove(act: nn.Module, end: Any, name: str) -> None:
    findings = found(CLASSES, model=Act(act, end)).values()
    remedies = [each.remedy for each in findings if "before-cross-entropy" in each.name]
    assert [f"remove {name} from the end of the model's forward" in text for text in remedies] == [True]
    shared = Act(act, act)
    assert any("(act) from the end" in each.remedy for each in found(CLASSES, model=shared).values())


def test_an_activation_in_the_loss_is_removed_from_the_loss() -> None:
    own = Loss(lambda outputs, targets: F.cross_entropy(outputs.softmax(1), targets))
    finding = found(CLASSES, model=nn.Linear(4, 3), loss_fn=own)["softmax-before-cross-entropy"]
    assert finding.remedy.startswith("remove softmax from the loss")


@pytest.mark.parametrize(
    ("layer", "predicted"),
    [
        (nn.Sigmoid, "positive"),
        (nn.ReLU, "positive"),
        (nn.Hardsigmoid, "positive"),
        (nn.Softplus, "positive"),
        (nn.LogSigmoid, "negative"),
    ],
)
def test_bce_with_logits_after_a_one_sided_activation(layer: Callable[[], nn.Module], predicted: str) -> None:
    torch.manual_seed(0)
    finding = found(BINARY, model=binary(layer()))["activation-before-bce-with-logits"]
    assert finding.level == "error"
    assert f"predicted as {predicted}" in finding.reason
    if layer is nn.Sigmoid:
        assert 'loss.name = "BCELoss"' in finding.remedy


def test_bce_with_logits_after_tanh_is_a_warning() -> None:
    assert found(BINARY, model=binary(nn.Tanh()))["tanh-before-bce-with-logits"].level == "warning"


def test_an_activation_in_a_further_term_of_an_own_loss_has_no_finding() -> None:
    def both(outputs: Tensor, targets: Tensor) -> Tensor:
        margin = F.binary_cross_entropy_with_logits(outputs.relu(), targets)
        return margin + F.binary_cross_entropy_with_logits(outputs, targets)

    assert not found(BINARY, model=binary(), loss_fn=Loss(both))
    alone = Loss(lambda outputs, targets: F.binary_cross_entropy_with_logits(outputs.relu(), targets))
    assert "activation-before-bce-with-logits" in found(BINARY, model=binary(), loss_fn=alone)


def test_logits_that_happen_to_be_small_and_positive_have_no_finding() -> None:
    model = binary()
    nn.init.constant_(model[2].bias, 0.5)
    nn.init.normal_(model[2].weight, std=0.01)
    assert not found(BINARY, model=model)


@pytest.mark.parametrize(
    ("model", "evidence"),
    [
        (lambda: nn.Linear(4, 3), "exp(outputs) sums to"),
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)), "probabilities, not their logarithms"),
    ],
)
def test_nll_needs_log_probabilities(model: Build, evidence: str) -> None:
    finding = found(CLASSES, model=model(), loss_fn=nn.NLLLoss())["log-probabilities-missing"]
    assert finding.level == "error"
    assert evidence in finding.evidence


@pytest.mark.parametrize(
    "twin",
    [
        lambda: nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(1)),
        lambda: head(lambda x: torch.log(x.softmax(1) + 1e-3)),
    ],
)
def test_nll_on_log_probabilities_has_no_finding(twin: Build) -> None:
    assert not found(CLASSES, model=twin(), loss_fn=nn.NLLLoss())


def _focal(outputs: Tensor, targets: Tensor) -> Tensor:
    logs = F.log_softmax(outputs, dim=1)
    return F.nll_loss((1 - logs.exp()) ** 2 * logs, targets)


@pytest.mark.parametrize(
    "loss",
    [
        _focal,
        lambda outputs, targets: outputs.logsumexp(1).mean() + F.nll_loss(outputs, targets),
        lambda outputs, targets: F.nll_loss(outputs.log_softmax(1).clamp(min=-0.5), targets),
        lambda outputs, targets: F.nll_loss(F.logsigmoid(outputs), targets) + outputs.sigmoid().mean(),
        lambda outputs, targets: (
            F.cross_entropy(outputs, targets, weight=torch.ones(3))
            + 0.1 * F.kl_div(outputs.log_softmax(1) * 2, torch.full_like(outputs, 1 / 3))
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:reduction")
def test_other_terms_than_log_probabilities_in_an_own_loss_have_no_finding(loss: Any) -> None:
    assert not found(CLASSES, model=nn.Linear(4, 3), loss_fn=Loss(loss))


def test_an_own_loss_that_takes_scores_for_log_probabilities() -> None:
    for loss in (
        lambda outputs, targets: F.nll_loss(outputs, targets),
        lambda outputs, targets: F.nll_loss(outputs.view(-1, 3).float(), targets),
        lambda outputs, targets: F.nll_loss(outputs.softmax(1), targets),
        lambda outputs, targets: F.nll_loss(outputs, targets) + F.nll_loss(outputs, targets.flip(0)),
    ):
        assert "log-probabilities-missing" in found(CLASSES, model=nn.Linear(4, 3), loss_fn=Loss(loss))


@pytest.mark.parametrize("bound", [lambda x: x.relu().clamp(max=1), lambda x: x.tanh().clamp(0, 1)])
def test_bce_on_outputs_that_are_clamped_to_0_and_1(bound: Callable[[Tensor], Tensor]) -> None:
    loss = Loss(lambda outputs, targets: F.binary_cross_entropy(bound(outputs), targets))
    assert "bce-without-probabilities" not in found(BINARY, model=nn.Linear(30, 1), loss_fn=loss)


def test_bce_on_outputs_that_nothing_keeps_within_0_and_1() -> None:
    model = nn.Linear(30, 1)
    nn.init.constant_(model.bias, 0.5)
    nn.init.normal_(model.weight, std=1e-6)
    loss = Loss(lambda outputs, targets: F.binary_cross_entropy(outputs, targets))
    assert (
        found(BINARY, "optimizer.lr=1e-9", "schedule=[]", model=model, loss_fn=loss)[
            "bce-without-probabilities"
        ].level
        == "error"
    )
    twin = nn.Sequential(nn.Linear(30, 1), nn.Sigmoid())
    assert not found(BINARY, model=twin, loss_fn=loss)
    clamped = Loss(lambda outputs, targets: F.binary_cross_entropy(outputs.clamp(0, 1), targets))
    assert "bce-without-probabilities" not in found(BINARY, model=model, loss_fn=clamped)


@pytest.mark.parametrize("loss", ["NLLLoss", "KLDivLoss"])
@pytest.mark.filterwarnings("ignore:reduction")
def test_a_loss_of_log_probabilities_in_the_preset(loss: str) -> None:
    model = nn.Linear(4, 3)
    assert (
        f"{loss} takes"
        in found(CLASSES, f"loss.name={loss}", model=model)["log-probabilities-missing"].reason
    )
    twin = nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(1))
    assert not found(CLASSES, f"loss.name={loss}", model=twin)


@pytest.mark.parametrize("name", ["SoftMarginLoss", "MultiLabelSoftMarginLoss"])
def test_other_losses_of_logits(name: str) -> None:
    finding = found(BINARY, f"loss.name={name}", model=binary(nn.Sigmoid()))
    assert finding["activation-before-bce-with-logits"].reason.startswith(name)
    assert not found(BINARY, f"loss.name={name}", model=binary())


@pytest.mark.parametrize(("layer", "end"), [(nn.ReLU, "inf"), (nn.Sigmoid, "1"), (nn.Softplus, "inf")])
def test_targets_that_the_outputs_cannot_reach(layer: Callable[[], nn.Module], end: str) -> None:
    def below_zero(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return inputs, targets - targets.mean()

    model = nn.Sequential(nn.Linear(10, 1), layer())
    finding = found(AMOUNTS, model=model, data=data_of(AMOUNTS, below_zero))["targets-out-of-reach"]
    assert finding.level == "error"
    assert f"between 0 and {end}" in finding.evidence
    twin = data_of(AMOUNTS, lambda inputs, targets: (inputs, targets.sigmoid()))
    assert "targets-out-of-reach" not in found(AMOUNTS, model=model, data=twin)


def test_a_softmax_over_labels_that_do_not_exclude_each_other() -> None:
    data = checked(CLASSES).setup.data
    labels = data_of(CLASSES, lambda inputs, targets: (inputs, F.one_hot(targets, 3).float()))
    done = checked(
        CLASSES, data=labels, loss_fn=Loss(lambda outputs, targets: F.cross_entropy(outputs, targets))
    )
    spec = replace(data.spec, task="multilabel")
    setup = replace(done.setup, data=replace(labels, spec=spec), loss_fn=nn.BCELoss())

    def names(probabilities: Tensor) -> set[str]:
        return set(by_name(find(setup, replace(done.dry_run, outputs=probabilities))))

    scores = torch.randn(len(done.dry_run.batch[1]), 3)
    assert "softmax-on-labels" in names(scores.softmax(1))
    assert "softmax-on-labels" not in names(scores.sigmoid())


def test_class_numbers_as_amounts() -> None:
    def squared(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(outputs[:, 0], targets.float())

    finding = found(CLASSES, model=nn.Linear(4, 3), loss_fn=Loss(squared))["classes-as-numbers"]
    assert finding.level == "warning"
    one_hot = Loss(lambda outputs, targets: F.mse_loss(outputs, F.one_hot(targets, 3).float()))
    hints = found(CLASSES, model=nn.Linear(4, 3), loss_fn=one_hot)
    assert [each.level for each in hints.values()] == ["hint"]
    assert "CrossEntropyLoss" in hints["squared-error-on-classes"].remedy


@pytest.mark.parametrize(
    "function",
    [lambda x: 0 * x + 0.3, lambda x: x.mean(0, keepdim=True).expand_as(x), lambda x: x.clamp(9, 9)],
)
def test_outputs_that_do_not_depend_on_the_inputs(function: Callable[[Tensor], Tensor]) -> None:
    assert found(CLASSES, model=head(function))["outputs-alike"].level == "warning"


def test_a_last_layer_of_zeros_has_no_finding() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)
    assert not found(CLASSES, model=model)


class ByHand(nn.Module):
    """A softmax regression without a layer."""

    def __init__(self, build: Callable[..., Tensor]) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(build(4, 3)), nn.Parameter(torch.zeros(3))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ self.w + self.b


def test_weights_of_zeros_without_a_layer_have_no_finding() -> None:
    assert not found(CLASSES, model=ByHand(torch.zeros))
    gated = head(lambda x: x)
    gated.gate = nn.Parameter(torch.zeros(()))
    gated.function = lambda module, x: module.gate * x
    assert not found(CLASSES, model=gated)
    dead = nn.Sequential(nn.Linear(4, 3), nn.Threshold(1e9, 0.3))
    assert "outputs-alike" in found(CLASSES, model=dead)


class Cosines(nn.Module):
    """Scaled cosines of the inputs and a vector for each class, as in CosFace."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.body, self.scale = nn.Linear(4, 8), scale
        self.w = nn.Parameter(torch.randn(3, 8))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.scale * F.linear(F.normalize(self.body(inputs)), F.normalize(self.w))


def test_the_first_loss_of_scaled_cosines_is_a_hint_that_names_the_scale() -> None:
    findings = found(CLASSES, model=Cosines(64))
    assert [(each.name, each.level) for each in findings.values()] == [("scale-of-outputs", "hint")]
    assert "the outputs lie in [" in findings["scale-of-outputs"].evidence
    assert not found(CLASSES, model=Cosines(5))


def test_the_first_loss_of_an_untrained_model() -> None:
    model = head(lambda x: 100 * x)
    finding = found(CLASSES, model=model)["first-loss"]
    assert "ln(3) is 1.10" in finding.evidence
    assert not found(CLASSES, model=model, from_checkpoint=True)


def test_the_first_loss_of_scores_that_an_own_loss_scales_has_no_finding() -> None:
    loss = Loss(lambda outputs, targets: F.cross_entropy(30 * F.normalize(outputs), 2 - targets))
    assert not found(CLASSES, model=head(lambda x: x + 9 * torch.eye(3)[0]), loss_fn=loss)


def test_an_activation_in_evaluation_alone() -> None:
    model = Functional(nn.Linear(4, 3), lambda module, x: x if module.training else x.softmax(1))
    assert found(CLASSES, model=model)["eval-activation"].level == "warning"


def test_targets_that_require_grad() -> None:
    data = data_of(AMOUNTS, lambda inputs, targets: (inputs, targets.clone().requires_grad_()))
    assert found(AMOUNTS, data=data)["targets-require-grad"].level == "error"
    assert not found(AMOUNTS, data=data_of(AMOUNTS, lambda inputs, targets: (inputs, targets)))


def test_targets_that_a_layer_or_the_inputs_compute() -> None:
    layer = nn.Linear(10, 1)
    for target in (layer, lambda inputs: inputs.clone().requires_grad_().sum(1, keepdim=True)):
        parts = checked(AMOUNTS).setup.data.train
        inputs = next(iter(parts.epoch(0)))[0]
        kept = target(inputs)
        data = data_of(AMOUNTS, lambda inputs, targets, kept=kept: (inputs, kept))
        finding = found(AMOUNTS, data=data)["targets-require-grad"]
        assert finding.remedy == "return targets.detach() from the dataset"

"""Findings on modules and gradients: each fault has its finding, and a twin without the fault has none."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.support.findings import CLASSES, Functional, Loss, by_name, checked, found
from torchconsole.engine.analysis.findings import find


def net(function: Callable[[Any, Tensor], Tensor], *layers: nn.Module) -> nn.Module:
    """A layer, a function of it, and the layers behind."""
    return nn.Sequential(Functional(nn.Linear(4, 8), function), *layers, nn.Linear(8, 3))


class AlwaysTraining(nn.Sequential):
    """Layers that stay in training mode."""

    def train(self, mode: bool = True) -> AlwaysTraining:
        return super().train(True)


@pytest.mark.parametrize(
    "faulty",
    [
        lambda: net(lambda module, x: F.dropout(x, 0.5)),
        lambda: net(lambda module, x: nn.Dropout(0.5)(x)),
        lambda: AlwaysTraining(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3)),
        lambda: net(lambda module, x: x + torch.randn_like(x)),
    ],
)
def test_dropout_that_stays_on_in_evaluation(faulty: Callable[[], nn.Module]) -> None:
    finding = found(CLASSES, model=faulty())["active-in-evaluation"]
    assert finding.level == "warning"
    assert "two evaluations of the same batch differ by" in finding.evidence


def test_dropout_that_is_off_in_evaluation_has_no_finding() -> None:
    model = net(lambda module, x: F.dropout(x, 0.5, training=module.training), nn.ReLU(), nn.Dropout(0.5))
    assert not found(CLASSES, model=model)


def test_batch_norm_that_stays_on_in_evaluation() -> None:
    changing = AlwaysTraining(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    finding = found(CLASSES, model=changing)["statistics-change-in-evaluation"]
    assert finding.level == "error"
    assert "1.running_mean" in finding.evidence
    by_batch = net(lambda module, x: F.batch_norm(x, None, None, training=True))
    assert "batch norm uses the mean" in found(CLASSES, model=by_batch)["active-in-evaluation"].evidence


def test_random_numbers_in_evaluation_are_not_taken_for_dropout() -> None:
    noise = found(CLASSES, model=net(lambda module, x: x + torch.randn_like(x)))["active-in-evaluation"]
    assert noise.remedy.startswith("draw random numbers in forward only where self.training is true")


@pytest.mark.parametrize(
    "faulty",
    [
        lambda: net(lambda module, x: x, nn.Dropout(0.5), nn.BatchNorm1d(8)),
        lambda: net(lambda module, x: F.dropout(x, 0.5, module.training), nn.BatchNorm1d(8)),
        lambda: net(lambda module, x: x, nn.Dropout(0.5), nn.ReLU(), nn.BatchNorm1d(8)),
        lambda: net(lambda module, x: x[:, :, None], nn.Dropout1d(0.5), nn.Flatten(), nn.BatchNorm1d(8)),
    ],
)
def test_batch_norm_right_after_dropout(faulty: Callable[[], nn.Module]) -> None:
    assert found(CLASSES, model=faulty())["batch-norm-after-dropout"].level == "warning"


@pytest.mark.parametrize(
    "twin",
    [
        lambda: net(lambda module, x: x, nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5)),
        lambda: net(lambda module, x: x, nn.Dropout(0.5), nn.Linear(8, 8), nn.BatchNorm1d(8)),
        lambda: net(lambda module, x: x, nn.Dropout(0.0), nn.BatchNorm1d(8)),
        lambda: Branches(),
    ],
)
def test_batch_norm_elsewhere_has_no_finding(twin: Callable[[], nn.Module]) -> None:
    assert not found(CLASSES, model=twin())


class Branches(nn.Module):
    """Batch norm and dropout beside each other, on the same tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm, self.dropout = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)
        self.head = nn.Linear(16, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.layer(inputs)
        dropped = self.dropout(hidden)
        return self.head(torch.cat([dropped, self.norm(hidden)], 1))


class Holder(nn.Module):
    """A head behind whatever `hold` puts beside it."""

    def __init__(self, hold: Callable[[Any], object], use: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.held = hold(self)
        self.use = use
        self.head = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.use(self.held, inputs))


HIDDEN = nn.Linear(4, 4)


class Helper:
    """An object that is no module."""

    def __init__(self) -> None:
        self.layer = nn.Linear(4, 4)
        self.by_name = {"a": nn.Linear(4, 4)}


def _with_weight(model: Any) -> Callable[[Tensor], Tensor]:
    weight = torch.eye(4).requires_grad_()
    return functools.partial(F.linear, weight=weight)


def _closed_over(model: Any) -> Callable[[Tensor], Tensor]:
    weight = torch.eye(4).requires_grad_()
    return lambda inputs: inputs @ weight


@pytest.mark.parametrize(
    ("hold", "use", "place", "remedy"),
    [
        (lambda model: [nn.Linear(4, 4)], lambda held, x: held[0](x), "held[0].weight", "nn.ModuleList(...)"),
        (
            lambda model: {"a": nn.Linear(4, 4)},
            lambda held, x: held["a"](x),
            "held['a'].bias",
            "nn.ModuleDict",
        ),
        (
            lambda model: (nn.Sequential(nn.Linear(4, 4)),),
            lambda held, x: held[0](x),
            "held[0].0.bias",
            "List",
        ),
        (
            lambda model: [nn.Parameter(torch.ones(4))],
            lambda held, x: x * held[0],
            "held[0]",
            "nn.ParameterList",
        ),
        (
            lambda model: torch.ones(4, requires_grad=True),
            lambda held, x: x * held,
            "held",
            "nn.Parameter(...)",
        ),
        (
            lambda model: Helper(),
            lambda held, x: held.layer(x),
            "held.layer.weight",
            "make Helper (self.held) an nn.Module",
        ),
        (
            lambda model: Helper(),
            lambda held, x: held.by_name["a"](x),
            "held.by_name['a'].weight",
            "make Helper (self.held) an nn.Module and use nn.ModuleDict(...) in it",
        ),
        (
            lambda model: [Helper()],
            lambda held, x: held[0].layer(x),
            "held[0].layer.weight",
            "make Helper (self.held[0]) an nn.Module and use self.held = nn.ModuleList(...)",
        ),
        (
            lambda model: {"a": [nn.Linear(4, 4)]},
            lambda held, x: held["a"][0](x),
            "held['a'][0].weight",
            "use self.held = nn.ModuleDict(...) of nn.ModuleList(...)",
        ),
        (
            _with_weight,
            lambda held, x: held(x),
            "held.keywords['weight']",
            "self.weight = nn.Parameter(...) in __init__, and use that in forward instead of self.held",
        ),
        (_closed_over, lambda held, x: held(x), "held (weight)", "self.weight = nn.Parameter(...)"),
        (
            lambda model: None,
            lambda held, x: HIDDEN(x),
            "2 tensors with 20 values",
            "in __init__ of the model",
        ),
    ],
)
def test_tensors_that_are_not_registered(
    hold: Callable[[Any], object], use: Callable[[Any, Tensor], Tensor], place: str, remedy: str
) -> None:
    finding = found(CLASSES, model=Holder(hold, use))["unregistered-parameters"]
    assert finding.level == "error"
    assert place in finding.evidence
    assert remedy in finding.remedy


def test_the_remedy_for_an_inner_module_names_its_class() -> None:
    inner = Holder(lambda model: [nn.Linear(4, 4)], lambda held, x: held[0](x))
    finding = found(CLASSES, model=nn.Sequential(nn.Linear(4, 4), inner))["unregistered-parameters"]
    assert "1.held[0].weight" in finding.evidence
    assert finding.remedy == "in Holder (1): use self.held = nn.ModuleList(...)"
    inner = Holder(lambda model: Helper(), lambda held, x: held.layer(x))
    finding = found(CLASSES, model=nn.Sequential(nn.Linear(4, 4), inner))["unregistered-parameters"]
    assert finding.remedy == "in Holder (1): make Helper (self.held) an nn.Module"


@torch.no_grad()
def _teach(held: list[nn.Module], inputs: Tensor) -> Tensor:
    return inputs + held[0](inputs)


@pytest.mark.parametrize(
    ("hold", "use"),
    [
        (lambda model: nn.ModuleList([nn.Linear(4, 4)]), lambda held, x: held[0](x)),
        (lambda model: [nn.Linear(4, 4).requires_grad_(False)], lambda held, x: held[0](x)),
        (lambda model: [nn.Linear(4, 4)], _teach),
        (lambda model: [torch.ones(4)], lambda held, x: x * held[0]),
        (lambda model: None, lambda held, x: x + torch.zeros(len(x), 4).requires_grad_()),
        (lambda model: None, lambda held, x: 2 * x.requires_grad_()),
    ],
)
def test_registered_or_frozen_tensors_have_no_finding(
    hold: Callable[[Any], object], use: Callable[[Any, Tensor], Tensor]
) -> None:
    assert not found(CLASSES, model=Holder(hold, use))


def test_the_place_of_a_tensor_that_was_computed_from_a_parameter() -> None:
    model = Holder(lambda model: nn.Parameter(torch.ones(4)).double().float(), lambda held, x: x * held)
    finding = found(CLASSES, model=model)["unregistered-parameters"]
    assert "1 tensor with 4 values gets gradients, but is not registered" in finding.evidence
    assert finding.remedy == (
        "use self.held = nn.Parameter(...), with all that computes the tensor inside the brackets"
    )


def test_a_list_of_registered_layers_has_no_finding() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    model.also = [model[0], model[2]]  # type: ignore[assignment]
    assert not found(CLASSES, model=model)


def test_parameters_without_gradient() -> None:
    detached = nn.Sequential(Functional(nn.Linear(4, 8), lambda module, x: x.detach()), nn.Linear(8, 3))
    finding = found(CLASSES, model=detached)["parameters-without-gradient"]
    assert finding.level == "warning"
    assert finding.evidence.startswith("2 of 4 parameters (60% of the trainable weights) got no gradient")
    assert 'model.freeze = ["0.*"]' in finding.remedy
    several = Sometimes(6, lambda number, inputs: torch.full((len(inputs),), number == 9))
    remedy = found(CLASSES, model=several)["parameters-without-gradient"].remedy
    assert all(f'"layers.{number}.*"' in remedy for number in range(6)) or '"layers.*"' in remedy
    unused = nn.Sequential(nn.Linear(4, 3))
    unused[0].extra = nn.Linear(2, 2)
    assert "0.extra.*" in found(CLASSES, model=unused)["parameters-without-gradient"].evidence


class Sometimes(nn.Module):
    """Residual layers, of which `use` says by number and inputs which rows pass through."""

    def __init__(self, count: int, use: Callable[[int, Tensor], Tensor]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(count))
        self.use = use
        self.head = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = inputs
        for number, layer in enumerate(self.layers):
            rows = self.use(number, inputs) if self.training else torch.ones(len(inputs), dtype=torch.bool)
            if rows.any():
                hidden = hidden.index_add(0, rows.nonzero().flatten(), layer(hidden[rows]))
        return self.head(hidden)


def test_layers_that_chance_leaves_out_of_a_step_have_no_finding() -> None:
    def by_chance(number: int, inputs: Tensor) -> Tensor:
        return (torch.rand(()) < 0.5).expand(len(inputs))

    assert not found(CLASSES, model=Sometimes(8, by_chance))


def test_experts_for_other_samples_than_those_of_the_first_batches() -> None:
    def of_class(number: int, inputs: Tensor) -> Tensor:
        return (inputs[:, 0] * 7).long().abs() == number

    finding = found(CLASSES, model=Sometimes(40, of_class))["parameters-seldom-used"]
    assert finding.level == "hint"
    assert "39.*" in finding.evidence or "more" in finding.evidence


def test_an_unused_layer_beside_one_that_chance_leaves_out_is_named() -> None:
    model = Sometimes(2, lambda number, inputs: torch.full((len(inputs),), number == 0))
    finding = found(CLASSES, model=model)["parameters-without-gradient"]
    assert "layers.1.*" in finding.evidence


def test_frozen_layers_have_no_finding() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
    model[0].requires_grad_(False)
    assert not found(CLASSES, model=model)


def test_what_the_optimizer_has_and_lacks() -> None:
    done = checked(CLASSES, model=nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3)))
    group = done.setup.optimizer.param_groups[0]
    assert not by_name(find(done.setup, done.dry_run))
    left_out = group["params"].pop(0)
    lacking = by_name(find(done.setup, done.dry_run))["missing-in-optimizer"]
    assert "1 trainable parameters are not in the optimizer: 0.weight" in lacking.evidence
    assert lacking.remedy.endswith('model.freeze = ["0.weight"]')
    also = group["params"].pop(0)
    both = by_name(find(done.setup, done.dry_run))["missing-in-optimizer"]
    assert both.remedy.endswith('model.freeze = ["0.*"]')
    group["params"].insert(0, also)
    group["params"].insert(0, left_out.requires_grad_(False))
    assert "0.weight" in by_name(find(done.setup, done.dry_run))["frozen-in-optimizer"].evidence


def test_a_loss_with_parameters_that_nothing_trains() -> None:
    loss = Loss(lambda outputs, targets: F.cross_entropy(outputs * loss.scale.exp(), targets))
    loss.scale = nn.Parameter(torch.zeros(()))
    assert (
        "of the loss" in found(CLASSES, model=nn.Linear(4, 3), loss_fn=loss)["missing-in-optimizer"].evidence
    )


def test_weight_decay_on_biases_is_a_hint() -> None:
    def levels(*overrides: str) -> list[str]:
        findings = checked(CLASSES, *overrides).findings
        return [each.level for each in findings if each.name == "decay-on-norm-and-bias"]

    assert levels("optimizer.weight_decay=0.1") == ["hint"]
    assert not levels("optimizer.weight_decay=0.1", "optimizer.decay_norm_and_bias=false")
    assert not levels("optimizer.weight_decay=0")


def test_a_model_that_takes_one_batch_size_is_still_looked_at() -> None:
    def strict(module: Any, values: Tensor) -> Tensor:
        assert len(values) > 2
        return values.softmax(1)

    assert found(CLASSES, model=Functional(nn.Linear(4, 3), strict))

"""Models, the names of optimizers and the number of epochs are found in a program that says nothing."""

from __future__ import annotations

from types import SimpleNamespace
from weakref import ref

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer

from torchconsole.engine.library import found_objects
from torchconsole.engine.library.found_objects import (
    device_of,
    find_epochs,
    find_models,
    layer_table,
    name_optimizers,
    unwrapped,
)


def test_the_outermost_modules_that_an_optimizer_changes_are_found_by_name() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 1)))
    other = nn.Linear(2, 2)
    opt_net = SGD(net.parameters(), 0.1)
    assert find_models([opt_net]) == {"net": net}
    assert name_optimizers([opt_net]) == {"opt_net": opt_net}
    assert other is not None


def test_optimizers_in_a_dict_or_an_object_have_the_names_that_they_have_there() -> None:
    first, second, third = (SGD(nn.Linear(2, 2).parameters(), 0.1) for _ in range(3))
    optimizers, trainer = {"critic": first, 1: third}, SimpleNamespace(opt_g=second)
    found = [first, second]
    del first, second
    assert list(name_optimizers(found)) == ["critic", "opt_g"]
    assert (optimizers, trainer) != (third, None)


def test_what_has_no_name_has_that_of_its_class() -> None:
    nets = [nn.Linear(2, 2), nn.Linear(2, 2)]
    found = find_models([SGD([p for each in nets for p in each.parameters()], 0.1)])
    assert set(found) == {"Linear", "Linear_2"}


@pytest.mark.parametrize("name", ["epochs", "EPOCHS", "num_epochs", "max_epochs"])
@pytest.mark.parametrize("kind", ["variable", "namespace", "dict"])
def test_the_number_of_epochs_is_found(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scope = {name: 7} if kind == "variable" else {"args": SimpleNamespace(**{name: 7})}
    scope = {"config": {name: 7}} if kind == "dict" else scope
    monkeypatch.setattr(found_objects, "_scopes", lambda: iter([{"x": 1}, scope]))
    assert find_epochs(7) == 7
    assert find_epochs(8) is None  # the program trains once more


@pytest.mark.parametrize("value", [True, 0, -1, 2.5, "7", None, 10**9])
def test_what_cannot_be_a_number_of_epochs_is_none(value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found_objects, "_scopes", lambda: iter([{"epochs": value}]))
    assert find_epochs(1) is None


def test_the_layer_table_counts_parameters() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    net[0].bias.requires_grad = False
    table = layer_table({"net": net})
    assert [(layer.name, layer.params, layer.trainable) for layer in table.layers] == [
        ("net", 9, 6),
        ("0", 9, 6),
        ("1", 0, 0),
    ]
    assert (table.params, table.trainable, table.macs) == (9, 6, None)


def test_the_device_is_that_of_the_weights() -> None:
    assert device_of({}) == torch.device("cpu")
    assert device_of({"net": nn.Linear(1, 1, device="meta")}) == torch.device("meta")


class Wrapper(Optimizer):
    """Wraps an optimizer as Accelerate does, without what the class Optimizer sets up."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer


def test_an_optimizer_has_the_name_of_its_wrapper() -> None:
    opt_net = Wrapper(SGD(nn.Linear(2, 2).parameters(), 0.1))
    assert name_optimizers([opt_net.optimizer]) == {"opt_net": opt_net.optimizer}
    assert unwrapped(opt_net) is opt_net.optimizer
    assert unwrapped(opt_net.optimizer) is opt_net.optimizer


def test_a_name_in_the_program_comes_before_one_in_a_framework() -> None:
    framework: dict[str, object] = {"__name__": "lightning.trainer"}
    exec("def call(function, optimizer): return function(optimizer)", framework)
    opt_net = SGD(nn.Linear(2, 2).parameters(), 0.1)
    named = framework["call"](lambda _found: name_optimizers([_found]), opt_net)  # type: ignore[operator]
    assert list(named) == ["opt_net"]


def test_what_a_function_drops_after_it_was_looked_at_is_freed() -> None:
    def train() -> bool:
        batch = torch.ones(3)
        seen = ref(batch)
        find_epochs(1)
        name_optimizers([])
        del batch
        return seen() is None

    assert train()

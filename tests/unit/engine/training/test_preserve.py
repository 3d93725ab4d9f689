"""What a trial step changed is restored to the last bit, wherever the model keeps it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from torchconsole.engine.training.preserve import preserve


class Owner(nn.Module):
    """A module with one attribute or buffer."""

    def __init__(self, value: Any, *, as_buffer: bool = False) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        if as_buffer:
            self.register_buffer("value", value)
        else:
            self.value = value


def shared_memory() -> list[Tensor]:
    """Tensors with elements that share their place in memory."""
    return [
        torch.arange(3).expand(4, 3),
        torch.zeros(1).broadcast_to(2, 5),
        torch.arange(6.0).unfold(0, 3, 1),
        torch.zeros(2, 1, 3)[1:].expand(4, 5, 3),
    ]


@pytest.mark.parametrize("as_buffer", [True, False])
@pytest.mark.parametrize("number", range(4))
def test_tensors_whose_elements_share_memory(number: int, as_buffer: bool) -> None:
    tensor = shared_memory()[number]
    owner, before = Owner(tensor, as_buffer=as_buffer), tensor.clone()
    weight = owner.layer.weight.clone()
    with preserve([owner]):
        tensor.as_strided((1,), (1,), tensor.storage_offset()).add_(7)
        owner.layer.weight.data.add_(1)
    assert torch.equal(owner.value, before)
    assert torch.equal(owner.layer.weight, weight)
    assert owner.value is tensor


def coo() -> Tensor:
    return torch.eye(3).to_sparse()


def double(tensor: Tensor) -> Tensor:
    return tensor.mul_(2)


class Counter:
    """An object of the user's own."""

    def __init__(self) -> None:
        self.calls = [0]


@pytest.mark.parametrize(
    ("build", "use", "read"),
    [
        (coo, double, Tensor.to_dense),
        (lambda: [torch.ones(2)], lambda each: each[0].add_(1), lambda each: each[0].clone()),
        (lambda: {"a": {"b": [1]}}, lambda each: each["a"]["b"].append(2), lambda each: each["a"]["b"][:]),
        (lambda: ([torch.ones(2)],), lambda each: each[0][0].zero_(), lambda each: each[0][0].clone()),
        (lambda: np.zeros(3), lambda each: each.fill(1), np.copy),
        (lambda: torch.Generator(), lambda each: torch.rand(1, generator=each), torch.Generator.get_state),
        (lambda: np.random.default_rng(0), lambda each: each.random(), lambda each: each.bit_generator.state),
        (lambda: np.random.RandomState(0), lambda each: each.rand(), lambda each: each.get_state()[2]),
        (lambda: [random.Random(0)], lambda each: each[0].random(), lambda each: each[0].getstate()),
        (Counter, lambda each: each.calls.append(1), lambda each: each.calls[:]),
        (lambda: SimpleNamespace(n=0), lambda each: vars(each).update(n=1), lambda each: each.n),
        (
            lambda: [nn.BatchNorm1d(2)],
            lambda each: each[0](torch.rand(4, 2)),
            lambda each: each[0].running_mean.clone(),
        ),
    ],
)
def test_what_is_inside_attributes(
    build: Callable[[], Any], use: Callable[[Any], object], read: Callable[[Any], Any]
) -> None:
    owner = Owner(build())
    kept, before = owner.value, read(owner.value)
    with preserve([owner]):
        use(owner.value)
        with pytest.raises(AssertionError):
            same(read(owner.value), before)
    same(read(owner.value), before)
    assert owner.value is kept


def same(one: Any, other: Any) -> None:
    if isinstance(one, Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, np.ndarray):
        assert np.array_equal(one, other)
    else:
        assert one == other


def test_objects_that_refer_to_each_other() -> None:
    first: dict[str, Any] = {"calls": 0}
    first["self"] = [first]
    owner = Owner(first)
    with preserve([owner]):
        first["calls"] = 1
    assert owner.value["calls"] == 0


def test_one_thing_that_cannot_be_restored(caplog: pytest.LogCaptureFixture) -> None:
    owner = Owner(torch.ones(2))
    before = owner.layer.weight.clone()
    with preserve([owner]):
        owner.value.resize_(5)
        owner.layer.weight.data = torch.zeros(2, 2)
    assert torch.equal(owner.layer.weight, before)
    assert "a trial step has left a trace" in caplog.text


class Slotted:
    """An object without a `__dict__`."""

    __slots__ = ("calls", "rng")

    def __init__(self) -> None:
        self.calls = 0
        self.rng = random.Random(0)


def test_an_object_with_slots() -> None:
    owner = Owner(Slotted())
    before = owner.value.rng.getstate()
    with preserve([owner]):
        owner.value.calls += 1
        owner.value.rng.random()
    assert (owner.value.calls, owner.value.rng.getstate()) == (0, before)


@pytest.mark.parametrize(
    "build",
    [lambda: itertools.count(3), lambda: iter([3, 4]), lambda: iter(range(3, 9))],
    ids=["count", "list", "range"],
)
def test_an_iterator(build: Callable[[], Any]) -> None:
    owner = Owner(build())
    inside = Owner(SimpleNamespace(value=build()))
    with preserve([owner, inside]):
        assert next(owner.value) == next(inside.value.value) == 3
    assert next(owner.value) == next(inside.value.value) == 3


RNG = random.Random(0)
CALLS = 0


class Shared(nn.Module):
    """A module that keeps its state in variables of its class and its file."""

    calls = 0

    def forward(self) -> float:
        global CALLS
        CALLS += 1
        type(self).calls += 1
        return RNG.random()


def test_variables_of_a_class_and_of_a_file() -> None:
    owner, before = Shared(), RNG.getstate()
    with preserve([owner]):
        owner()
        assert (CALLS, Shared.calls) == (1, 1)
    assert (CALLS, Shared.calls, RNG.getstate()) == (0, 0, before)


def test_variables_that_a_function_encloses() -> None:
    calls = 0

    def count() -> int:
        nonlocal calls
        calls += 1
        return calls

    owner = Owner(count)
    with preserve([owner]):
        owner.value()
    assert calls == 0


def _remember(value: int, size: int = 8, seen: list[int] = [], *, scale: float = 2.0) -> None:  # noqa: B006
    seen.append(size)


def test_defaults_of_a_function(caplog: pytest.LogCaptureFixture) -> None:
    owner = Owner(_remember)
    with preserve([owner]):
        owner.value(1)
    assert _remember.__defaults__ == (8, [])
    assert not caplog.text


def test_a_generator_behind_a_bound_method() -> None:
    owner = Owner(random.Random(0).random)
    with preserve([owner]):
        first = owner.value()
    assert owner.value() == first

"""The optimizer's step as the training calls it: no longer than it must be, and what torch's would do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn, optim

from torchconsole.engine.training.nonfinite import NonfiniteGuard
from torchconsole.engine.training.step import bare_step

HELD = 0.5


def holding_by_hook(optimizer: optim.Optimizer, hold: Callable[..., None]) -> None:
    optimizer.register_step_post_hook(hold)


def holding_by_method(optimizer: optim.Optimizer, hold: Callable[..., None]) -> None:
    step = optimizer.step

    def stepping(*arguments: Any) -> None:
        step(*arguments)
        hold()

    optimizer.step = stepping  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize("way", [holding_by_hook, holding_by_method])
def test_what_the_user_adds_to_an_optimizer_of_torch_is_done(
    way: Callable[[optim.Optimizer, Callable[..., None]], None],
) -> None:
    weight = nn.Parameter(torch.ones(3))
    weight.grad = torch.ones(3)
    optimizer = optim.SGD([weight], lr=0.1)
    way(optimizer, lambda *arguments: weight.data.fill_(HELD))
    bare_step(optimizer)()
    assert weight.tolist() == [HELD] * 3


@pytest.mark.parametrize("name", ["SGD", "AdamW", "RMSprop", "Adafactor"])
def test_it_computes_what_the_whole_step_does(name: str) -> None:
    weights = [nn.Parameter(torch.ones(3, 2)) for _ in range(2)]
    steps = [
        choose(getattr(optim, name)([weight], lr=0.1))
        for weight, choose in zip(weights, (bare_step, lambda optimizer: optimizer.step), strict=True)
    ]
    for number in range(3):
        for weight, step in zip(weights, steps, strict=True):
            weight.grad = torch.full((3, 2), number - 0.5)
            step()
    assert torch.equal(*weights)
    assert weights[0][0, 0] != 1


def test_an_optimizer_without_state_leaves_steps_out_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host waits for the first step alone, in which others make their state."""
    model = nn.Linear(3, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1, fused=True)
    guard = NonfiniteGuard(model, optimizer)

    def step(loss: float) -> bool:
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, loss)
        return guard.step(torch.tensor(loss), torch.tensor(loss)).item()

    assert not step(1.0)
    before = model.weight.clone()
    monkeypatch.setattr(torch.Tensor, "__bool__", lambda tensor: pytest.fail("the host waits for the device"))
    assert step(float("nan"))
    assert torch.equal(model.weight, before)
    assert not step(1.0)
    assert torch.equal(model.weight, before - 0.1)

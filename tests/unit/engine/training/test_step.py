"""Steps whose loss is not finite are left out on the device."""

from __future__ import annotations

import pytest
import torch
from torch import nn, optim

from torchconsole.engine.training.nonfinite import NonfiniteGuard


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

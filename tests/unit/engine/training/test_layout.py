"""Channels last in memory: wherever a model allows it, and no trace of the trial is left."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.support.sessions import MakeSession
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.training import layout
from torchconsole.engine.training.dry_run import dry_run, first_batch, forward_and_backward
from torchconsole.engine.training.layout import settle_layout
from torchconsole.engine.training.randomness import random_state
from torchconsole.engine.training.train_state import load_optimizer_state


class Views(nn.Module):
    """As many tutorials write it: a view, which channels last in memory do not allow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Linear(4 * 64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = torch.relu(self.conv(images))
        scores: torch.Tensor = self.head(features.view(features.size(0), -1))
        return scores


def kernel_of(model: nn.Module) -> torch.Tensor:
    """The weights of a convolution whose two layouts differ."""
    return next(weight for weight in model.parameters() if weight.ndim == 4 and weight.shape[1] > 1)


def is_last(model: nn.Module) -> bool:
    return not kernel_of(model).is_contiguous()


def test_convolutions_and_their_average_have_channels_last(session: MakeSession) -> None:
    setup = session("ema.decay=0.9", preset="digits-cnn").setup
    settle_layout(setup, first_batch(setup))
    assert setup.preset.training.channels_last is True
    assert setup.ema is not None
    assert is_last(setup.model)
    assert is_last(setup.ema.module)


@pytest.mark.parametrize("said", [True, False])
def test_what_the_preset_says_stands(session: MakeSession, said: bool) -> None:
    setup = session(f"training.channels_last={str(said).lower()}", preset="digits-cnn").setup
    settle_layout(setup, first_batch(setup))
    assert is_last(setup.model) is said


def test_a_model_that_views_its_features_keeps_channels_first(session: MakeSession) -> None:
    setup = session(preset="digits-cnn").setup
    setup.model = Views()
    settle_layout(setup, first_batch(setup))
    assert setup.preset.training.channels_last is False
    setup.model(first_batch(setup)[0])


def test_a_model_that_views_its_features_is_not_blamed_on_the_batch(session: MakeSession) -> None:
    setup = session("training.channels_last=true", preset="digits-cnn").setup
    setup.model = Views().to(memory_format=torch.channels_last)
    with pytest.raises(
        ComponentError, match=r"training.channels_last: SmallCNN itself views .* set it to false"
    ):
        dry_run(setup, first_batch(setup))


def test_nets_without_convolutions_are_not_tried(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = session().setup
    monkeypatch.setattr(layout, "forward_and_backward", None)
    settle_layout(setup, first_batch(setup))
    assert setup.preset.training.channels_last is False


def test_the_trial_leaves_no_trace_in_the_training(session: MakeSession) -> None:
    """Weights, running statistics, gradients and random numbers are as they were before."""
    setup = session(preset="digits-cnn").setup
    before = copy.deepcopy(setup.model.state_dict()), random_state()["torch"]
    settle_layout(setup, first_batch(setup))
    after = setup.model.state_dict(), random_state()["torch"]
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in setup.model.parameters())


@pytest.mark.parametrize(
    "optimizer", ["name='SGD', lr=0.1, momentum=0.9", "name='Adagrad', lr=0.1", "name='AdamW', lr=0.001"]
)
def test_what_an_optimizer_keeps_lies_in_memory_as_the_weights_do(
    session: MakeSession, optimizer: str
) -> None:
    """From its start on or from its first step: a fused one goes through both as they lie there."""
    setup = session(f"optimizer={{{optimizer}}}", "training.max_steps=1", preset="digits-cnn").setup
    settle_layout(setup, first_batch(setup))
    forward_and_backward(setup, first_batch(setup))
    setup.optimizer.step()
    kernel = kernel_of(setup.model)
    kept = [value for value in setup.optimizer.state[kernel].values() if value.shape == kernel.shape]
    assert kept
    assert {value.stride() for value in kept} == {kernel.stride()}


def test_an_average_made_with_channels_first_goes_on_with_them_last(
    session: MakeSession, tmp_path: Path
) -> None:
    """And the state of a fused optimizer, which goes through memory as it lies."""
    common = ("training.max_steps=6", "ema.decay=0.9", "schedule=", "early_stopping=")
    straight = session(*common, preset="digits-cnn", checkpoints=tmp_path / "straight")
    straight.trainer.run()
    changed = session(*common, preset="digits-cnn", checkpoints=tmp_path / "changed")
    half = session("training.max_steps=3", *common[1:], preset="digits-cnn", checkpoints=tmp_path / "half")
    half.trainer.run()
    state = half.state.state_dict()
    layout._put(changed.setup, torch.channels_last)
    changed.state.load_state_dict(copy.deepcopy(state))
    changed.trainer.run()
    assert is_last(changed.setup.model)
    torch.testing.assert_close(
        changed.setup.model.state_dict(), straight.setup.model.state_dict(), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "Adagrad"])
def test_the_state_of_a_fused_optimizer_goes_over_to_another_layout(name: str) -> None:
    """Which goes through both as they lie in memory: without care, weights would get others' state."""

    def made(memory_format: torch.memory_format) -> tuple[nn.Conv2d, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = nn.Conv2d(3, 8, 3).to(memory_format=memory_format)  # type: ignore[call-overload]
        more = {"momentum": 0.9} if name == "SGD" else {}
        return model, getattr(torch.optim, name)(model.parameters(), lr=0.1, fused=True, **more)

    def train(model: nn.Conv2d, optimizer: torch.optim.Optimizer) -> None:
        inputs = torch.linspace(-1, 1, 4 * 3 * 8 * 8).sin().reshape(4, 3, 8, 8)
        for _ in range(3):
            optimizer.zero_grad()
            model(inputs).pow(2).mean().backward()
            optimizer.step()

    model, optimizer = made(torch.channels_last)
    train(model, optimizer)
    weights, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    train(model, optimizer)
    other, its_optimizer = made(torch.contiguous_format)
    other.load_state_dict(weights)
    load_optimizer_state(its_optimizer, state)
    train(other, its_optimizer)
    torch.testing.assert_close(other.weight, model.weight, rtol=1e-4, atol=1e-5)

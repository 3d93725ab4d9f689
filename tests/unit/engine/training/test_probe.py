"""Trial passes measure what `resolve` decides by, and leave no trace in the training."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._dynamo import eval_frame

from tests.support.sessions import MakeSession, ignore_phase, parts_for, setup_for
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.training import probe as probe_module
from torchconsole.engine.training.checkpoint import newest_valid
from torchconsole.engine.training.parts import TrainingParts
from torchconsole.engine.training.probe import PartsProbe
from torchconsole.engine.training.randomness import random_state
from torchconsole.engine.training.setup import build_setup
from torchconsole.engine.training.train_state import load_optimizer_state
from torchconsole.engine.training.trial import first_batch, forward_and_backward, try_batch


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


def parts(*overrides: str, preset: str = "digits-cnn") -> TrainingParts:
    return parts_for(load_preset(preset, overrides))


def probe_of(built: TrainingParts) -> PartsProbe:
    return PartsProbe(built, first_batch(built))


def kernel_of(model: nn.Module) -> torch.Tensor:
    """The weights of a convolution whose two memory formats differ."""
    return next(weight for weight in model.parameters() if weight.ndim == 4 and weight.shape[1] > 1)


def is_last(model: nn.Module) -> bool:
    return not kernel_of(model).is_contiguous()


def test_convolutions_and_their_average_get_channels_last() -> None:
    setup = setup_for(load_preset("digits-cnn", ["ema.decay=0.9"]))
    assert setup.preset.training.channels_last is True
    assert setup.ema is not None
    assert is_last(setup.model)
    assert is_last(setup.ema.module)


@pytest.mark.parametrize("stated", [True, False])
def test_the_format_that_the_preset_states_is_used(stated: bool) -> None:
    setup = setup_for(load_preset("digits-cnn", [f"training.channels_last={str(stated).lower()}"]))
    assert is_last(setup.model) is stated


def test_a_model_that_views_its_features_keeps_channels_first(caplog: pytest.LogCaptureFixture) -> None:
    built = parts()
    built.model = Views()
    with caplog.at_level(logging.INFO):
        setup = build_setup(built, ignore_phase)
    assert setup.preset.training.channels_last is False
    assert "convolutions keep channels first in memory; with channels last:" in caplog.text
    try_batch(setup, first_batch(setup))


def test_a_view_is_named_as_the_reason_if_the_preset_states_channels_last() -> None:
    built = parts("training.channels_last=true")
    built.model = Views().to(memory_format=torch.channels_last)
    with pytest.raises(
        ComponentError, match=r"training.channels_last: SmallCNN calls view .* set training.channels_last to"
    ):
        try_batch(built, first_batch(built))


def test_models_without_convolutions_are_not_tried() -> None:
    built = parts(preset="digits-mlp")
    assert not PartsProbe(built, (torch.empty(0), torch.empty(0))).takes_channels_last()


def test_trials_leave_no_trace_in_the_training() -> None:
    """Weights, running statistics, gradients and random numbers are as they were before."""
    built = parts()
    probe = probe_of(built)
    before = copy.deepcopy(built.model.state_dict()), random_state()["torch"], torch.get_num_threads()
    assert probe.takes_channels_last()
    assert probe.step_seconds(1) > 0
    after = built.model.state_dict(), random_state()["torch"], torch.get_num_threads()
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in built.model.parameters())


def test_a_step_is_timed_with_the_threads_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = probe_of(parts(preset="digits-mlp"))
    used = []
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    probe.step_seconds(4)
    assert used == [4, torch.get_num_threads()]


@pytest.mark.parametrize(
    "optimizer", ["name='SGD', lr=0.1, momentum=0.9", "name='Adagrad', lr=0.1", "name='AdamW', lr=0.001"]
)
def test_the_optimizers_state_has_the_memory_format_of_the_weights(optimizer: str) -> None:
    """From its start on or from its first step: a fused optimizer goes through both as they lie in memory."""
    setup = setup_for(load_preset("digits-cnn", [f"optimizer={{{optimizer}}}"]))
    forward_and_backward(setup, first_batch(setup))
    setup.optimizer.step()
    kernel = kernel_of(setup.model)
    kept = [value for value in setup.optimizer.state[kernel].values() if value.shape == kernel.shape]
    assert kept
    assert {value.stride() for value in kept} == {kernel.stride()}


def test_a_checkpoint_with_channels_first_continues_with_channels_last(
    session: MakeSession, tmp_path: Path
) -> None:
    """With the average, and with the state of a fused optimizer."""
    common = ("ema.decay=0.9", "schedule=", "early_stopping=")
    first = ("training.channels_last=false", *common)
    straight = session("training.max_steps=6", *first, preset="digits-cnn", checkpoints=tmp_path / "straight")
    straight.trainer.run()
    half = session("training.max_steps=3", *first, preset="digits-cnn", checkpoints=tmp_path / "half")
    half.trainer.run()
    last = ("training.channels_last=true", *common)
    changed = session("training.max_steps=6", *last, preset="digits-cnn", checkpoints=tmp_path / "changed")
    changed.state.load_state_dict(newest_valid(half.checkpoints)[1])
    changed.trainer.run()
    assert is_last(changed.setup.model)
    torch.testing.assert_close(
        changed.setup.model.state_dict(), straight.setup.model.state_dict(), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "Adagrad"])
def test_the_state_of_a_fused_optimizer_is_converted_to_another_memory_format(name: str) -> None:
    """Otherwise weights would get the state of others."""

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


@pytest.mark.parametrize(
    ("compiled", "uncompiled", "warned"),
    [(0.4, 0.7, False), (0.75, 0.7, False), (12.0, 10.0, False), (1.35, 0.7, True)],
)
def test_a_model_that_is_slower_compiled_is_warned_of(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    compiled: float,
    uncompiled: float,
    warned: bool,
) -> None:
    def median_seconds(step: Callable[[], object]) -> float:
        return (uncompiled if eval_frame._stance.stance == "force_eager" else compiled) / 1000

    monkeypatch.setattr(probe_module, "median_seconds", median_seconds)
    setup_for(load_preset("digits-mlp", ["training.compile=true"]))
    text = "takes 1.4 ms compiled and 0.7 ms uncompiled: training.compile = false is faster here"
    assert (text in caplog.text) is warned
    assert ("training.compile" in caplog.text) is warned

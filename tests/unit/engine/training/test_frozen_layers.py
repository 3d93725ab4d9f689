"""Layers are frozen and unfrozen by commands, at a step, and a resume continues exactly so."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.sessions import MakeSession, Session
from torchconsole.engine.analysis.summary import summarize
from torchconsole.engine.errors import CommandRejectedError
from torchconsole.engine.protocol.commands import Command, FreezeLayer, StopRun, UnfreezeLayer
from torchconsole.engine.protocol.events import CommandApplied, CommandRejected, ModelSummarized
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.training.resume import resume_training

SGD = ("optimizer.name=SGD", "optimizer.momentum=0.9", "optimizer.weight_decay=0.1")


def ask(run: Session, commands: dict[int, Command]) -> None:
    """Send commands during steps; note the weights after each step."""

    def hand_in(point: MetricsPoint) -> None:
        if command := commands.get(point.step):
            run.commands.put(f"c{point.step}", command, "me")

    run.event_queue.on_log = hand_in


def weights_at_each_step(run: Session, name: str) -> list[Tensor]:
    """A copy of a parameter at each logged step, from the first one on; filled by the run."""
    found: list[Tensor] = []
    before = run.event_queue.on_log

    def note(point: MetricsPoint) -> None:
        found.append(run.setup.model.get_parameter(name).detach().clone())
        before(point)

    run.event_queue.on_log = note
    return found


def rejections(run: Session) -> list[str]:
    """Why commands were rejected."""
    return [event.reason for event in run.event_queue.of(CommandRejected)]


@pytest.mark.parametrize(
    "settings", [SGD, ("optimizer.name=AdamW", "optimizer.weight_decay=0.1")], ids=["SGD", "AdamW"]
)
def test_a_frozen_layer_keeps_its_weights_until_it_is_unfrozen(
    session: MakeSession, settings: tuple[str, ...]
) -> None:
    """Neither its momentum nor weight decay moves it."""
    run = session("training.max_steps=12", *settings)
    ask(run, {4: FreezeLayer(layer="layers.1"), 8: UnfreezeLayer(layer="layers.1")})
    found = weights_at_each_step(run, "layers.1.weight")
    head = weights_at_each_step(run, "layers.4.weight")
    run.trainer.run()
    moved = [not torch.equal(old, new) for old, new in pairwise(found)]
    assert moved == [True] * 3 + [False] * 4 + [True] * 4
    assert all(not torch.equal(old, new) for old, new in pairwise(head))
    assert not rejections(run)
    effects = [event.detail for event in run.event_queue.of(CommandApplied)]
    assert effects == ["froze layers.1 (8,320 parameters)", "unfroze layers.1 (8,320 parameters)"]


def test_the_layer_table_says_what_is_trained(session: MakeSession) -> None:
    run = session("training.max_steps=4", preset="digits-cnn")
    run.setup.summary = summarize(run.setup.model, torch.zeros(1, 1, 8, 8))
    ask(run, {2: FreezeLayer(layer="features")})
    run.trainer.run()
    (event,) = run.event_queue.of(ModelSummarized)
    trainable = {layer.name: layer.trainable for layer in event.summary.layers}
    assert (trainable["features"], trainable["features.4"], trainable["head"]) == (0, 0, 5130)
    assert event.summary.trainable == 5130


def test_running_statistics_of_a_frozen_layer_stay(session: MakeSession) -> None:
    run = session("training.max_steps=6", preset="digits-cnn")
    ask(run, {3: FreezeLayer(layer="features.1")})
    found: list[Tensor] = []
    norm: Any = run.setup.model.get_submodule("features.1")
    before = run.event_queue.on_log

    def note(point: MetricsPoint) -> None:
        found.append(norm.running_mean.clone())
        before(point)

    run.event_queue.on_log = note
    run.trainer.run()
    moved = [not torch.equal(old, new) for old, new in pairwise(found)]
    assert moved == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ("layers.2", "layers.2 has no parameters"),
        ("layers.99", "the model has no layer 'layers.99', did you mean"),
        ("", "the model has no layer ''; available: layers, layers.0"),
        ("layers", "layers has all parameters that are trained; leave at least one"),
    ],
)
def test_what_cannot_be_frozen_is_rejected(session: MakeSession, layer: str, reason: str) -> None:
    run = session("training.max_steps=3")
    ask(run, {1: FreezeLayer(layer=layer)})
    run.trainer.run()
    (found,) = rejections(run)
    assert found.startswith(reason)


def test_the_last_trained_layer_cannot_be_frozen(session: MakeSession) -> None:
    run = session("training.max_steps=6")
    asked: list[Command] = [
        *(FreezeLayer(layer=layer) for layer in ("layers.1", "layers.1", "layers.4", "layers.7")),
        UnfreezeLayer(layer="layers.7"),
    ]
    ask(run, dict(enumerate(asked, 1)))
    run.trainer.run()
    assert rejections(run) == [
        "layers.1 is frozen already",
        "layers.7 has all parameters that are trained; leave at least one",
        "layers.7 is not frozen",
    ]


def test_layers_can_be_frozen_and_unfrozen_before_the_next_step(session: MakeSession) -> None:
    """As while the run is paused: what was unfrozen has no gradient then, but it had one."""
    run = session("training.max_steps=1", "model.hidden=[8]")
    run.trainer.run()
    layers = run.state.frozen
    layers.freeze("layers.1", 0)
    layers.unfreeze("layers.1", 0)
    assert layers.freeze("layers.4", 0).startswith("froze layers.4")
    layers.unfreeze("layers.4", 0)
    assert layers.freeze("layers.1", 0).startswith("froze layers.1")


def test_layers_outside_the_loss_cannot_be_left_alone(session: MakeSession) -> None:
    run = session("training.max_steps=1", "model.hidden=[8]")
    run.trainer.run()
    for weight in run.setup.model.get_submodule("layers.1").parameters():
        weight.grad = None
    with pytest.raises(CommandRejectedError, match=r"no parameter outside layers\.4 has a gradient"):
        run.state.frozen.freeze("layers.4", 0)


def test_what_the_preset_freezes_stays_frozen(session: MakeSession) -> None:
    run = session("training.max_steps=3", 'model.freeze=["layers.1"]')
    ask(run, {1: UnfreezeLayer(layer="layers.1")})
    run.trainer.run()
    assert rejections(run)[0].startswith(
        "layers.1 is frozen by model.freeze; to train it, start a run without"
    )


def test_unfreezing_at_an_epoch_leaves_what_was_frozen_by_hand(session: MakeSession) -> None:
    run = session("training.epochs=2", 'model.freeze=["layers.1"]', "model.unfreeze_at_epoch=1")
    ask(run, {2: FreezeLayer(layer="layers.4")})
    run.trainer.run()
    trained = {name: weight.requires_grad for name, weight in run.setup.model.named_parameters()}
    assert trained["layers.1.weight"]
    assert not trained["layers.4.weight"]


@pytest.mark.parametrize(
    "settings",
    [SGD, ("optimizer.name=AdamW", "training.grad_accum_steps=2", "ema.decay=0.9")],
    ids=["SGD", "AdamW"],
)
def test_a_resume_continues_with_the_frozen_layers_to_the_last_bit(
    tmp_path: Path, settings: tuple[str, ...]
) -> None:
    limits = ("training.epochs=2", "data.limit=400")
    freezing: dict[int, Command] = {3: FreezeLayer(layer="features.0"), 4: FreezeLayer(layer="features.1")}
    ending: dict[int, Command] = {9: UnfreezeLayer(layer="features.0")}
    whole = Session(tmp_path / "whole", [*limits, *settings], preset="digits-cnn")
    ask(whole, {**freezing, **ending})
    whole.trainer.run()
    first = Session(tmp_path / "parts", [*limits, *settings], preset="digits-cnn")
    ask(first, {**freezing, 6: StopRun()})
    first.trainer.run()
    second = Session(first.checkpoints, [*limits, *settings], preset="digits-cnn")
    resume_training(second.setup, second.state, second.checkpoints, second.event_queue)
    assert second.state.frozen.state_dict() == ["features.0.weight", "features.1.bias", "features.1.weight"]
    ask(second, ending)
    second.trainer.run()
    assert first.event_queue.losses + second.event_queue.losses == whole.event_queue.losses
    for name, value in whole.setup.model.state_dict().items():
        assert torch.equal(second.setup.model.state_dict()[name], value), name


def test_what_was_frozen_before_a_resume_is_known_to_take_part_in_the_loss(tmp_path: Path) -> None:
    settings = ["training.max_steps=8", "model.hidden=[8]"]
    first = Session(tmp_path, settings)
    ask(first, {2: FreezeLayer(layer="layers.1"), 4: StopRun()})
    first.trainer.run()
    second = Session(first.checkpoints, settings)
    resume_training(second.setup, second.state, second.checkpoints, second.event_queue)
    # At the boundary after a step: what is unfrozen there has no gradient yet.
    unfreeze, freeze = UnfreezeLayer(layer="layers.1"), FreezeLayer(layer="layers.4")

    def hand_in(point: MetricsPoint) -> None:
        if point.step == 6:
            second.commands.put("a", unfreeze, "me")
            second.commands.put("b", freeze, "me")

    second.event_queue.on_log = hand_in
    second.trainer.run()
    assert rejections(second) == []
    assert [event.command for event in second.event_queue.of(CommandApplied)] == [unfreeze, freeze]


def test_a_checkpoint_without_frozen_layers_is_read(session: MakeSession) -> None:
    run = session("training.max_steps=2")
    run.trainer.run()
    state = run.state.state_dict()
    del state["frozen"]
    other = session("training.max_steps=4")
    other.state.load_state_dict(state)
    assert other.state.frozen.state_dict() == []


def test_a_compiled_model_can_be_frozen(session: MakeSession) -> None:
    run = session("training.max_steps=4", "training.compile=true", "data.limit=400")
    ask(run, {2: FreezeLayer(layer="layers.1")})
    found = weights_at_each_step(run, "layers.1.weight")
    run.trainer.run()
    assert [torch.equal(old, new) for old, new in pairwise(found)] == [False, True, True]
    (event,) = run.event_queue.of(CommandApplied)
    assert event.detail.endswith("; the next step compiles the model again")

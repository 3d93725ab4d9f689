"""A resume reports what has changed since the checkpoint was taken."""

from __future__ import annotations

import logging
import re
import tomllib

import pytest
import torch

from tests.support.sessions import MakeSession, Session, setup_for
from torchconsole.engine.analysis.extended_lr import extended_lr
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.config.loading import dump_preset, load_preset, validate
from torchconsole.engine.config.resume_policy import differences
from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.training.resume import resume_training


def resumed(session: MakeSession, *overrides: str) -> Session:
    """A session that resumes from the previous one in the same folder."""
    again = session(*overrides)
    resume_training(again.setup, again.state, again.checkpoints, again.event_queue)
    return again


def test_a_finished_run_continues_with_more_epochs(
    session: MakeSession, caplog: pytest.LogCaptureFixture
) -> None:
    session("training.epochs=3").trainer.run()
    caplog.set_level(logging.INFO)
    again = resumed(session, "training.epochs=4")
    [applied] = again.event_queue.of(ev.CommandApplied)
    assert (applied.step, applied.detail) == (69, "training.epochs 3 -> 4")
    assert applied.command.changes == {"training.epochs": (3, 4)}
    assert (
        "the run is now 92 steps long: CosineAnnealingLR is stretched to it; lr at step 69: 0 -> 0.0015"
    ) in caplog.text
    outcome = again.trainer.run()
    assert (outcome.reason, outcome.epoch, outcome.step) == ("all epochs done", 4, 92)


@pytest.mark.parametrize("changes", [["training.epochs=4"], ["training.epochs=9", "training.max_steps=80"]])
def test_the_lr_of_an_extended_run_is_what_the_resume_gives(session: MakeSession, changes: list[str]) -> None:
    session("training.epochs=3").trainer.run()
    longer = session(*changes)
    setup = longer.setup
    curve = extended_lr(setup.preset, setup.model, setup.steps_per_epoch, longer.checkpoints, UserCode())
    again = resumed(session, *changes)
    again.trainer.run()
    logged = {point.step: point.metrics["lr"] for point in again.event_queue.points}
    assert curve.total_steps == max(logged)
    assert curve.steps[0] == min(logged) == 70
    assert [logged[step] for step in curve.steps] == pytest.approx(curve.lrs[0])


def test_an_unchanged_resume_logs_no_warning(session: MakeSession, caplog: pytest.LogCaptureFixture) -> None:
    session("training.epochs=1").trainer.run()
    caplog.set_level(logging.INFO)
    again = resumed(session, "training.epochs=1")
    assert again.event_queue.of(ev.CommandApplied) == []
    assert [record.message for record in caplog.records] == ["resumed from step-00000023 on cpu"]


def test_an_inexact_resume_is_logged_in_one_line(
    session: MakeSession, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    session("training.epochs=1").trainer.run()
    monkeypatch.setattr(torch, "__version__", "9.9.9")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    resumed(session, "training.epochs=1")
    [line] = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert re.fullmatch(
        r"not bit-exact, changed since the checkpoint: torch \S+ -> 9.9.9, threads \d+ -> 77", line
    )


@pytest.mark.parametrize(("precision", "warned"), [("bf16", True), ("fp32", False)])
def test_another_precision_is_inexact_but_auto_and_its_result_are_the_same(
    session: MakeSession, caplog: pytest.LogCaptureFixture, precision: str, warned: bool
) -> None:
    session("training.epochs=1", "training.precision=auto").trainer.run()
    resumed(session, "training.epochs=1", f"training.precision={precision}")
    logged = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert logged == (
        ["not bit-exact, changed since the checkpoint: precision fp32 -> bf16"] if warned else []
    )


def test_a_checkpoint_of_another_model_lists_what_does_not_fit(session: MakeSession) -> None:
    session("training.epochs=1").trainer.run()
    with pytest.raises(CheckpointError) as caught:
        resumed(session, "training.epochs=1", "model.hidden=[128]")
    assert str(caught.value) == (
        "the checkpoint does not match the preset's model: unexpected: layers.7.weight, layers.7.bias; "
        "mismatched: layers.4.weight is 64x128 instead of 10x128, layers.4.bias is 64 instead of 10"
    )


def test_a_resume_keeps_an_optimizer_that_is_not_recorded_as_fused() -> None:
    """Its bits would differ."""
    recorded = load_preset("digits-mlp", ["training.epochs=2"])
    setup = setup_for(recorded, from_checkpoint=True)
    assert setup.optimizer.param_groups[0]["fused"] is None
    assert "fused" not in dump_preset(setup.preset)


def test_a_resume_decides_nothing_anew(session: MakeSession) -> None:
    run = session("training.epochs=1", preset="digits-cnn")
    assert run.setup.optimizer.param_groups[0]["fused"] is True
    recorded = validate(tomllib.loads(dump_preset(run.setup.preset)), "preset.toml")
    resumed_preset = setup_for(recorded, from_checkpoint=True).preset
    assert differences(recorded, resumed_preset) == {}
    assert dump_preset(resumed_preset) == dump_preset(run.setup.preset)

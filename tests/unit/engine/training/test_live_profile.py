"""Steps of a live training are profiled on command: a trace in the run's folder, and the same training."""

from __future__ import annotations

import json

import pytest
import torch

from tests.support.sessions import MakeSession, Session, flat, weights
from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.run.names import PROFILE_FILE

SETTINGS = ("training.epochs=1", "training.eval_every=1000", "training.eval_interval=step")


def at_step(session: Session, step: int, *commands: cmd.Command) -> None:
    """Send commands during a step, as the server's thread does."""

    def hand_in(point: MetricsPoint) -> None:
        if point.step == step:
            for number, command in enumerate(commands):
                session.commands.put(f"{step}-{number}", command, "tester@tty")

    session.event_queue.on_log = hand_in


def rejections(run: Session) -> list[str]:
    return [event.reason for event in run.event_queue.of(ev.CommandRejected)]


def test_ten_steps_are_profiled_and_the_training_is_the_same(session: MakeSession) -> None:
    run = session(*SETTINGS)
    at_step(run, 5, cmd.ProfileSteps())
    run.trainer.run()
    [applied] = run.event_queue.of(ev.CommandApplied)
    assert (applied.id, applied.by, applied.step, applied.result["steps"]) == ("5-0", "tester@tty", 15, 10)
    assert applied.detail.startswith("profiled 10 steps, ")
    assert applied.detail.endswith("%; profile.json")
    trace = run.checkpoints.parent / PROFILE_FILE
    assert applied.result["trace"] == str(trace)
    names = [event.get("name") for event in json.loads(trace.read_text())["traceEvents"]]
    assert names.count("aten::cross_entropy_loss") == 10
    plain = session(*SETTINGS)
    plain.trainer.run()
    assert run.event_queue.losses == plain.event_queue.losses
    assert torch.equal(flat(weights(run)), flat(weights(plain)))


@pytest.mark.parametrize("then", [cmd.RunEvaluation(), cmd.PauseRun()])
def test_an_evaluation_or_a_pause_ends_the_profile(session: MakeSession, then: cmd.Command) -> None:
    run = session(*SETTINGS)

    def hand_in(point: MetricsPoint) -> None:
        if point.step == 5:
            run.commands.put("profile", cmd.ProfileSteps(), "me")
        if point.step == 8:
            run.commands.put("then", then, "me")
            run.commands.put("go on", cmd.UnpauseRun(), "me")

    run.event_queue.on_log = hand_in
    run.trainer.run()
    applied = {event.id: event for event in run.event_queue.of(ev.CommandApplied)}
    assert (applied["profile"].step, applied["profile"].result["steps"]) == (8, 3)


def test_what_cannot_be_profiled_is_rejected(session: MakeSession) -> None:
    run = session(*SETTINGS, "training.max_steps=8")
    at_step(
        run, 5, cmd.PauseRun(), cmd.ProfileSteps(), cmd.UnpauseRun(), cmd.ProfileSteps(), cmd.ProfileSteps(),
        cmd.PauseRun(), cmd.UnpauseRun(),
    )  # fmt: skip
    run.trainer.run()
    assert rejections(run) == [
        "the run is paused; unpause it first",
        "steps are being profiled already",
        "no step was made after it",
    ]


def test_the_end_of_the_run_ends_the_profile(session: MakeSession) -> None:
    run = session(*SETTINGS, "training.max_steps=8")
    at_step(run, 5, cmd.ProfileSteps())
    run.trainer.run()
    [applied] = run.event_queue.of(ev.CommandApplied)
    assert (applied.step, applied.result["steps"]) == (8, 3)


def test_a_trace_that_cannot_be_written_is_rejected(session: MakeSession) -> None:
    run = session(*SETTINGS)
    (run.checkpoints.parent / PROFILE_FILE).mkdir(parents=True)
    at_step(run, 5, cmd.ProfileSteps())
    assert run.trainer.run().status == "finished"
    [reason] = rejections(run)
    assert reason.startswith("the trace cannot be written: ")

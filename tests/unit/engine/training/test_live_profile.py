"""Steps of a live training are profiled on command: a trace in the run's folder, and the same training."""

from __future__ import annotations

import json

import pytest
import torch
from torch.nn.modules import module as torch_module

from tests.support.sessions import MakeSession, Session, flat, weights
from torchconsole.engine.errors import CommandRejectedError
from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.protocol.profile_report import OperationTime, ProfileReport
from torchconsole.engine.run.names import PROFILE_FILE
from torchconsole.engine.training.command_queue import Request
from torchconsole.engine.training.live_profile import LiveProfile, describe

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


def profiled(run: Session) -> tuple[LiveProfile, list[ev.Event]]:
    """A profile that is not part of a training, and what it answers."""
    answers: list[ev.Event] = []
    return LiveProfile(run.setup, answers.append, lambda: run.checkpoints.parent / PROFILE_FILE), answers


REQUEST = Request("1", cmd.ProfileSteps(), "me")


def compute() -> None:
    torch.ones(2, 2, requires_grad=True).sum().backward()


def test_a_profiler_of_the_program_is_not_disturbed(session: MakeSession) -> None:
    profile, _ = profiled(session(*SETTINGS))
    with (
        torch.profiler.profile(),
        pytest.raises(CommandRejectedError, match="runs a profiler of its own"),
    ):
        profile.begin(REQUEST, 5)
    assert profile.steps_left == 0
    profile.begin(REQUEST, 5)
    compute()
    profile.end_step()
    profile.end(6)


def test_a_profile_that_the_program_has_ended_is_rejected(session: MakeSession) -> None:
    """To stop it once more crashes the process."""
    profile, answers = profiled(session(*SETTINGS))
    profile.begin(REQUEST, 5)
    torch.autograd._disable_profiler()
    compute()
    profile.end_step()
    profile.end(6)
    [answer] = answers
    assert isinstance(answer, ev.CommandRejected)
    assert answer.reason.startswith("a profiler of the program has ended the profile")
    assert not torch_module._global_forward_hooks


@pytest.mark.parametrize("part", ["start", "export_chrome_trace"])
def test_a_profiler_that_fails_ends_no_run(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("no profile today")

    monkeypatch.setattr(torch.profiler.profile, part, fail)
    run = session(*SETTINGS, "training.max_steps=8")
    at_step(run, 5, cmd.ProfileSteps())
    assert run.trainer.run().status == "finished"
    assert rejections(run) == ["the steps cannot be profiled: RuntimeError: no profile today"]
    assert not torch_module._global_forward_hooks


def test_steps_of_many_batches_are_fewer(session: MakeSession) -> None:
    for accumulated, steps in ((1, 10), (4, 2), (32, 1)):
        profile, _ = profiled(session(*SETTINGS, f"training.grad_accum_steps={accumulated}"))
        profile.begin(REQUEST, 5)
        assert profile.steps_left == steps
        profile.steps_left = steps
        profile.end(5)


def test_steps_that_the_scaler_left_out_have_no_number(session: MakeSession) -> None:
    profile, answers = profiled(session(*SETTINGS))
    profile.begin(REQUEST, 5)
    for _ in range(3):
        compute()
        profile.end_step()
    profile.end(6)
    [answer] = answers
    assert isinstance(answer, ev.CommandApplied)
    assert (answer.step, answer.result["steps"]) == (6, 3)


@pytest.mark.parametrize(
    ("left_out", "words"),
    [(0, ""), (1, " (1 slower step left out)"), (2, " (2 slower steps left out)")],
)
def test_slower_steps_that_are_left_out_are_counted_in_words(left_out: int, words: str) -> None:
    report = ProfileReport(
        device="cpu",
        precision="fp32",
        first_step=1,
        steps=10,
        left_out=left_out,
        batch_size=8,
        step_seconds=0.0015,
        on_gpu=False,
        operations=[OperationTime(name="aten::mm", calls=1, seconds=0.001, share=0.5)],
        layers=[],
    )
    assert describe(report, "a.json") == f"profiled 10 steps, 1.5 ms each{words}: aten::mm 50 %; a.json"


def test_of_several_processes_the_first_is_profiled_with_its_communication() -> None:
    shares = {"aten::mm": 0.5, "gloo:all_reduce": 0.2, "gloo:broadcast": 0.1}
    report = ProfileReport(
        device="cpu",
        precision="fp32",
        first_step=1,
        steps=10,
        batch_size=8,
        processes=2,
        step_seconds=0.0015,
        on_gpu=False,
        operations=[
            OperationTime(name=name, calls=1, seconds=0.001, share=share) for name, share in shares.items()
        ],
        layers=[],
    )
    expected = "profiled 10 steps of process 0 (of 2), 1.5 ms each: aten::mm 50 %, communication 30 %; a.json"
    assert describe(report, "a.json") == expected

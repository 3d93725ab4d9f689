"""A worker that receives a signal saves within the grace period, or ends cleanly, whatever it is doing."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from tests.faults.life.conftest import Start
from tests.support.faulty_task import FAULT
from tests.support.runs import wait_until
from tests.support.worker_runs import WorkerRun, losses, state_of
from torchconsole.engine.config.user_code import trust
from torchconsole.engine.protocol.commands import PauseRun, StopRun
from torchconsole.engine.run.checkpoints import read_manifest
from torchconsole.engine.training.command_queue import INSIST_SECONDS

GRACE_SECONDS = 10.0
"""Docker's grace period is 10 s; Slurm's KillWait is 30 s."""

ENDLESS = ("training.epochs=100000",)


def stop(run: WorkerRun, number: signal.Signals = signal.SIGTERM) -> int:
    """Signal the worker, which must end within the grace period; returns its exit status."""
    begin = time.monotonic()
    run.signal(number)
    status = run.wait()
    assert time.monotonic() - begin < GRACE_SECONDS
    return status


def saved_step(run: WorkerRun) -> int:
    """Return the step of the newest checkpoint."""
    return read_manifest(run.folder.checkpoints / "last").step


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_in_training_saves_and_stops(start: Start, number: signal.Signals, status: int) -> None:
    run = start("", *ENDLESS)
    run.wait_for_line()
    assert stop(run, number) == status
    assert (run.record.status, run.record.reason) == ("stopped", number.name)
    assert saved_step(run) == run.record.step


def test_a_signal_in_an_evaluation_cuts_it_short_and_resume_repeats_it(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The evaluation takes seven seconds. Its partial result counts for nothing."""
    undisturbed = start("")
    run = start("slow")
    run.wait_for_output("evaluating")
    assert stop(run) == 143
    assert saved_step(run) == 6
    assert "evaluation" not in {line["kind"] for line in run.lines}
    monkeypatch.delenv(FAULT)
    resumed = run.resume()
    assert (resumed.wait(), undisturbed.wait()) == (0, 0), resumed.log
    assert losses(resumed.folder) == losses(undisturbed.folder)
    evaluated = [
        [line["step"] for line in run.lines if line["kind"] == "evaluation"] for run in (resumed, undisturbed)
    ]
    assert evaluated == [[6, 12, 18, 24, 30, 36]] * 2


async def test_a_signal_while_paused_saves_and_stops(start: Start) -> None:
    run = start("", *ENDLESS)
    run.wait_for_line()
    await run.send(PauseRun())
    assert stop(run) == 143
    assert saved_step(run) == run.record.step


@pytest.mark.parametrize("workers", [0, 1])
def test_a_signal_while_waiting_for_data_saves_and_stops(start: Start, workers: int) -> None:
    run = start("hang", f"data.num_workers={workers}")
    run.wait_for_output("hanging")
    wait_until(lambda: run.lines, "a step")
    assert stop(run) == 143
    assert run.record.status == "stopped"
    assert saved_step(run) == run.record.step > 0


def test_a_signal_between_the_batches_of_a_step_stops_without_saving(start: Start) -> None:
    """Accumulated gradients are not part of a checkpoint, so the state cannot be saved there."""
    run = start("hang", "training.grad_accum_steps=6")
    run.wait_for_output("hanging")
    assert stop(run) == 143
    assert run.record.status == "stopped"
    assert "between the batches of one step" in run.record.reason
    assert not [*run.folder.checkpoints.glob("step-*")]
    assert "Traceback" not in run.log


def test_a_signal_before_the_training_stops(start: Start) -> None:
    run = start("hang", "data.normalize=auto")
    run.wait_for_output("hanging")
    assert stop(run) == 143
    assert (run.record.status, run.record.step) == ("stopped", 0)
    assert "before the training began" in run.record.reason
    assert "Traceback" not in run.log


def test_more_signals_do_not_interrupt_the_save(start: Start) -> None:
    run = start("", *ENDLESS)
    run.wait_for_line()
    run.signal(signal.SIGTERM)
    while run.started.process.poll() is None:
        run.signal(signal.SIGTERM)
    assert run.wait() == 143, run.log
    assert saved_step(run) == run.record.step
    assert stop(run.resume()) == 143


def test_sigusr1_saves_and_training_continues(start: Start) -> None:
    run = start("", *ENDLESS)
    run.wait_for_line()
    run.signal(signal.SIGUSR1)
    wait_until(lambda: [*run.folder.checkpoints.glob("step-*/manifest.json")], "the checkpoint")
    step = run.lines[-1]["step"]
    wait_until(lambda: run.lines[-1]["step"] > step, "more steps")
    assert stop(run) == 143


def test_data_loader_workers_ignore_the_signals_that_slurm_sends_to_all_processes(start: Start) -> None:
    """Only the training process reacts to them."""
    run = start("", *ENDLESS, "data.num_workers=2")
    run.wait_for_line()
    for child in run.children():
        os.kill(child, signal.SIGUSR1)
        os.kill(child, signal.SIGTERM)
    assert stop(run) == 143
    assert saved_step(run) == run.record.step


def test_time_in_sigstop_does_not_count_as_training_time(start: Start) -> None:
    run = start("", *ENDLESS)
    run.wait_for_line()
    run.signal(signal.SIGSTOP)
    wait_until(lambda: state_of(run.pid) == "T", "the worker to stop")
    frozen = time.monotonic()
    before = run.lines[-1]
    wait_until(lambda: time.monotonic() - frozen > 2, "two seconds")
    run.signal(signal.SIGCONT)
    wait_until(lambda: run.lines[-1]["step"] > before["step"] + 20, "more steps")
    assert stop(run) == 143
    details = run.folder.load_record().details
    assert details["active_seconds"] < time.time() - run.record.created - 2


POOL = Path(__file__).parents[2] / "support" / "pool_metric.py"
POOLED = (f'metrics=[{{name="{POOL}:PoolMetric"}}]', "data.eval_batch_size=24")


def test_processes_that_a_metric_starts_end_with_it(start: Start) -> None:
    """A pool sends its processes SIGTERM, and waits until they have ended."""
    trust(POOL)
    run = start("", *POOLED, *ENDLESS)
    run.wait_for_line("evaluation")
    assert stop(run) == 143
    finished = start("", *POOLED)
    assert finished.wait() == 0, finished.log


async def test_a_second_stop_ends_an_evaluation_that_hangs_and_saves(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(POOL)
    monkeypatch.setenv("FAULTS_POOL", "die")
    by_signal, by_command = start("", *POOLED), start("", *POOLED)
    for run in (by_signal, by_command):
        run.wait_for_output("hanging")
    first = asyncio.create_task(by_command.send(StopRun()))
    by_signal.signal(signal.SIGTERM)
    await asyncio.sleep(INSIST_SECONDS + 1.5)
    second = asyncio.create_task(by_command.send(StopRun()))
    by_signal.signal(signal.SIGTERM)
    await asyncio.gather(first, second, return_exceptions=True)
    assert (by_signal.wait(), by_command.wait()) == (143, 0)
    for run in (by_signal, by_command):
        assert run.record.status == "stopped"
        assert saved_step(run) == run.record.step == 6
    monkeypatch.delenv("FAULTS_POOL")
    resumed = by_signal.resume()
    assert resumed.wait() == 0, resumed.log
    assert [step for step, _ in losses(resumed.folder)] == [*range(1, 37)]

"""Signals to the worker: whatever it is at, it saves within the grace, or ends cleanly."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.faults.life.conftest import Begin
from tests.support.faulty_task import FAULT
from tests.support.runs import wait_until
from tests.support.worker_runs import Life, losses, state_of
from torchconsole.engine.protocol.commands import PauseRun
from torchconsole.engine.run.manifest import read_manifest

GRACE = 10.0
"""Seconds; Slurm's KillWait is 30, Docker's grace 10."""

ENDLESS = ("training.epochs=100000",)


def stop(life: Life, number: signal.Signals = signal.SIGTERM) -> int:
    """Signal the worker; returns its exit status, which must come within the grace."""
    begin = time.monotonic()
    life.signal(number)
    status = life.end()
    assert time.monotonic() - begin < GRACE
    return status


def saved_step(life: Life) -> int:
    """The step of the newest checkpoint."""
    return read_manifest(life.folder.checkpoints / "last").step


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_while_it_trains(begin: Begin, number: signal.Signals, status: int) -> None:
    life = begin("", *ENDLESS)
    life.await_line()
    assert stop(life, number) == status
    assert (life.record.status, life.record.reason) == ("stopped", number.name)
    assert saved_step(life) == life.record.step


def test_while_it_evaluates(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven seconds of evaluation are cut short, judged by nobody, and made up for after the resume."""
    whole = begin("")
    life = begin("slow")
    life.await_printed("evaluates")
    assert stop(life) == 143
    assert saved_step(life) == 6
    assert "evaluation" not in {line["kind"] for line in life.lines}
    monkeypatch.delenv(FAULT)
    resumed = life.resume()
    assert (resumed.end(), whole.end()) == (0, 0), resumed.log
    assert losses(resumed.folder) == losses(whole.folder)
    evaluated = [
        [line["step"] for line in run.lines if line["kind"] == "evaluation"] for run in (resumed, whole)
    ]
    assert evaluated == [[6, 12, 18, 24, 30, 36]] * 2


async def test_while_it_is_paused(begin: Begin) -> None:
    life = begin("", *ENDLESS)
    life.await_line()
    await life.ask(PauseRun())
    assert stop(life) == 143
    assert saved_step(life) == life.record.step


@pytest.mark.parametrize("workers", [0, 1])
def test_while_it_waits_for_data_that_never_comes(begin: Begin, workers: int) -> None:
    life = begin("hang", f"data.num_workers={workers}")
    life.await_printed("hangs")
    wait_until(lambda: life.lines, "a step")
    assert stop(life) == 143
    assert life.record.status == "stopped"
    assert saved_step(life) == life.record.step > 0


def test_while_it_waits_for_data_amid_a_step(begin: Begin) -> None:
    """Gradients are in no checkpoint: nothing is saved, and nothing pretends to be."""
    life = begin("hang", "training.grad_accum_steps=6")
    life.await_printed("hangs")
    assert stop(life) == 143
    assert life.record.status == "stopped"
    assert "amid the batches of one step" in life.record.reason
    assert not [*life.folder.checkpoints.glob("step-*")]
    assert "Traceback" not in life.log


def test_while_it_prepares(begin: Begin) -> None:
    life = begin("hang", "data.normalize=auto")
    life.await_printed("hangs")
    assert stop(life) == 143
    assert (life.record.status, life.record.step) == ("stopped", 0)
    assert "before the training began" in life.record.reason
    assert "Traceback" not in life.log


def test_a_second_one_during_the_save(begin: Begin) -> None:
    life = begin("", *ENDLESS)
    life.await_line()
    life.signal(signal.SIGTERM)
    while life.started.process.poll() is None:
        life.signal(signal.SIGTERM)
    assert life.end() == 143, life.log
    assert saved_step(life) == life.record.step
    assert stop(life.resume()) == 143


def test_sigusr1_saves_and_goes_on(begin: Begin) -> None:
    life = begin("", *ENDLESS)
    life.await_line()
    life.signal(signal.SIGUSR1)
    wait_until(lambda: [*life.folder.checkpoints.glob("step-*/manifest.json")], "the checkpoint")
    step = life.lines[-1]["step"]
    wait_until(lambda: life.lines[-1]["step"] > step, "more steps")
    assert stop(life) == 143


def test_all_processes_of_the_step_are_signalled_as_slurm_does(begin: Begin) -> None:
    """The loader's processes leave the end to the worker."""
    life = begin("", *ENDLESS, "data.num_workers=2")
    life.await_line()
    for child in life.children():
        os.kill(child, signal.SIGUSR1)
        os.kill(child, signal.SIGTERM)
    assert stop(life) == 143
    assert saved_step(life) == life.record.step


def test_a_stopped_process_trains_no_longer_than_it_trains(begin: Begin) -> None:
    life = begin("", *ENDLESS)
    life.await_line()
    life.signal(signal.SIGSTOP)
    wait_until(lambda: state_of(life.pid) == "T", "it to stand still")
    frozen = time.monotonic()
    before = life.lines[-1]
    wait_until(lambda: time.monotonic() - frozen > 2, "two seconds")
    life.signal(signal.SIGCONT)
    wait_until(lambda: life.lines[-1]["step"] > before["step"] + 20, "more steps")
    assert stop(life) == 143
    details = life.folder.load_record().details
    assert details["active_seconds"] < time.time() - life.record.created - 2

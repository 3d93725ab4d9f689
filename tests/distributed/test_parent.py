"""`train --nproc N`: several processes that are started, steered and ended like one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.program_user import User, wait_until
from tests.support.ranks import METRICS, SECONDS, STEPS, Logged, Torchrun, by_step


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.quick
def test_processes_are_steered_and_ended_like_one(user: User) -> None:
    run = user.start("--nproc", "2")
    assert user.record(run)["pid"] == user.worker(run)
    assert "paused" in user.send(run, "pause")
    user.send(run, "lr", "x0.5")
    user.send(run, "unpause")
    user.send(run, "stop")
    wait_until(lambda: not is_running(user.worker(run)), "the end of the worker", SECONDS)
    assert user.record(run)["status"] == "stopped"
    assert "2 processes train together" in (user.runs_dir / run / "worker.log").read_text()


@pytest.mark.quick
def test_a_dead_process_is_named_and_ends_the_run(user: User, torchrun: Torchrun) -> None:
    run = user.start("--nproc", "2")
    follower = torchrun.follower(1)
    os.kill(follower, signal.SIGKILL)
    wait_until(lambda: "SIGKILL" in user.record(run)["reason"], "the reason", SECONDS)
    record = user.record(run)
    assert record["status"] == "failed"
    assert record["reason"].startswith(f"process 1 (pid {follower} on ")
    assert not is_running(record["pid"])


def test_a_run_goes_on_by_itself_exactly_after_a_process_has_died(
    user: User, torchrun: Torchrun, undisturbed_digits: Logged
) -> None:
    words = ("train", "digits-mlp", "--detach", "--nproc", "2", *STEPS, "--set=distributed.max_restarts=1")
    run = user.run(*words, timeout=SECONDS).stdout.strip()
    user.send(run, "pause")
    user.send(run, "save")
    os.kill(torchrun.follower(1), signal.SIGKILL)
    wait_until(lambda: user.record(run)["status"] == "finished", "the end of the run", SECONDS)
    assert by_step(user, run, *METRICS) == undisturbed_digits


def test_a_signal_stops_all_and_starts_nothing_again(user: User, torchrun: Torchrun) -> None:
    run = user.start("--nproc", "2", "--set", "distributed.max_restarts=1")
    follower, worker = torchrun.follower(1), user.worker(run)
    os.kill(parent_of(worker), signal.SIGTERM)
    wait_until(lambda: not is_running(follower) and not is_running(worker), "the end", SECONDS)
    assert user.record(run)["status"] == "stopped"
    assert user.record(run)["reason"] == "SIGTERM"


def test_a_mistake_is_told_once_and_leaves_no_run(user: User) -> None:
    done = user.run(
        "train", "digits-mlp", "--nproc", "2", "--headless", "--device", "cuda:99", timeout=SECONDS
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "cuda:99" in line
    assert user.runs() == []


def parent_of(pid: int) -> int:
    """Return the pid of a process's parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

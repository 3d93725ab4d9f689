"""A process of several fails: the run says which one and why, its checkpoint stays, and it may restart."""

from __future__ import annotations

import random
import shutil
import socket
import time

import pytest

from tests.support import faulty_rows
from tests.support.program_user import User, wait_until
from tests.support.ranks import METRICS, OWN, SECONDS, Logged, Torchrun, by_step
from torchconsole.engine.protocol.status import LIVE_STATUSES

pytestmark = pytest.mark.timeout(900)

DRIFTING = """
import os
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)
        self.batches = 0

    def forward(self, x):
        if self.training and torch.is_grad_enabled():
            self.batches += 1
            if self.batches == 10 and os.environ.get("RANK") == "2":
                with torch.no_grad():
                    self.layer.weight[0, 0] += 1e-6
        return self.layer(x)
"""
"""A model whose parameters change in one of three processes."""

KILLED = """
import os
import signal
import time
from pathlib import Path

import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 2))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        scores = self.layers(x)
        if self.training and torch.is_grad_enabled():
            self.step += 1
            rank, step, moment = os.environ.get("KILL", "none 0 forward").split()
            if os.environ.get("RANK") == rank and int(self.step) == int(step):
                if moment == "forward":
                    kill()
                scores.register_hook(kill)
        return scores

def kill(*_):
    while not Path("runs/disturbed/checkpoints/last/state.pt").exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
"""
"""A model whose process is killed in a pass of a step, as the variable KILL says: `RANK STEP MOMENT`.

Checkpoints have the number of the step, and by the dropout the losses depend on the random state.
"""

UNCHANGED = ("optimizer.lr=1e-12", "early_stopping={patience=50, restore_best=true}")
"""Weights that do not change: the first evaluation has the best ones."""


def let_fail(user: User, kind: str, rank: int) -> None:
    user.env["FAULT"] = f"{kind} {rank}"


def train(user: User, *options: str) -> None:
    """Train with two processes to the end, whatever it is."""
    user.run("train", "own", "--trust", "--quiet", "--nproc", "2", *options, timeout=SECONDS)


EXPECTED = {
    "hangs": ["has not gone on for", "in faulty_rows.py, line ", "and the others wait for it"],
    "memory": [f"on {socket.gethostname()}: out of memory: CUDA out of memory. Tried to allocate 2.00 GiB"],
    "error": ["ValueError: row 17 is not a number"],
    "SIGKILL": ["was killed by SIGKILL"],
    "SIGSEGV": ["was killed by SIGSEGV", "Fatal Python error: Segmentation fault"],
    "SIGSTOP": ["has not been heard of for", "it is suspended or hangs"],
}


@pytest.mark.parametrize(
    ("kind", "rank"),
    [
        ("hangs", 0),
        pytest.param("hangs", 1, marks=pytest.mark.quick),
        *(("memory", 0), ("memory", 1), ("error", 0), ("error", 1)),
        *(("SIGKILL", 0), ("SIGSEGV", 1), ("SIGSTOP", 1)),
    ],
)
def test_the_process_that_fails_is_named_and_the_checkpoint_stands(own: User, kind: str, rank: int) -> None:
    let_fail(own, kind, rank)
    train(own, "--name", "disturbed")
    record = own.record("disturbed")
    assert record["status"] == "failed"
    assert record["reason"].startswith(f"process {rank} "), record["reason"]
    assert all(part in record["reason"] for part in EXPECTED[kind]), record["reason"]
    assert (own.runs_dir / "disturbed/checkpoints/last/state.pt").exists()


@pytest.mark.quick
def test_a_process_that_is_killed_before_the_training_begins_is_named(own: User) -> None:
    """torchrun's agent ends the first process by SIGTERM then, as somebody might who stops the run."""
    let_fail(own, "start", 1)
    done = own.run(
        "train", "own", "--trust", "--headless", "--nproc", "2", "--name", "disturbed", timeout=SECONDS
    )
    record = own.record("disturbed")
    assert record["status"] == "failed"
    assert record["reason"].startswith("process 1 "), record["reason"]
    assert "was killed by SIGKILL" in record["reason"]
    assert done.returncode == 1, done.stdout + done.stderr


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_hangs_before_the_training_begins_is_named(own: User, rank: int) -> None:
    let_fail(own, "prepares", rank)
    done = own.run("train", "own", "--trust", "--headless", "--nproc", "2", timeout=SECONDS)
    (run,) = own.runs()
    record = own.record(run)
    assert record["status"] == "failed"
    assert record["reason"].startswith(f"process {rank} (pid "), record["reason"]
    assert " before the training began, in faulty_rows.py, line " in record["reason"]
    assert record["reason"] in done.stdout + done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_slow_disk_is_no_hang(own: User, strategy: str) -> None:
    """With fsdp, the next save waits for the one before; with ddp, the end waits for the best weights."""
    minutes = 0.1
    slow = own.folder / "slow"
    slow.touch()
    settings = "training.max_steps=40", f"distributed.timeout={minutes}", f"distributed.strategy={strategy}"
    words = [word for setting in (*settings, *UNCHANGED) for word in ("--set", setting)]
    done = own.run("train", "own", "--trust", "--nproc", "2", "--detach", *words, timeout=SECONDS)
    run = done.stdout.strip()
    wait_until(lambda: own.last_step(run) >= 10, "the last step", SECONDS)
    over = time.monotonic() + 3 * 60 * minutes
    wait_until(lambda: time.monotonic() > over, "three times the timeout")
    record = own.record(run)
    assert record["status"] in LIVE_STATUSES, record["reason"]
    slow.unlink()
    wait_until(lambda: own.record(run)["status"] not in LIVE_STATUSES, "the end", SECONDS)
    record = own.record(run)
    assert record["status"] == "finished", record["reason"]
    assert "the weights are those of step 13," in record["reason"], record["reason"]


def test_a_process_whose_parameters_differ_is_named(user: User, torchrun: Torchrun) -> None:
    model = '[model]\nname = "drifting.py:Net"\n'
    user.write_preset("own", OWN.replace('[model]\nname = "MLP"\nhidden = [4]\n', model))
    shutil.copy(faulty_rows.__file__, user.folder)
    (user.folder / "drifting.py").write_text(DRIFTING)
    status, output = torchrun.run(3, "train", "own", "--trust", "--set", "distributed.checksum_every=4")
    assert status != 0
    (run,) = user.runs()
    reason = user.record(run)["reason"]
    assert reason.startswith(f"process 2 on {socket.gethostname()} has other parameters than the other"), (
        output
    )
    assert "after step 12, such as layer.weight; they were equal after step 8" in reason


@pytest.mark.parametrize(("kind", "rank"), [("hangs", 1), ("SIGKILL", 0), ("memory", 1)])
def test_the_run_goes_on_by_itself_exactly(own: User, undisturbed: Logged, kind: str, rank: int) -> None:
    let_fail(own, kind, rank)
    train(own, "--name", "disturbed", "--set", "distributed.max_restarts=1")
    assert (own.folder / "failed").exists()
    assert own.record("disturbed")["status"] == "finished"
    assert by_step(own, "disturbed", *METRICS) == undisturbed


def test_a_run_whose_processes_are_killed_at_random_steps_is_resumed_exactly(user: User) -> None:
    preset = OWN.replace('name = "MLP"\nhidden = [4]\n', 'name = "killed.py:Net"\n')
    preset = preset.replace("[distributed]\ntimeout = 0.1\n", "")
    user.write_preset("own", preset.replace("epochs = 10\n", "epochs = 10\nmax_steps = 40\n"))
    shutil.copy(faulty_rows.__file__, user.folder)
    (user.folder / "killed.py").write_text(KILLED)
    train(user, "--name", "undisturbed")
    drawn = random.Random(4)
    begin = ["train", "own", "--trust", "--nproc", "2", "--name", "disturbed"]
    for number, step in enumerate(sorted(drawn.sample(range(11, 41), 4))):
        rank, moment = number % 2, drawn.choice(["forward", "backward"])
        user.env["KILL"] = f"{rank} {step} {moment}"
        user.run(*begin, "--quiet", timeout=SECONDS)
        record = user.record("disturbed")
        assert record["status"] == "failed"
        assert record["reason"].startswith(f"process {rank} "), record["reason"]
        assert "was killed by SIGKILL" in record["reason"]
        assert user.last_step("disturbed") < step
        begin = ["resume", "disturbed"]
    del user.env["KILL"]
    user.run(*begin, "--quiet", timeout=SECONDS)
    assert user.record("disturbed")["status"] == "finished"
    assert sum(line["kind"] == "resumed" for line in user.lines("disturbed", "metrics.jsonl")) == 4
    values = by_step(user, "disturbed", *METRICS)
    assert values == by_step(user, "undisturbed", *METRICS)
    assert {step for step, name in values if name == "train/loss"} == set(range(1, 41))


def test_a_pause_may_last_longer_than_the_timeout(user: User) -> None:
    minutes = 0.1
    run = user.start("--nproc", "2", "--set", f"distributed.timeout={minutes}")
    assert "paused" in user.send(run, "pause")
    over = time.monotonic() + 2 * 60 * minutes
    wait_until(lambda: time.monotonic() > over, "a pause of twice the timeout")
    record = user.record(run)
    assert record["status"] == "paused", record["reason"]
    user.send(run, "unpause")
    wait_until(lambda: user.last_step(run) > record["step"], "a step after the pause", SECONDS)
    user.send(run, "stop")
    wait_until(lambda: user.record(run)["status"] not in LIVE_STATUSES, "the end", SECONDS)
    assert user.record(run)["status"] == "stopped", user.record(run)["reason"]

"""A process of several fails: the run says which one and why, its checkpoint stays, and it may restart."""

from __future__ import annotations

import shutil
import socket

import pytest

from tests.support import faulty_rows
from tests.support.program_user import User
from tests.support.ranks import SECONDS, Torchrun, by_step

pytestmark = pytest.mark.timeout(900)

OWN = """
title = "Own"
[data]
name = "faulty_rows.py:Rows"
in_memory = false
num_workers = 0
batch_size = 8
[model]
name = "MLP"
hidden = [4]
[training]
epochs = 10
log_every = 1
[checkpoint]
save_every_steps = 5
[distributed]
timeout = 0.1
"""

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

METRICS = ("train/loss", "lr", "val/loss")


@pytest.fixture
def own(user: User) -> User:
    """A user with data of their own, which fails as FAULT says."""
    user.write_preset("own", OWN)
    shutil.copy(faulty_rows.__file__, user.folder)
    return user


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
        *(("hangs", 0), ("hangs", 1), ("memory", 0), ("memory", 1), ("error", 0), ("error", 1)),
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
def test_the_run_goes_on_by_itself_exactly(own: User, kind: str, rank: int) -> None:
    train(own, "--name", "undisturbed")
    let_fail(own, kind, rank)
    train(own, "--name", "disturbed", "--set", "distributed.max_restarts=1")
    assert (own.folder / "failed").exists()
    assert own.record("disturbed")["status"] == "finished"
    assert by_step(own, "disturbed", *METRICS) == by_step(own, "undisturbed", *METRICS)

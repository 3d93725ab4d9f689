"""What each process does, as the run's record has it: the straggler among them, and why it is one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import Any

import pytest

from tests.support.program_user import PROGRAM, User, wait_until
from tests.support.ranks import SECONDS, Torchrun
from torchconsole.engine.protocol.events import RanksMeasured
from torchconsole.engine.protocol.rank_loads import find_straggler

SLOW_DATA = """
import os, time, torch

class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 640

    def __getitem__(self, index):
        if os.environ.get("RANK") == "1":
            time.sleep(0.005)
        return torch.full((4,), float(index % 7)), index % 2
"""

SLOW_MODEL = """
import os, time, torch

class Net(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Linear(64, 16), torch.nn.BatchNorm1d(16), torch.nn.Linear(16, 10))

    def forward(self, inputs):
        if os.environ.get("RANK") == "1":
            time.sleep(0.05)
        return super().forward(inputs.flatten(1))
"""
"""Its buffers make the forward pass of every process wait for the first one."""

ENDLESS = "[training]\nepochs = 100000\nlog_every = 2\neval_every = 100000\nthreads = 1\n"


pytestmark = pytest.mark.timeout(1500)


def start(user: User, processes: int) -> str:
    words = ("train", "own", "--detach", "--nproc", str(processes), "--trust")
    done = user.run(*words, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def loads_of(user: User, run: str) -> RanksMeasured | None:
    record = json.loads((user.runs_dir / run / "run.json").read_text())
    found: dict[str, Any] | None = record.get("details", {}).get("ranks")
    return RanksMeasured.model_validate(found) if found else None


def with_straggler(user: User, run: str, processes: int, cause: str) -> RanksMeasured | None:
    """Return what the run's record has of all processes, if they wait for process 1 because of `cause`."""
    found = loads_of(user, run)
    straggler = find_straggler(found.ranks) if found and len(found.ranks) == processes else None
    if found is None or straggler is None or (straggler.load.rank, straggler.cause) != (1, cause):
        return None
    waits = [load.share(load.communication_seconds) for load in found.ranks]
    return (
        found if all(wait is not None and wait > (waits[1] or 0) for wait in waits[:1] + waits[2:]) else None
    )


@pytest.mark.parametrize("processes", [2, 3])
def test_a_process_that_waits_for_data_is_the_straggler(user: User, processes: int) -> None:
    user.write_preset(
        "own",
        'title = "Own"\n[data]\nname = "data.py:Rows"\nnum_workers = 0\nin_memory = false\n'
        f'[model]\nname = "MLP"\n{ENDLESS}',
    )
    (user.folder / "data.py").write_text(SLOW_DATA)
    run = start(user, processes)
    loads = wait_until(lambda: with_straggler(user, run, processes, "data"), "a straggler", SECONDS).ranks
    assert [load.rank for load in loads] == list(range(processes))
    assert all(load.memory_used for load in loads)
    user.send(run, "stop")
    wait_until(lambda: user.record(run)["status"] == "stopped", "the end", SECONDS)
    assert loads_of(user, run) is not None, "the record keeps the last loads"


def test_a_process_that_computes_slowly_is_the_straggler_and_a_silent_one_ages(
    user: User, torchrun: Torchrun
) -> None:
    user.write_preset(
        "own", f'title = "Own"\n[data]\nname = "digits"\n[model]\nname = "net.py:Net"\n{ENDLESS}'
    )
    (user.folder / "net.py").write_text(SLOW_MODEL)
    run = start(user, 2)
    wait_until(lambda: with_straggler(user, run, 2, "compute"), "a straggler", SECONDS)
    follower = torchrun.follower(1)
    os.kill(follower, signal.SIGSTOP)
    command = [PROGRAM, "events", run, "--follow", "--json"]
    with subprocess.Popen(command, env=user.env, cwd=user.folder, stdout=subprocess.PIPE) as events:
        try:
            assert events.stdout is not None
            assert any(tells_of_silence(line) for line in events.stdout)
        finally:
            os.kill(follower, signal.SIGCONT)
            events.kill()


PROGRAM_OF_ROWS = """
import os, time, torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from data import Rows

dist.init_process_group("gloo")
net = DistributedDataParallel(torch.nn.Linear(4, 2))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
while True:
    for inputs, targets in DataLoader(Rows(), batch_size=8):
        torch.nn.functional.cross_entropy(net(inputs), targets).backward()
        optimizer.step()
        optimizer.zero_grad()
"""


def test_the_processes_of_a_program_are_measured_too(user: User) -> None:
    (user.folder / "data.py").write_text(SLOW_DATA)
    (user.folder / "train.py").write_text(PROGRAM_OF_ROWS)
    done = user.run("run", "--detach", "--nproc", "2", "train.py", timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    run = done.stdout.strip()
    loads = wait_until(lambda: with_straggler(user, run, 2, "data"), "a straggler", SECONDS).ranks
    assert [load.rank for load in loads] == [0, 1]
    assert [load.samples for load in loads] == [8.0, 8.0]
    assert all(load.memory_used for load in loads)
    user.send(run, "stop")
    wait_until(lambda: user.record(run)["status"] == "stopped", "the end", SECONDS)


def tells_of_silence(line: bytes) -> bool:
    """Whether a line of `events` says that process 1 alone has not been heard from for some seconds."""
    if b'"RanksMeasured"' not in line:
        return False
    event = RanksMeasured.model_validate_json(line)
    first, second = (event.time - load.heard for load in event.ranks)
    return first < second and second > 5

"""Programs that use torchconsole's own calls, or a callback, in several processes."""

from __future__ import annotations

import subprocess
from importlib.util import find_spec
from typing import Any

import pytest

from tests.support.framework_programs import PROGRAMS
from tests.support.program_user import User, wait_until
from tests.support.ranks import SECONDS, TORCHRUN

pytestmark = pytest.mark.timeout(900)

OWN = """
import os, time
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
import torchconsole

torch.manual_seed(0)
dist.init_process_group("gloo")
rank = dist.get_rank()
net = DistributedDataParallel(torch.nn.Linear(4, 1))
used = open(f"used-{rank}.txt", "w", buffering=1)

class Noting(torch.optim.SGD):
    def step(self, closure=None):
        used.write(f"{self.param_groups[0]['lr']:.6g}\\n")
        return super().step(closure)

optimizer = Noting(net.parameters(), lr=0.1)
loader = DataLoader(TensorDataset(torch.randn(80, 4)), batch_size=8)
with torchconsole.run("mine", patience=PATIENCE) as run:
    run.keep(model=net, optimizer=optimizer)

    @run.on_evaluate
    def evaluate():
        loss = torch.tensor(float(rank))
        dist.all_reduce(loss)
        return {"sum": loss}

    for epoch in run.epochs(EPOCHS):
        for (x,) in run.steps(loader):
            optimizer.zero_grad()
            loss = net(x).square().mean()
            loss.backward()
            optimizer.step()
            run.log(loss=loss)
            time.sleep(0.002 * (rank + 1))
        if rank == 0:
            run.evaluated({"loss": 1.0})
    run.text("note", "hello")
    if (run.folder is None) != (rank != 0):
        raise ValueError("only the first process has the run's folder")
print("rank", rank, "goes on")
dist.barrier()
dist.destroy_process_group()
"""


def write_program(user: User, *, epochs: str = "10**6", patience: str = "None") -> None:
    source = OWN.replace("EPOCHS", epochs).replace("PATIENCE", patience)
    (user.folder / "train.py").write_text(source)


def used_lrs(user: User) -> list[list[str]]:
    return [(user.folder / f"used-{rank}.txt").read_text().splitlines() for rank in range(2)]


def steer(user: User, run: str) -> None:
    wait_until(lambda: user.last_step(run) > 3, "steps", SECONDS)
    assert "paused" in user.send(run, "pause")
    assert "lr 0.1 -> 0.05" in user.send(run, "lr", "x0.5")
    assert "val/sum 1" in user.send(run, "eval")
    assert "saved step-" in user.send(run, "save")
    user.send(run, "unpause")
    user.send(run, "hold", "0.02")
    user.send(run, "stop")
    wait_until(lambda: user.record(run)["status"] == "stopped", "the stop", SECONDS)


def check_steered(user: User) -> None:
    first, second = used_lrs(user)
    assert first == second
    assert list(dict.fromkeys(first)) in (["0.1", "0.05", "0.02"], ["0.1", "0.05"])


@pytest.mark.quick
def test_a_program_with_a_run_of_its_own_is_one_run(user: User) -> None:
    write_program(user)
    done = user.run("run", "--detach", "--nproc", "2", "train.py", timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    run = done.stdout.strip()
    steer(user, run)
    check_steered(user)
    log = user.runs_dir / run / "worker.log"
    wait_until(lambda: "[process1]: rank 1 goes on" in log.read_text(), "the end of the program", SECONDS)
    assert user.runs() == [run]


def test_a_program_that_torchrun_starts_makes_one_run(user: User) -> None:
    write_program(user)
    printed = (user.home / "torchrun.log").open("wb")
    process = subprocess.Popen(
        [*TORCHRUN, "--nproc_per_node=2", "train.py"],
        cwd=user.folder,
        env=user.env,
        stdin=subprocess.DEVNULL,
        stdout=printed,
        stderr=printed,
    )
    try:
        run = wait_until(lambda: next(iter(user.runs()), None), "the run", SECONDS)
        steer(user, run)
        output = (user.home / "torchrun.log").read_text
        assert process.wait(timeout=SECONDS) == 0, output()
    finally:
        process.kill()
        process.wait()
        printed.close()
    check_steered(user)
    assert user.runs() == [run]


def test_patience_ends_all_processes_at_the_same_step(user: User) -> None:
    """Only the first process evaluates."""
    write_program(user, patience="2")
    done = user.run("run", "--headless", "--nproc", "2", "train.py", timeout=SECONDS)
    assert done.returncode == 0, done.stdout
    (run,) = user.runs()
    record = user.record(run)
    assert record["status"] == "finished"
    assert record["reason"].startswith("early stopping: val/loss has not improved for 2 evaluations")
    first, second = used_lrs(user)
    assert first == second
    assert (user.runs_dir / run / "results").is_dir()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_callback_joins_all_processes_of_the_program(user: User, name: str) -> None:
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed (make integrations)")
    user.use_other_libraries()
    devices = 'accelerator="cpu", devices=2, strategy="ddp"'
    source = PROGRAMS[name].replace('accelerator="cpu"', devices)
    (user.folder / "train.py").write_text(source)
    words = ("run", "--detach", "--nproc", "2", "train.py", "0.02", "1000")
    done = user.run(*words, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    run = done.stdout.strip()
    wait_until(lambda: user.last_step(run) > 3, "steps", SECONDS)
    assert "paused" in user.send(run, "pause")
    assert "lr 0.1 -> 0.05" in user.send(run, "lr", "x0.5")
    assert "saved" in user.send(run, "save")
    user.send(run, "unpause")
    user.send(run, "stop")
    record: dict[str, Any] = wait_until(
        lambda: (found := user.record(run))["status"] != "running" and found, "the end", SECONDS
    )
    assert record["status"] == "stopped", record
    assert user.runs() == [run]
    log = user.runs_dir / run / "worker.log"
    wait_until(lambda: log.read_text().count("after fit") == 2, "the end of both processes", SECONDS)
    ends = [
        line.partition("on_train_end")[2] for line in log.read_text().splitlines() if "on_train_end" in line
    ]
    assert len(ends) == 2
    assert ends[0] == ends[1]

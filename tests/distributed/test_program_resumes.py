"""A program of several processes that is killed and resumed trains the same losses, bit for bit."""

from __future__ import annotations

import pytest

from tests.support.program_user import User
from tests.support.ranks import SECONDS

pytestmark = pytest.mark.timeout(900)

PROGRAM = """
import glob, os, signal, time
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset
import torchconsole

dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(rank)
net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
net = DistributedDataParallel(net)
net.module[0].register_buffer("mask", torch.ones(3_000_000))  # of 12 MB
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
data = TensorDataset(torch.arange(192.0).reshape(48, 4) / 100)
sampler = DistributedSampler(data)
mixed = torch.Generator().manual_seed(rank)
loader = DataLoader(data, batch_size=4, sampler=sampler)
name = os.environ["NAME"]
losses = open(f"{name}-{rank}.txt", "a", buffering=1)

def maybe_die(step):
    time.sleep(0.05)
    if step == 10:
        os.kill(os.getpid(), signal.SIGUSR1)  # saves
    if step > 15 and glob.glob(f"runs/{name}/checkpoints/step-*/manifest.json"):
        os.kill(os.getpid(), signal.SIGKILL)

with torchconsole.run("mine") as run:
    run.keep(model=net, optimizer=optimizer, mixed=mixed)
    for epoch in run.epochs(40):
        sampler.set_epoch(epoch)
        for number, (x,) in run.steps(enumerate(loader)):
            x = x + torch.rand(4, 4, generator=mixed)
            steps = number % 4 == 3
            with torch.enable_grad() if steps else net.no_sync():
                loss = (net(x) - 1).square().mean() / 4
                loss.backward()
            if steps:
                optimizer.step()
                optimizer.zero_grad()
            losses.write(f"{run.step} {loss.item()!r}\\n")
            if rank == 0 and "DIES" in os.environ and not run.resumed:
                maybe_die(run.step)
"""
"""Gradients accumulate over the end of an epoch too, each process has noise of its own, dropout,
and more state than the store takes at once."""


def losses(user: User, name: str) -> list[dict[str, str]]:
    """Return the loss of each step, by the number of the step, in each process."""
    found = []
    for rank in range(2):
        lines = (user.folder / f"{name}-{rank}.txt").read_text().splitlines()
        found.append(dict(line.split(" ", 1) for line in lines))
    return found


def test_a_killed_program_goes_on_exactly(user: User) -> None:
    (user.folder / "train.py").write_text(PROGRAM)
    user.env["NAME"] = "whole"
    done = user.run("run", "--headless", "--nproc", "2", "--name", "whole", "train.py", timeout=SECONDS)
    assert done.returncode == 0, done.stdout
    user.env |= {"NAME": "cut", "DIES": "1"}
    done = user.run("run", "--headless", "--nproc", "2", "--name", "cut", "train.py", timeout=SECONDS)
    assert done.returncode == 1, done.stdout
    assert "was killed by SIGKILL" in user.record("cut")["reason"]
    steps = len(losses(user, "cut")[0])
    done = user.run("resume", "cut", "--headless", timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "exact" not in done.stdout
    assert user.record("cut")["status"] == "finished"
    whole, cut = losses(user, "whole"), losses(user, "cut")
    assert len(whole[0]) == 240 > steps
    assert cut == whole
    assert whole[0] != whole[1]

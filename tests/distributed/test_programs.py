"""Programs of the user's own that several processes run: one run, steered like that of one process."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.program_user import User, wait_until
from tests.support.ranks import SECONDS, Torchrun

pytestmark = pytest.mark.timeout(900)

DDP = """
import os, sys, time
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

torch.manual_seed(0)
rank = int(os.environ["RANK"])
MAKE_GROUP
net = torch.nn.Linear(4, 1)
if dist.is_initialized():
    net = DistributedDataParallel(net)
used = open(f"used-{rank}.txt", "w", buffering=1)

class Noting(torch.optim.SGD):
    def step(self, closure=None):
        used.write(f"{self.param_groups[0]['lr']:.6g}\\n")
        return super().step(closure)

optimizer = Noting(net.parameters(), lr=0.1)
print("this is rank", rank)
steps = 0
try:
    while steps < LIMIT:
        optimizer.zero_grad()
        net(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
        steps += 1
        time.sleep(0.002 * (rank + 1))
        AFTER_STEP
finally:
    print("rank", rank, "cleaned up")
"""


def write_program(
    user: User, *, group: str = 'dist.init_process_group("gloo")', limit: str = "10**9", after: str = "pass"
) -> None:
    source = DDP.replace("MAKE_GROUP", group).replace("LIMIT", limit).replace("AFTER_STEP", after)
    (user.folder / "train.py").write_text(source)


def start(user: User, processes: int) -> str:
    done = user.run("run", "--detach", "--nproc", str(processes), "train.py", timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def used_lrs(user: User, processes: int) -> list[list[str]]:
    """Return the lr of each step that each process has made."""
    return [(user.folder / f"used-{rank}.txt").read_text().splitlines() for rank in range(processes)]


def log_of(user: User, run: str) -> str:
    return (user.runs_dir / run / "worker.log").read_text()


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def wait_for_end(user: User, run: str) -> dict[str, object]:
    ended = ("finished", "failed", "stopped", "lost")
    record: dict[str, object] = wait_until(
        lambda: (found := user.record(run))["status"] in ended and found, "the end of the run", SECONDS
    )
    return record


def steer(user: User, run: str) -> None:
    """Pause, change the lr, hold and release it, and save, all at one step; then stop."""
    paused_at, colon, effect = user.send(run, "pause").partition(": ")
    assert effect == "paused"
    assert "lr 0.1 -> 0.05" in user.send(run, "lr", "x0.5")
    assert user.send(run, "save").startswith(paused_at + colon)
    assert user.send(run, "unpause").startswith(paused_at + colon)
    user.send(run, "hold", "0.02")
    user.send(run, "release")
    user.send(run, "hold", "0.03")
    step = user.last_step(run)
    wait_until(lambda: user.last_step(run) > step + 5, "more steps", SECONDS)
    user.send(run, "stop")


@pytest.mark.parametrize("processes", [pytest.param(2, marks=pytest.mark.quick), 3])
def test_commands_reach_all_processes_at_the_same_step(user: User, processes: int) -> None:
    write_program(user)
    run = start(user, processes)
    steer(user, run)
    assert wait_for_end(user, run)["status"] == "stopped"
    wait_until(lambda: not is_running(user.worker(run)), "the end of the worker", SECONDS)
    lrs = used_lrs(user, processes)
    assert all(each == lrs[0] for each in lrs)
    assert list(dict.fromkeys(lrs[0])) == ["0.1", "0.05", "0.02", "0.03"]
    assert user.runs() == [run]
    log = log_of(user, run)
    assert "this is rank 0" in log
    for rank in range(1, processes):
        assert f"[process{rank}]: this is rank {rank}" in log
        assert f"rank {rank} cleaned up" in log
    assert "process group" not in log
    assert f'"processes": {processes}' in (user.runs_dir / run / "run.json").read_text()
    refused = user.run("resume", run)
    assert refused.returncode == 2
    assert "its program (train.py) does not say what its state is" in refused.stderr
    assert f"--nproc={processes}" in refused.stderr


def test_the_end_of_a_program_is_that_of_the_run(user: User) -> None:
    write_program(user, limit="12")
    done = user.run("run", "--json", "--nproc", "2", "train.py", timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    (run,) = user.runs()
    record = user.record(run)
    assert (record["status"], record["step"]) == ("finished", 12)


def test_processes_with_fewer_steps_do_not_delay_commands(user: User) -> None:
    """Rank 1 has ended its training, and waits for a file; commands are for those that still train."""
    wait = "while not os.path.exists('go'): time.sleep(0.01)"
    write_program(user, limit="(10**9 if rank == 0 else 5)", group="pass")
    source = (user.folder / "train.py").read_text()
    (user.folder / "train.py").write_text(f"{source}\n{wait}\n")
    run = start(user, 2)
    wait_until(lambda: user.last_step(run) > 10, "steps of rank 0", SECONDS)
    assert "paused" in user.send(run, "pause")
    (user.folder / "go").touch()
    user.send(run, "unpause")
    wait_until(lambda: "rank 1 cleaned up" in log_of(user, run), "the end of rank 1", SECONDS)
    assert "lr 0.1 -> 0.05" in user.send(run, "lr", "x0.5")
    user.send(run, "stop")
    assert wait_for_end(user, run)["status"] == "stopped"
    assert "process 1 has ended its training; commands no longer reach it" in log_of(user, run)


def test_a_program_without_a_process_group_is_warned_about_once(user: User) -> None:
    write_program(user, limit="30", group="pass")
    done = user.run("run", "--headless", "--nproc", "2", "train.py", timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    log = log_of(user, user.runs()[0])
    assert log.count("2 processes run this program, but it has no process group") == 1


def test_the_error_of_one_process_is_the_reason(user: User) -> None:
    write_program(user, after="if rank == 1 and steps == 5: raise ValueError('the data of rank 1 is broken')")
    run = start(user, 2)
    record = wait_for_end(user, run)
    assert record["status"] == "failed"
    assert str(record["reason"]).startswith("process 1 ")
    assert "the data of rank 1 is broken" in str(record["reason"])


def test_a_killed_process_is_named(user: User) -> None:
    write_program(user, after="if rank == 1 and steps == 5: os.kill(os.getpid(), 9)")
    run = start(user, 2)
    wait_until(lambda: "SIGKILL" in user.record(run)["reason"], "the reason", SECONDS)
    record = user.record(run)
    assert record["status"] == "failed"
    assert record["reason"].startswith("process 1 (pid ")


def test_a_killed_process_is_named_without_a_process_group(user: User) -> None:
    """The launcher ends the first process by SIGTERM then, as somebody might who stops the run."""
    write_program(user, group="pass", after="if rank == 1 and steps == 5: os.kill(os.getpid(), 9)")
    run = start(user, 2)
    record = wait_for_end(user, run)
    assert record["status"] == "failed"
    assert str(record["reason"]).startswith("process 1 (pid ")


def test_an_error_before_the_process_group_is_the_reason(user: User) -> None:
    """The first process waits for the other in torch, where no signal reaches it."""
    bad = 'if rank == 1: raise ValueError("no data here")\ndist.init_process_group("gloo")'
    write_program(user, group=bad)
    done = user.run("run", "--headless", "--nproc", "2", "train.py", timeout=SECONDS)
    assert done.returncode == 1, done.stdout
    record = user.record(user.runs()[0])
    assert record["status"] == "failed"
    assert record["reason"].startswith(f"process 1 on {socket.gethostname()}: ValueError: no data here")


def test_a_process_that_hangs_is_named_with_the_line_after_the_timeout_of_the_group(user: User) -> None:
    group = 'import datetime\ndist.init_process_group("gloo", timeout=datetime.timedelta(seconds=15))'
    write_program(user, group=group, after="if rank == 1 and steps == 5: time.sleep(10**6)")
    record = wait_for_end(user, start(user, 2))
    assert record["status"] == "failed"
    assert str(record["reason"]).startswith("process 1 (pid ")
    held_up = r"has not gone on for \d+ s after step 4, in train.py, line \d+, and the others wait for it"
    assert re.search(held_up, str(record["reason"])), record["reason"]


def test_a_signal_stops_all_processes(user: User) -> None:
    write_program(user)
    run = start(user, 2)
    wait_until(lambda: user.last_step(run) > 3, "steps", SECONDS)
    os.kill(user.worker(run), signal.SIGTERM)
    record = wait_for_end(user, run)
    assert (record["status"], record["reason"]) == ("stopped", "SIGTERM")
    wait_until(lambda: "rank 1 cleaned up" in log_of(user, run), "the end of rank 1", SECONDS)
    lrs = used_lrs(user, 2)
    assert len(lrs[0]) == len(lrs[1])


def test_a_program_joins_the_processes_of_torchrun(user: User, torchrun: Torchrun) -> None:
    write_program(user)
    process = torchrun.start(2, "run", "train.py")
    run = torchrun.wait_for_step(process, 3)
    steer(user, run)
    status, output = torchrun.wait(process)
    assert status == 0, output
    assert user.record(run)["status"] == "stopped"
    assert user.runs() == [run]
    lrs = used_lrs(user, 2)
    assert lrs[0] == lrs[1]
    assert "this is rank 1" in output


def free_ports() -> int:
    """Return a port that is free, and so is the next one."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            with suppress(OSError):
                second.bind(("127.0.0.1", port + 1))
                return port


def test_processes_meet_without_a_store_of_the_launcher(user: User) -> None:
    """As in a PyTorchJob of Kubernetes: the program's first process has the store at MASTER_PORT."""
    write_program(user, limit="40")
    port = free_ports()
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "torchconsole", "run", "--headless", "train.py"],
            cwd=user.folder,
            env=user.env
            | {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # no terminal, which would be a person's
            stderr=subprocess.DEVNULL,
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=SECONDS) for process in started] == [0, 0]
    (run,) = user.runs()
    record = user.record(run)
    assert (record["status"], record["step"]) == ("finished", 40)

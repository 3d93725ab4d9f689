"""A stop before the first step ends all processes, and none that dies by itself is told as a stop."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.program_user import PROGRAM, User, wait_until
from tests.support.ranks import SECONDS, Torchrun
from torchconsole.engine.run.membership import HANGING, WITHIN_STEP
from torchconsole.engine.training.command_queue import INSIST_SECONDS

RELAY = "torchconsole.engine.worker.relay"

pytestmark = pytest.mark.timeout(900)

PROGRAM_THAT_PREPARES = """
import os, signal, time
print("rank", os.environ["RANK"], "prepares", flush=True)
if os.environ["RANK"] == os.environ.get("KILLED"):
    os.kill(os.getpid(), signal.SIGKILL)
while True:
    time.sleep(0.05)
"""

PROGRAM_THAT_WAITS_IN_TORCH = """
import os, time
import torch.distributed as dist
print("rank", os.environ["RANK"], "prepares", flush=True)
while os.environ["RANK"] == os.environ["LATE"]:
    time.sleep(0.05)
dist.init_process_group("gloo")
"""

PROGRAM_THAT_HANGS_IN_A_STEP = """
import os, time
import torch
import torch.distributed as dist
dist.init_process_group("gloo")
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(1000):
    model(torch.ones(3, 2)).sum().backward()
    if step == 3 and os.environ["RANK"] == "1":
        while True:
            time.sleep(0.05)
    if step == 3:
        print("waits for the other", flush=True)
    dist.all_reduce(model.weight.grad)
    optimizer.step()
    optimizer.zero_grad()
"""


def start(user: User, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a headless run `disturbed` with two processes."""
    command = [PROGRAM, *arguments[:1], "--headless", "--nproc", "2", "--name", "disturbed", *arguments[1:]]
    with (user.home / "shown").open("w") as file:
        return subprocess.Popen(
            command, cwd=user.folder, env=user.env, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )


def shown(user: User) -> str:
    """Return what the client has printed."""
    return (user.home / "shown").read_text()


def log_of(user: User) -> str:
    with suppress(FileNotFoundError):
        return (user.runs_dir / "disturbed/worker.log").read_text()
    return ""


def processes_of(user: User) -> list[int]:
    """Return the processes that this user has started, also indirectly."""
    found, wanted = [], f"HOME={user.home}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def stop(user: User, client: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Stop the run as its user would; nothing of it may be left."""
    client.send_signal(number)
    assert client.wait(SECONDS) == 128 + number
    record = user.record("disturbed")
    assert (record["status"], record["reason"]) == ("stopped", f"{number.name} before the training began")
    wait_until(lambda: not processes_of(user), "the end of all processes", SECONDS)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_stop_ends_the_preparation_of_all(own: User, rank: int) -> None:
    own.env["FAULT"] = f"prepares {rank}"
    client = start(own, "train", "own", "--trust")
    wait_until(lambda: "preparing" in log_of(own), "the preparation", SECONDS)
    stop(own, client, signal.SIGINT)
    assert "via SIGKILL" not in log_of(own)  # torchrun's agent kills what does not end


def test_a_stop_at_the_very_start_ends_all(own: User) -> None:
    client = start(own, "train", "own", "--trust")
    wait_until(own.runs, "the run", SECONDS)
    stop(own, client, signal.SIGTERM)


def test_a_stop_ends_a_program_that_prepares(user: User) -> None:
    (user.folder / "train.py").write_text(PROGRAM_THAT_PREPARES)
    client = start(user, "run", "train.py")
    wait_until(lambda: log_of(user).count("prepares") == 2, "the preparation", SECONDS)
    stop(user, client, signal.SIGTERM)
    assert "via SIGKILL" not in log_of(user)


def test_a_program_whose_process_is_killed_before_the_first_step_has_failed(user: User) -> None:
    """torchrun's agent ends the first process by SIGTERM then, as somebody might who stops the run."""
    (user.folder / "train.py").write_text(PROGRAM_THAT_PREPARES)
    user.env["KILLED"] = "1"
    assert start(user, "run", "train.py").wait(SECONDS) == 1
    record = user.record("disturbed")
    assert record["status"] == "failed"
    assert record["reason"].startswith("process 1 (pid ")
    assert "was killed by SIGKILL" in record["reason"]


@pytest.mark.parametrize("late", ["0", "1"])
def test_a_stop_ends_a_program_that_waits_in_torch_for_another_process(user: User, late: str) -> None:
    """No signal reaches the Python code of one that waits there."""
    (user.folder / "train.py").write_text(PROGRAM_THAT_WAITS_IN_TORCH)
    user.env["LATE"] = late
    client = start(user, "run", "train.py")
    wait_until(lambda: log_of(user).count("prepares") == 2, "the preparation", SECONDS)
    stop(user, client, signal.SIGINT)


@pytest.mark.parametrize("by", ["command", "signal"])
def test_a_stop_of_the_worker_ends_a_program_that_waits_in_torch(user: User, by: str) -> None:
    (user.folder / "train.py").write_text(PROGRAM_THAT_WAITS_IN_TORCH)
    user.env["LATE"] = "1"
    client = start(user, "run", "train.py")
    wait_until(lambda: log_of(user).count("prepares") == 2, "the preparation", SECONDS)
    if by == "command":
        user.run("send", "disturbed", "stop", timeout=SECONDS)
    else:
        os.kill(user.worker("disturbed"), signal.SIGTERM)
    assert client.wait(SECONDS) == 0
    record, name = user.record("disturbed"), "stopped" if by == "command" else "SIGTERM"
    assert (record["status"], record["reason"]) == ("stopped", f"{name} before the training began")
    wait_until(lambda: not processes_of(user), "the end of all processes", SECONDS)


def test_a_second_stop_command_ends_a_program_that_waits_in_torch_within_a_step(user: User) -> None:
    (user.folder / "train.py").write_text(PROGRAM_THAT_HANGS_IN_A_STEP)
    client = start(user, "run", "train.py")
    wait_until(lambda: "waits for the other" in log_of(user), "the wait", SECONDS)
    wait_until(lambda: user.record("disturbed")["status"] == "running", "the training", SECONDS)
    begin = time.monotonic()
    while client.poll() is None:  # only one that comes at least 5 s after the first counts as the second
        user.run("send", "disturbed", "stop", "--timeout", "5", timeout=SECONDS)
        assert time.monotonic() - begin < SECONDS
    record = user.record("disturbed")
    assert (record["status"], record["reason"]) == ("stopped", f"stopped {WITHIN_STEP}")
    wait_until(lambda: not processes_of(user), "the end of all processes", SECONDS)


def test_the_second_ctrl_c_ends_a_program_that_has_said_that_it_waits(user: User) -> None:
    (user.folder / "train.py").write_text(PROGRAM_THAT_HANGS_IN_A_STEP)
    client = start(user, "run", "train.py")
    wait_until(lambda: "waits for the other" in log_of(user), "the wait", SECONDS)
    wait_until(lambda: user.record("disturbed")["status"] == "running", "the training", SECONDS)
    client.send_signal(signal.SIGINT)
    wait_until(lambda: HANGING in shown(user), "the client's warning", SECONDS)
    client.send_signal(signal.SIGINT)
    assert client.wait(SECONDS) == 128 + signal.SIGINT
    record = user.record("disturbed")
    assert (record["status"], record["reason"]) == ("stopped", f"SIGINT {WITHIN_STEP}")
    wait_until(lambda: not processes_of(user), "the end of all processes", SECONDS)


def test_a_stop_ends_a_first_process_that_is_suspended(user: User) -> None:
    (user.folder / "train.py").write_text(PROGRAM_THAT_PREPARES)
    client = start(user, "run", "train.py")
    wait_until(lambda: log_of(user).count("prepares") == 2, "the preparation", SECONDS)
    os.kill(user.worker("disturbed"), signal.SIGSTOP)
    stop(user, client, signal.SIGTERM)


def test_a_second_stop_ends_a_program_that_waits_in_torch_within_a_step(user: User) -> None:
    (user.folder / "train.py").write_text(PROGRAM_THAT_HANGS_IN_A_STEP)
    client = start(user, "run", "train.py")
    wait_until(lambda: "waits for the other" in log_of(user), "the wait", SECONDS)
    wait_until(lambda: user.record("disturbed")["status"] == "running", "the training", SECONDS)
    (relay,) = (child for child in psutil.Process(client.pid).children() if RELAY in child.cmdline())
    begin = time.monotonic()
    while client.poll() is None:  # only one that comes at least 5 s after the first counts as the second
        with suppress(psutil.NoSuchProcess):
            relay.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            client.wait(INSIST_SECONDS)
        assert time.monotonic() - begin < SECONDS
    record = user.record("disturbed")
    assert (record["status"], record["reason"]) == ("stopped", f"SIGTERM {WITHIN_STEP}")
    wait_until(lambda: not processes_of(user), "the end of all processes", SECONDS)


@pytest.mark.parametrize("rank", [0, 1])
def test_the_end_of_a_process_that_prepares_ends_the_others_at_once(own: User, rank: int) -> None:
    own.env["FAULT"] = f"broken {rank}"
    assert start(own, "train", "own", "--trust").wait(SECONDS) == 1
    record = own.record("disturbed")
    assert record["status"] == "failed"
    assert record["reason"].startswith(f"process {rank} (pid ")
    assert "exited with status 3" in record["reason"]
    assert "via SIGKILL" not in log_of(own)


def processes_of_rank(user: User, rank: int) -> list[int]:
    """Return the processes of this rank that torchrun has started."""
    wanted = f"RANK={rank}".encode()
    found = []
    for pid in processes_of(user):
        with suppress(OSError):
            if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def test_under_torchrun_a_process_that_is_killed_while_it_prepares_is_named(
    own: User, torchrun: Torchrun
) -> None:
    """torchrun ends the first process by SIGTERM then, as somebody might who stops the job."""
    own.env["FAULT"] = "prepares 1"
    launcher = torchrun.start(2, "train", "own", "--trust", "--name", "disturbed")
    wait_until(lambda: "preparing" in torchrun.printed(launcher), "the preparation", SECONDS)
    (follower,) = processes_of_rank(own, 1)
    os.kill(follower, signal.SIGKILL)
    torchrun.wait(launcher)
    record = own.record("disturbed")
    assert record["status"] == "failed"
    assert record["reason"].startswith(f"process 1 (pid {follower} on "), record["reason"]
    assert "has ended without a message before the training began" in record["reason"]


def test_under_torchrun_a_program_that_is_killed_while_it_prepares_is_named(
    user: User, torchrun: Torchrun
) -> None:
    (user.folder / "train.py").write_text(PROGRAM_THAT_PREPARES)
    user.env["KILLED"] = "1"
    status, _ = torchrun.run(2, "run", "--name", "disturbed", "train.py")
    assert status == 1
    record = user.record("disturbed")
    assert record["status"] == "failed"
    assert record["reason"].startswith("process 1 (pid "), record["reason"]


@pytest.mark.parametrize("command", ["train", "run"])
def test_under_torchrun_a_stop_of_all_while_they_prepare_is_a_stop(
    own: User, torchrun: Torchrun, command: str
) -> None:
    own.env["FAULT"] = "prepares 1"
    (own.folder / "train.py").write_text(PROGRAM_THAT_PREPARES)
    words = ("own", "--trust") if command == "train" else ("train.py",)
    launcher = torchrun.start(2, command, "--name", "disturbed", *words)
    wait_until(lambda: "prepar" in torchrun.printed(launcher), "the preparation", SECONDS)
    wait_until(own.runs, "the run", SECONDS)
    launcher.terminate()
    torchrun.wait(launcher)
    record = own.record("disturbed")
    assert (record["status"], record["reason"]) == ("stopped", "SIGTERM before the training began")

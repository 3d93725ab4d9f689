"""A stop before the first step ends all processes, and none that dies by itself is told as a stop."""

from __future__ import annotations

import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.program_user import PROGRAM, User, wait_until
from tests.support.ranks import SECONDS

pytestmark = pytest.mark.timeout(900)

PROGRAM_THAT_PREPARES = """
import os, signal, time
print("rank", os.environ["RANK"], "prepares", flush=True)
if os.environ["RANK"] == os.environ.get("KILLED"):
    os.kill(os.getpid(), signal.SIGKILL)
while True:
    time.sleep(0.05)
"""


def start(user: User, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a headless run `disturbed` with two processes."""
    command = [PROGRAM, *arguments[:1], "--headless", "--nproc", "2", "--name", "disturbed", *arguments[1:]]
    return subprocess.Popen(
        command, cwd=user.folder, env=user.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )


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


@pytest.mark.parametrize("rank", [0, 1])
def test_the_end_of_a_process_that_prepares_ends_the_others_at_once(own: User, rank: int) -> None:
    own.env["FAULT"] = f"broken {rank}"
    assert start(own, "train", "own", "--trust").wait(SECONDS) == 1
    record = own.record("disturbed")
    assert record["status"] == "failed"
    assert record["reason"].startswith(f"process {rank} (pid ")
    assert "exited with status 3" in record["reason"]
    assert "via SIGKILL" not in log_of(own)

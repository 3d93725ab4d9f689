"""Two users share a folder of runs: each can look at the other's runs, and neither can steer or harm them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from tests.faults.users.conftest import ALICE
from tests.support.local_user import LocalUser, content_of
from tests.support.program_user import wait_until

MakeUsers = Callable[[str], tuple[LocalUser, LocalUser]]

SHORT = ("--headless", "--set", "training.epochs=2", "--set", "checkpoint.keep=-1")


def trains(user: LocalUser, run: str) -> None:
    """Wait until a run has made 50 more steps."""
    step = user.last_step(run)
    wait_until(lambda: user.last_step(run) >= step + 50, "more steps")


def train_to_the_end(user: LocalUser) -> str:
    """Train a short run and return its name."""
    before = set(user.runs())
    done = user.run("train", "digits-mlp", *SHORT, timeout=120)
    assert done.returncode == 0, done.stderr
    return (set(user.runs()) - before).pop()


@pytest.mark.parametrize("kind", ["sticky", "group"])
def test_another_user_can_look_but_not_steer(kind: str, make_users: MakeUsers) -> None:
    alice, bob = make_users(kind)
    run = alice.start()
    trains(alice, run)
    assert bob.record(run)["status"] == "running"
    done = bob.run("send", run, "stop")
    assert done.returncode != 0
    assert "another user" in done.stderr
    for command in (["resume", run, "--headless"], ["delete", "--yes", run]):
        assert bob.run(*command).returncode != 0, command
    assert alice.record(run)["status"] == "running"
    trains(alice, run)
    assert "lr" in alice.send(run, "lr", "x0.5")
    journal = alice.lines(run, "journal.jsonl")
    assert len(journal) == 1, journal
    alice.send(run, "stop")
    wait_until(lambda: alice.record(run)["status"] == "stopped", "the end")


@pytest.mark.parametrize("kind", ["open", "group"])
def test_another_users_run_can_be_used_and_stays_as_it_was(kind: str, make_users: MakeUsers) -> None:
    alice, bob = make_users(kind)
    run = train_to_the_end(alice)
    before = content_of(alice.runs_dir / run)
    events = bob.run("events", run)
    assert events.returncode == 0, events.stderr
    assert "step=46" in events.stdout
    for command in (
        ["checkpoints", run],
        ["evaluate", run],
        ["export", run, "--output", str(bob.home / "w.safetensors")],
    ):
        done = bob.run(*command)
        assert done.returncode == 0, (command, done.stderr)
    for command in (
        ["resume", run, "--headless", "--set", "training.epochs=4"],
        ["delete", "--yes", "--all", run],
    ):
        done = bob.run(*command)
        assert done.returncode != 0, command
        assert "belongs to" in done.stderr, (command, done.stderr)
    assert content_of(alice.runs_dir / run) == before
    branched = bob.run("resume", f"{run}@23", "--headless", "--set", "training.epochs=3")
    assert branched.returncode == 0, branched.stderr
    assert content_of(alice.runs_dir / run) == before
    assert alice.run("delete", "--yes", run).returncode == 0
    assert not (alice.runs_dir / run).exists()


FORGE = """
theirs, forged = map(Path, sys.argv[1:3])
forged.mkdir()
record = json.loads((theirs / "run.json").read_bytes())
record.update(json.loads(sys.argv[3]))
(forged / "run.json").write_text(json.dumps(record))
(forged / "checkpoints").mkdir()
os.umask(0)
if sys.argv[4] == "linked":
    (forged / "worker.lock").symlink_to(theirs / "worker.lock")
else:
    (forged / "worker.lock").write_text("1 1 1")
"""


@pytest.mark.parametrize("lock", ["linked", "copied"])
def test_a_forged_run_leads_to_no_other(lock: str, make_users: MakeUsers) -> None:
    """A run of Bob that names Alice's worker: what she does to it does not happen to her own run."""
    alice, bob = make_users("sticky")
    run = alice.start()
    trains(alice, run)
    socket = json.loads((alice.runs_dir / run / "run.json").read_bytes())["socket"]
    for changes in ({}, {"pid": 1, "process_start": 1}):
        bob.python(FORGE, bob.runs_dir / run, forged := bob.runs_dir / "forged", json.dumps(changes), lock)
        done = alice.run("send", "forged", "stop")
        assert done.returncode != 0, done.stdout
        assert alice.run("delete", "--yes", "forged").returncode != 0
        assert alice.run("resume", "forged", "--headless").returncode != 0
        assert {run, "forged"} == {row["name"] for row in json.loads(alice.run("runs", "--json").stdout)}
        bob.python("import shutil\nshutil.rmtree(sys.argv[1])", forged)
    assert json.loads((alice.runs_dir / run / "run.json").read_bytes())["socket"] == socket
    assert alice.record(run)["status"] == "running"
    trains(alice, run)
    assert not (alice.runs_dir / run / "journal.jsonl").exists() or not alice.lines(run, "journal.jsonl")


SQUAT = {
    "folder": "path.mkdir(); path.chmod(0o777)",
    "link": "path.symlink_to(sys.argv[2])",
    "FIFO": "os.mkfifo(path)",
    "socket": "import socket; socket.socket(socket.AF_UNIX).bind(str(path))",
}


@pytest.mark.parametrize("what", SQUAT)
def test_a_squatted_socket_folder_keeps_nobody_from_training(what: str, make_users: MakeUsers) -> None:
    alice, bob = make_users("sticky")
    place = f"{alice.env['TORCHCONSOLE_SOCKETS']}/torchconsole-{ALICE}"
    bob.python(f"path = Path(sys.argv[1]); {SQUAT[what]}", place, bob.home)
    run = alice.start()
    assert "applied" in alice.send(run, "pause")
    assert "another user" in bob.run("send", run, "unpause").stderr
    assert alice.record(run)["status"] == "paused"


def test_the_name_of_a_run_that_is_taken_gets_a_number(make_users: MakeUsers) -> None:
    alice, bob = make_users("sticky")
    now = time.time()
    names = [time.strftime("digits-mlp-%Y%m%d-%H%M%S", time.localtime(now + second)) for second in range(60)]
    taken = (
        "for number, name in enumerate(sys.argv[1:]): os.mkdir(name) if number % 2 else os.symlink('x', name)"
    )
    bob.python(taken, *(bob.runs_dir / name for name in names))
    run = train_to_the_end(alice)
    assert run.endswith("-2")
    assert alice.record(run)["status"] == "finished"

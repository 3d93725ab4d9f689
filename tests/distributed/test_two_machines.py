"""Two machines train together; one of them is cut off, or loses a process.

They are network namespaces where that is permitted, and processes of this machine otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from tests.support.machines import Machines
from tests.support.program_user import User, wait_until
from tests.support.ranks import METRICS, SECONDS, Logged, by_step

pytestmark = pytest.mark.timeout(900)

TRAIN = ("train", "own", "--trust", "--quiet", "--name", "disturbed")


@pytest.fixture
def machines(own: User) -> Iterator[Machines]:
    """Two machines, with a preset whose data fails as FAULT says."""
    both = Machines(own)
    yield both
    both.close()


@pytest.mark.parametrize("drop", [True, False], ids=["packets are dropped", "network is down"])
def test_a_machine_that_is_cut_off_is_named(user: User, machines: Machines, drop: bool) -> None:
    first, second = machines.start(*TRAIN, "--set", "training.epochs=100000")
    last = user.runs_dir / "disturbed/checkpoints/last"
    wait_until(last.exists, "the first checkpoint", SECONDS)
    machines.cut(drop=drop)
    first.wait(timeout=SECONDS)
    record = user.record("disturbed")
    assert record["status"] == "failed"
    parts = ("process 1 (pid ", f" on {machines.names[1]}) has not been heard of for ")
    assert all(part in record["reason"] for part in parts), record["reason"]
    assert (last / "state.pt").exists()
    if machines.are_real:
        text = f" on {machines.names[0]}) has not been heard of for "
        wait_until(lambda: text in machines.printed(second), "the other machine's own words")


@pytest.mark.quick
def test_two_machines_go_on_by_themselves_exactly(
    user: User, machines: Machines, undisturbed: Logged
) -> None:
    user.env["FAULT"] = "SIGKILL 1"
    started = machines.start(*TRAIN, "--set", "distributed.max_restarts=1")
    for process in started:
        assert process.wait(timeout=SECONDS) == 0
    printed = "".join(map(machines.printed, started))
    assert " trains as process 1 of 2; process 0 has the run's folder\n" in printed
    assert printed.count("run disturbed finished after step ") == 2
    assert (user.folder / "failed").exists()
    assert user.record("disturbed")["status"] == "finished"
    assert by_step(user, "disturbed", *METRICS) == undisturbed
    assert "restarted from the last checkpoint" in (user.runs_dir / "disturbed/worker.log").read_text()


def test_a_machine_that_is_killed_is_named_and_both_resume_the_run(user: User, machines: Machines) -> None:
    first, second = machines.start(*TRAIN, "--set", "training.epochs=100000")
    last = user.runs_dir / "disturbed/checkpoints/last"
    wait_until(last.exists, "the first checkpoint", SECONDS)
    for process in (*psutil.Process(second.pid).children(recursive=True), second):
        process.kill()
    assert first.wait(timeout=SECONDS) != 0
    record = user.record("disturbed")
    assert record["status"] == "failed"
    assert record["reason"].startswith("process 1 (pid "), record["reason"]
    steps = record["step"] + 20
    words = ("resume", "disturbed", "--trust", "--quiet", "--set", f"training.max_steps={steps}")
    for process in machines.start(*words):
        assert process.wait(timeout=SECONDS) == 0, machines.printed(process)
    record = user.record("disturbed")
    assert (record["status"], record["step"]) == ("finished", steps)

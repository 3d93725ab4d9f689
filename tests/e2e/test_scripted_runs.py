"""Complete runs over the real socket: started, steered, killed, resumed and stopped as a script would."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.program_user import ENDLESS, PROGRAM, User, is_worker, wait_until
from tests.support.tracebacks import assert_no_traceback
from torchconsole.engine.client.client import connect
from torchconsole.engine.protocol.commands import PauseRun, SetLearningRate
from torchconsole.engine.protocol.events import CommandApplied, Event
from torchconsole.engine.protocol.messages import Snapshot
from torchconsole.engine.run.folder import RunFolder


def step_in(answer: str) -> int:
    """Parse the step in an answer such as `applied at step 1,380: paused`."""
    return int(answer.removeprefix("applied at step ").partition(":")[0].replace(",", ""))


def test_a_run_is_steered_from_its_start_to_its_stop(user: User) -> None:
    run = user.start()
    user.send(run, "pause")
    paused = user.record(run)
    assert paused["status"] == "paused"
    assert f"applied at step {paused['step']:,}: lr " in user.send(run, "lr", "x0.5")
    assert "val/loss" in user.send(run, "eval")
    checkpoint = user.send(run, "save").split()[-1]
    assert (user.runs_dir / run / "checkpoints" / checkpoint / "state.pt").is_file()
    assert user.last_step(run) == paused["step"]

    user.send(run, "unpause")
    wait_until(lambda: user.last_step(run) > paused["step"] + 50, "steps after the pause")
    user.send(run, "stop")
    wait_until(lambda: user.record(run)["status"] == "stopped", "the run to stop")

    journal = user.lines(run, "journal.jsonl")
    assert [line["command"]["type"] for line in journal] == [
        "PauseRun",
        "SetLearningRate",
        "RunEvaluation",
        "SaveCheckpoint",
        "UnpauseRun",
        "StopRun",
    ]
    assert {line["step"] for line in journal[:5]} == {paused["step"]}
    refused = user.run("send", run, "pause")
    assert refused.returncode == 1
    assert refused.stderr.startswith("torchconsole: error: ")


def test_the_lr_changes_at_the_reported_step(user: User) -> None:
    run = user.start("--set", "schedule=[]", "--set", "training.log_every=1")
    step = step_in(user.send(run, "lr", "0.0001"))
    wait_until(lambda: user.last_step(run) > step + 5, "steps with the new lr")
    lrs = {line["step"]: line["lr"] for line in user.lines(run, "metrics.jsonl") if line["kind"] == "train"}
    assert {lr for at, lr in lrs.items() if at <= step} == {0.003}
    assert {lr for at, lr in lrs.items() if at > step} == {0.0001}


async def test_two_clients_see_the_same_events_and_both_can_steer(user: User) -> None:
    run = await asyncio.to_thread(user.start)
    folder = RunFolder(user.runs_dir / run)
    async with connect(folder, by="ann") as one, connect(folder, by="bob") as other:
        assert one.live
        assert one.snapshot.state.step >= 1
        assert one.snapshot.history["train/loss"].steps
        applied = await other.send(SetLearningRate(factor=0.5))
        assert applied.by == "bob"
        seen = [event async for event in _up_to(applied, one.events())]
        assert [event.by for event in seen if isinstance(event, CommandApplied)] == ["bob"]
        await one.send(PauseRun())
    record = await asyncio.to_thread(user.record, run)
    assert record["status"] == "paused"


async def _up_to(
    last: CommandApplied, events: AsyncIterator[Event | Snapshot]
) -> AsyncIterator[Event | Snapshot]:
    async for event in events:
        yield event
        if isinstance(event, CommandApplied) and event.id == last.id:
            return


def test_a_killed_run_is_lost_and_resumes_from_its_checkpoint(user: User) -> None:
    run = user.start("--set", "training.log_every=1")
    saved = step_in(user.send(run, "save"))
    wait_until(lambda: user.last_step(run) > saved + 50, "steps beyond the checkpoint")
    worker = user.worker(run)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: user.record(run)["status"] == "lost", "the run to be lost")
    assert not is_worker(worker)

    resumed = user.run("resume", run, "--detach")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.strip() == run
    user.send(run, "stop")
    (back,) = [line for line in user.lines(run, "metrics.jsonl") if line["kind"] == "resumed"]
    assert back["step"] >= saved
    lines = user.lines(run, "metrics.jsonl")
    after = [line["step"] for line in lines[lines.index(back) + 1 :] if line["kind"] == "train"]
    assert after[0] == back["step"] + 1
    again = user.run("resume", run, "--detach")
    assert again.returncode == 0, again.stderr
    twice = user.run("resume", run, "--detach")
    assert twice.returncode == 2
    assert "attach to it instead" in twice.stderr


def test_a_run_can_be_steered_after_its_socket_folder_was_deleted(user: User) -> None:
    run = user.start("--runs-dir", str(user.runs_dir))
    shutil.rmtree(Path(user.record(run)["socket"]).parent)
    elsewhere = user.home / "elsewhere"
    elsewhere.mkdir()
    env = {name: user.env[name] for name in ("HOME", "XDG_STATE_HOME")} | {
        "PATH": "/nonexistent",
        "LANG": "C",
    }
    done = user.run("send", run, "pause", cwd=elsewhere, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("applied at step ")


def test_an_unsafe_socket_folder_does_not_keep_a_run_from_starting(user: User) -> None:
    """Promise 59: another place is taken, and a warning says so."""
    sockets = Path(user.env["TORCHCONSOLE_SOCKETS"], f"torchconsole-{os.getuid()}")
    sockets.mkdir()
    sockets.chmod(0o755)
    run = user.start()
    record = user.record(run)
    assert not Path(record["socket"]).is_relative_to(sockets)
    assert f"{sockets}: other users have access to it" in Path(record["folder"], "worker.log").read_text()
    assert user.run("send", run, "stop").returncode == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_detach_stops_its_worker(user: User, number: int, status: int) -> None:
    # A shell starts background jobs with SIGINT ignored, and the program inherits that.
    background = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    command = [*background, PROGRAM, "train", "digits-mlp", "--detach", *ENDLESS]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=user.folder, env=user.env, **pipes) as process:
        (run,) = wait_until(user.runs, "the run's folder")
        process.send_signal(number)
        out, errors = process.communicate(timeout=30)
        assert process.returncode == status
    assert out == b""
    assert_no_traceback(errors)
    record = wait_until(
        lambda: (found := user.record(run))["status"] != "starting" and found, "the worker to stop"
    )
    assert (record["status"], record["reason"]) == ("stopped", "SIGTERM before the training began")


def test_modules_with_its_names_in_the_users_folder_are_ignored(user: User) -> None:
    for name in ("engine.py", "tui.py", "torch.py", "typer.py"):
        Path(user.folder, name).write_text("raise SystemExit('the wrong module')\n")
    run = user.start()
    user.send(run, "stop")

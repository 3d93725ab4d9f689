"""When a worker notifies, and that neither a mistake in config.toml nor a failing command ends anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import FINISHED, STARTED, Served, make_folder, raw_client, wait_until
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.info import Best
from torchconsole.engine.session import server


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(server, "CHECK_SECONDS", 0.05)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "config" / "torchconsole"
    folder.mkdir(parents=True, mode=0o700)
    return folder / "config.toml"


def collect(config: Path) -> Path:
    """Have messages appended to a file, which is returned."""
    got = config.with_name("got")
    write(config, f"cat >> '{got}'; echo >> '{got}'")
    return got


def write(config: Path, command: str, key: str = "command") -> None:
    """Write config.toml."""
    config.write_text(f"[notify]\n{key} = {json.dumps(command)}\n")
    config.chmod(0o600)


def messages(got: Path) -> list[dict[str, Any]]:
    """The messages so far."""
    return [json.loads(line) for line in got.read_text().splitlines()] if got.exists() else []


def saved(step: int, best: float) -> ev.CheckpointSaved:
    found = Best(metric="val/loss", value=best, step=step)
    return ev.CheckpointSaved(step=step, epoch=1, name=f"step-{step}", reason="best", best=found)


def test_the_end_of_a_run_is_told_once(tmp_path: Path, config: Path) -> None:
    got = collect(config)
    with Served(make_folder(tmp_path)) as served:
        served.event_queue.emit(STARTED)
        served.event_queue.emit(FINISHED)
    (found,) = wait_until(lambda: messages(got), "a message")
    assert (found["event"], found["status"], found["step"]) == ("finished", "finished", 1000)
    assert found["name"] == served.folder.name


def test_a_new_best_is_told_after_the_first_and_not_again_soon(tmp_path: Path, config: Path) -> None:
    got = collect(config)
    with Served(make_folder(tmp_path)) as served:
        for event in (STARTED, saved(10, 0.5), saved(20, 0.4)):
            served.event_queue.emit(event)
        (found,) = wait_until(lambda: messages(got), "a message")
        assert found["event"] == "best"
        assert found["text"] == f"run {served.folder.name} has a new best val/loss 0.4 at step 20"
        for event in (saved(20, 0.4), saved(30, 0.3)):
            served.event_queue.emit(event)
        served.event_queue.emit(ev.RunFailed(reason="the loss was not finite at step 31"))
        wait_until(lambda: len(messages(got)) == 2, "the second message")
    assert messages(got)[1]["event"] == "diverged"


async def test_a_new_best_is_not_told_while_a_console_is_attached(tmp_path: Path, config: Path) -> None:
    got = collect(config)
    with Served(make_folder(tmp_path)) as served:
        async with raw_client(served.address) as client:
            await client.receive_snapshot()
            for event in (STARTED, saved(10, 0.5), saved(20, 0.4), FINISHED):
                served.event_queue.emit(event)
            await client.receive_until(ev.RunFinished)
    (found,) = wait_until(lambda: messages(got), "a message")
    assert found["event"] == "finished"


def test_a_refused_start_is_not_told(tmp_path: Path, config: Path) -> None:
    got = collect(config)
    with Served(make_folder(tmp_path)) as served:
        served.event_queue.emit(ev.RunFailed(reason="no such folder", user_error=True))
    with Served(make_folder(tmp_path)) as served:
        served.event_queue.emit(FINISHED)
    assert [found["event"] for found in wait_until(lambda: messages(got), "a message")] == ["finished"]


async def test_a_command_that_fails_is_a_line_of_the_log(tmp_path: Path, config: Path) -> None:
    write(config, "echo why >&2; exit 4")
    with Served(make_folder(tmp_path)) as served:
        async with raw_client(served.address) as client:
            await client.receive_snapshot()
            served.event_queue.emit(STARTED)
            served.event_queue.emit(ev.RunFailed(reason="x"))
            events = await client.receive_until(ev.LogWritten)
    assert events[-1].message == "notify.command: exit status 4: why"


async def test_a_mistake_in_the_file_is_a_warning_when_the_run_starts(tmp_path: Path, config: Path) -> None:
    write(config, "true", key="commnd")
    with Served(make_folder(tmp_path)) as served:
        async with raw_client(served.address) as client:
            snapshot = await client.receive_snapshot()
            log = list(snapshot.state.log) or [
                event
                for event in await client.receive_until(ev.LogWritten)
                if isinstance(event, ev.LogWritten)
            ]
        assert await served.is_serving()
    assert "notify.commnd: unknown key" in log[-1].message
    assert log[-1].level == "warning"

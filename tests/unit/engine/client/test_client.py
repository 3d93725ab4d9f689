"""Clients of runs that are live, ended, disconnected or lost."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import (
    DEADLINE,
    FINISHED,
    STARTED,
    Served,
    live_client_of,
    log_steps,
    make_folder,
    point,
    running,
    start_standin,
    wait_until,
    wire_of,
)
from torchconsole.engine.client import connect, live_client, patient_reading, recorded_client
from torchconsole.engine.client.client import RunClient
from torchconsole.engine.errors import CommandRejectedError, RunError, UnreachableError
from torchconsole.engine.protocol import PROTOCOL_VERSION
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import PauseRun, SaveCheckpoint, SetLearningRate, StopRun
from torchconsole.engine.protocol.messages import Snapshot
from torchconsole.engine.protocol.points import MetricsPoint
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run import patience
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.jsonl import BLOCK_BYTES
from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.session import client_manager, event_store, server
from torchconsole.engine.session.event_queue import EventQueue
from torchconsole.engine.session.event_store import EventStore

Standin = tuple[RunFolder, subprocess.Popen[bytes]]


async def receive_until(events: AsyncIterator[ev.Event | Snapshot], kind: type[Any]) -> list[Any]:
    """Return the events up to and including the first of a kind."""
    received: list[Any] = []
    async with asyncio.timeout(DEADLINE):
        async for event in events:
            received.append(event)
            if isinstance(event, kind):
                return received
    raise AssertionError(f"the events ended before a {kind.__name__}; received {received}")


def freeze(process: subprocess.Popen[bytes]) -> None:
    """Stop every thread of a process, as if the machine hung."""
    process.send_signal(signal.SIGSTOP)
    threads = Path(f"/proc/{process.pid}/task")
    wait_until(lambda: all(") T " in (thread / "stat").read_text() for thread in threads.iterdir()))


async def all_of(client: RunClient) -> list[Any]:
    """Return all events until the end."""
    async with asyncio.timeout(DEADLINE):
        return [event async for event in client.events()]


async def test_connecting_waits_for_a_starting_worker(standin: Standin) -> None:
    folder, process = standin
    async with connect(folder) as client:
        assert client.live
        assert client.snapshot.state.pid == process.pid
        received = await receive_until(client.events(), ev.MetricsLogged)
        assert received[-1].series["train/loss"].steps


async def test_a_sent_command_returns_once_applied_and_the_end_is_received(standin: Standin) -> None:
    folder, process = standin
    async with connect(folder, by="me@pts/3") as client:
        applied = await client.send(SetLearningRate(factor=0.5))
        assert (applied.by, applied.detail) == ("me@pts/3", "done")
        with pytest.raises(CommandRejectedError, match="must not be 0"):
            await client.send(SetLearningRate(value=0))
        await client.send(StopRun())
        received = await all_of(client)
        assert (received[-1].type, received[-1].status) == ("RunFinished", "stopped")
        assert not client.live
        with pytest.raises(RunError, match="has ended"):
            await client.send(SaveCheckpoint())
        assert await all_of(client) == [], "the events end for a second reader too"
    assert process.wait(DEADLINE) == 0
    assert folder.read_record().status == "stopped"


async def test_no_step_is_missing_between_snapshot_and_events(standin: Standin) -> None:
    folder, _ = standin
    async with connect(folder) as first:
        await receive_until(first.events(), ev.MetricsLogged)
        async with connect(folder) as second:
            steps = list(second.snapshot.history["train/loss"].steps)
            await second.send(StopRun())
            for event in await all_of(second):
                if isinstance(event, ev.MetricsLogged):
                    steps += event.series["train/loss"].steps
    assert steps == [*range(1, len(steps) + 1)]


async def test_a_killed_worker_is_lost_and_its_files_remain(standin: Standin) -> None:
    folder, process = standin
    async with connect(folder) as client:
        await receive_until(client.events(), ev.MetricsLogged)
        process.kill()
        process.wait()
        lost = (await receive_until(client.events(), ev.RunLost))[-1]
        assert str(process.pid) in lost.reason
        assert not client.live
    async with connect(folder) as archived:
        assert (archived.live, archived.snapshot.state.status) == (False, "lost")
        assert archived.snapshot.state.step > 0
        assert await all_of(archived) == []
        with pytest.raises(RunError, match="is lost"):
            await archived.send(PauseRun())


async def test_a_command_that_a_dead_worker_cannot_answer_fails(standin: Standin) -> None:
    folder, process = standin
    async with connect(folder) as client:
        freeze(process)
        sent = asyncio.create_task(client.send(SaveCheckpoint()))
        await asyncio.sleep(0)
        process.kill()
        with pytest.raises(RunError, match="before the command was applied"):
            await asyncio.wait_for(sent, DEADLINE)


async def test_connecting_does_not_wait_for_a_worker_that_died_early(
    tmp_path: Path, socket_root: Path
) -> None:
    folder = make_folder(tmp_path, **running(socket=str(socket_root / "gone.sock")))
    async with asyncio.timeout(DEADLINE), connect(folder) as client:
        assert client.snapshot.state.status == "lost"


async def test_after_a_reconnection_there_is_a_new_snapshot(served: Served) -> None:
    served.event_queue.emit(STARTED)
    async with connect(served.folder) as client:
        sent = asyncio.create_task(client.send(SaveCheckpoint()))
        id, command, by = await asyncio.to_thread(served.commands.taken.get, timeout=DEADLINE)
        wire_of(client)._writer.transport.abort()
        log_steps(served.event_queue, 1, 9)
        snapshot = (await receive_until(client.events(), Snapshot))[-1]
        assert client.snapshot is snapshot
        served.event_queue.emit(ev.CommandApplied(id=id, command=command, step=9, by=by))
        assert (await asyncio.wait_for(sent, DEADLINE)).step == 9
        served.event_queue.emit(FINISHED)
        received = await all_of(client)
        assert isinstance(received[-1], ev.RunFinished)
    assert served.commands.taken.empty(), "the command was queued once"


async def test_an_end_that_was_not_received_is_read_from_the_files(tmp_path: Path) -> None:
    with Served(make_folder(tmp_path)) as served:
        served.event_queue.emit(STARTED)
        async with connect(served.folder) as client:
            wire_of(client)._writer.transport.pause_reading()  # type: ignore[attr-defined]
            served.event_queue.emit(FINISHED)
            wait_until(lambda: served.folder.load_record().status == "finished")
            wire_of(client)._writer.transport.abort()
            ended = (await all_of(client))[-1]
            assert isinstance(ended, Snapshot)
            assert (ended.state.status, client.live) == ("finished", False)


async def test_a_cancelled_close_still_closes_the_connection(served: Served) -> None:
    served.event_queue.emit(STARTED)
    async with connect(served.folder) as client:
        leaving = asyncio.create_task(live_client_of(client).close())
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait({leaving})
        assert leaving.cancelled()
        assert wire_of(client)._writer.transport.is_closing()


async def test_a_run_that_is_now_live_elsewhere_has_not_ended(
    standin: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, process = standin
    async with connect(folder) as client:
        monkeypatch.setattr(
            RunFolder,
            "read_record",
            lambda self: replace(self.load_record(), host="elsewhere", boot_id=""),
        )
        process.kill()
        with pytest.raises(RunError, match=f"{folder.name} is now live on elsewhere"):
            await all_of(client)


async def test_an_unexpected_error_is_raised_instead_of_an_end(
    standin: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> Snapshot:
        raise OSError(errno.EIO, "Input/output error")

    folder, process = standin
    async with connect(folder) as client:
        monkeypatch.setattr(patient_reading, "read_snapshot", fails)
        monkeypatch.setattr(
            RunFolder, "read_record", lambda self: replace(self.load_record(), status="finished")
        )
        process.kill()
        with pytest.raises(OSError, match="Input/output"):
            await all_of(client)


async def test_a_socket_held_open_by_a_child_does_not_hide_the_end_of_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_client, "SILENCE_SECONDS", 0.1)
    folder = make_folder(tmp_path)
    process = start_standin(folder, "--with-child")
    try:
        async with connect(folder) as client:
            child = int(wait_until(lambda: folder.log_file.read_text().partition("child ")[2].strip()))
            await receive_until(client.events(), ev.MetricsLogged)
            process.kill()
            process.wait()
            assert isinstance((await receive_until(client.events(), ev.RunLost))[-1], ev.RunLost)
            os.kill(child, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()


async def test_a_run_on_another_machine_is_followed_in_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded_client, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(event_store, "PERIOD", 0.0)  # each drain records the points
    folder, queue = make_folder(tmp_path), EventQueue()
    there = EventStore(folder, RunState(name=folder.name, folder=str(folder.path)), queue)
    monkeypatch.setattr(RunFolder, "read_record", lambda self: replace(self.load_record(), host="elsewhere"))
    folder.log_file.write_text("a line\nanother\n")
    record(there, queue, STARTED)
    async with connect(folder) as client:
        assert (client.live, client.snapshot.state.status) == (True, "running")
        assert [line.message for line in client.snapshot.state.log] == ["a line", "another"]
        with pytest.raises(RunError, match=r"PauseRun cannot be sent: .* on elsewhere and takes"):
            await client.send(PauseRun())
        record(there, queue, *(point(step) for step in range(1, 4)))
        events = client.events()
        received = [await anext(events) for _ in range(3)]
        assert [event.step for event in received if isinstance(event, ev.MetricsLogged)] == [1, 2, 3]
        record(there, queue, ev.RunPaused(step=3))
        paused = (await receive_until(events, Snapshot))[-1]
        assert (paused.state.status, paused.state.step) == ("paused", 3)
        record(there, queue, FINISHED)
        assert [end.state.status for end in [event async for event in events]] == ["finished"]
        assert not client.live
    there.close()


def record(store: EventStore, queue: EventQueue, *items: ev.Event | MetricsPoint) -> None:
    """Record events in the store of another machine."""
    for item in items:
        if isinstance(item, MetricsPoint):
            queue.log(item)
        else:
            queue.emit(item)
    store.drain()


async def test_reading_stops_when_connecting_is_cancelled(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, status="finished")
    line = b'{"seq":1,"step":1,"epoch":1,"time":1,"kind":"train","active_seconds":1,"train/loss":1}\n'
    folder.metrics_file.write_bytes(line * (10 * BLOCK_BYTES // len(line)))
    fractions: list[float] = []
    is_cancelled = threading.Event()

    def progress(fraction: float) -> None:
        fractions.append(fraction)
        is_cancelled.wait(DEADLINE)

    connecting = asyncio.create_task(connect(folder, progress=progress).__aenter__())
    await asyncio.to_thread(wait_until, lambda: fractions)
    connecting.cancel()
    await asyncio.wait({connecting})
    is_cancelled.set()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert len(fractions) == 1


async def test_a_read_only_client_receives_events_and_sends_nothing(served: Served) -> None:
    served.event_queue.emit(STARTED)
    async with connect(served.folder, read_only=True) as client:
        assert client.live
        with pytest.raises(RunError, match="PauseRun cannot be sent: attached read-only"):
            await client.send(PauseRun())
        log_steps(served.event_queue, 1, 3)
        assert (await receive_until(client.events(), ev.MetricsLogged))[-1].step == 3
    assert served.commands.taken.empty()


@pytest.mark.parametrize("protocol", [0, PROTOCOL_VERSION + 1])
async def test_a_run_with_another_protocol_is_followed_in_its_files_with_the_reason(
    served: Served, protocol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded_client, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(client_manager, "PROTOCOL_VERSION", protocol)
    monkeypatch.setattr(client_manager, "OLDEST_PROTOCOL", protocol)
    served.event_queue.emit(STARTED)
    wait_until(lambda: served.folder.load_record().status == "running")
    async with connect(served.folder) as client:
        assert client.live
        assert f"uses protocol {protocol}" in client.read_only
        with pytest.raises(RunError, match="torchconsole 0"):
            await client.send(PauseRun())
        log_steps(served.event_queue, 1, 3)
        assert isinstance((await receive_until(client.events(), ev.MetricsLogged))[-1], ev.MetricsLogged)


async def test_events_of_later_versions_are_ignored(served: Served) -> None:
    served.event_queue.emit(STARTED)
    async with connect(served.folder) as client:
        for line in (b'{"type":"EarthShaken"}', b'{"type":"RunPaused","step":3,"seq":3}'):
            send_raw(served, line + b"\n")
        received = await receive_until(client.events(), ev.RunPaused)
        assert received[-1].step == 3


def send_raw(served: Served, line: bytes) -> None:
    """Make the worker's server send a line to its only client."""
    (connection,) = served.server._clients._connections
    served.server._loop.call_soon_threadsafe(connection._writer.write, line)


async def test_a_live_worker_that_does_not_answer_is_reported(
    tmp_path: Path, standin: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, process = standin
    async with connect(folder):
        freeze(process)
    monkeypatch.setattr(live_client, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr("torchconsole.engine.client.wire.HELLO_SECONDS", 0.2)
    # It is to look busy, as in a call of native code that never returns.
    monkeypatch.setattr(RunRecord, "suspended_by", "")
    with pytest.raises(RunError, match="does not answer"):
        async with connect(folder):
            pass


async def test_a_run_that_becomes_live_while_it_is_looked_at_is_connected_to(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.event_queue.emit(STARTED)
    wait_until(lambda: served.folder.load_record().status == "running")
    looks = iter([False])

    async def late(folder: RunFolder, by: str) -> Any:
        return await live_client.open_connection(folder, by) if next(looks, True) else None

    monkeypatch.setattr("torchconsole.engine.client.client.open_connection", late)
    async with connect(served.folder) as client:
        assert (client.live, client.read_only) == (True, "")
        assert live_client_of(client)


async def test_a_suspended_worker_is_followed_again_once_it_continues(
    standin: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded_client, "POLL_SECONDS", 0.02)
    folder, process = standin
    async with connect(folder):
        freeze(process)
    async with connect(folder) as client:
        assert client.read_only.startswith("suspended (SIGSTOP)")
        with pytest.raises(RunError, match="kill -CONT"):
            await client.send(PauseRun())
        process.send_signal(signal.SIGCONT)
        async with asyncio.timeout(DEADLINE):
            async for event in client.events():
                if isinstance(event, Snapshot):
                    break
            assert (client.live, client.read_only) == (True, "")
            await client.send(StopRun())


async def test_a_worker_that_is_suspended_again_is_waited_for(
    standin: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is awake for a moment, and does not answer in it."""
    monkeypatch.setattr(recorded_client, "POLL_SECONDS", 0.02)
    monkeypatch.setattr("torchconsole.engine.client.wire.HELLO_SECONDS", 0.1)
    folder, process = standin
    async with connect(folder):
        freeze(process)
    looks = iter(["SIGSTOP", "", "", "SIGSTOP", "SIGSTOP"])
    monkeypatch.setattr(RunRecord, "suspended_by", property(lambda _: next(looks, "")))
    async with connect(folder) as client:
        events = client.events()
        async with asyncio.timeout(DEADLINE):
            assert isinstance(await anext(events), Snapshot)
            assert client.read_only.startswith("suspended (SIGSTOP)")
            process.send_signal(signal.SIGCONT)
            while client.read_only:
                await anext(events)


async def test_the_sender_is_named_after_user_and_terminal(served: Served) -> None:
    served.event_queue.emit(STARTED)
    async with connect(served.folder) as client:
        sent = asyncio.create_task(client.send(SaveCheckpoint()))
        id, command, by = await asyncio.to_thread(served.commands.taken.get, timeout=DEADLINE)
        served.event_queue.emit(ev.CommandApplied(id=id, command=command, step=1, by=by))
        assert (await sent).by.split("@")[0]


async def test_a_folder_that_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run folder"):
        async with connect(RunFolder(tmp_path)):
            pass


async def test_a_disk_that_hangs_does_not_stop_a_live_client(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker answers through its socket, and the event loop does not wait for the disk."""
    monkeypatch.setattr(live_client, "SILENCE_SECONDS", 0.02)
    monkeypatch.setattr(patience, "SECONDS", 0.05)
    monkeypatch.setattr(server, "TELEMETRY_SECONDS", 10)
    answer = threading.Event()
    async with connect(served.folder) as client:
        monkeypatch.setattr(RunFolder, "read_record", lambda folder: answer.wait())
        await asyncio.sleep(0.2)
        assert client.live
        served.event_queue.emit(STARTED)
        await receive_until(client.events(), ev.RunStarted)
    answer.set()


async def test_a_run_whose_disk_was_away_is_followed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded_client, "POLL_SECONDS", 0.01)
    folder = make_folder(tmp_path / "mount" / "runs", **running(host="elsewhere", boot_id="x"))
    async with connect(folder) as client:
        (tmp_path / "mount").rename(tmp_path / "away")
        following = asyncio.create_task(receive_until(client.events(), Snapshot))
        await asyncio.sleep(0.1)
        assert not following.done()
        (tmp_path / "away").rename(tmp_path / "mount")
        folder.write_record(replace(folder.load_record(), status="finished"))
        assert (await following)[-1].state.status == "finished"


async def test_connecting_to_a_disk_that_hangs_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "SECONDS", 0.05)
    folder = make_folder(tmp_path, status="finished")
    answer = threading.Event()
    monkeypatch.setattr(RunFolder, "read_record", lambda folder: answer.wait())
    with pytest.raises(UnreachableError, match="does not answer"):
        async with connect(folder):
            pass
    answer.set()

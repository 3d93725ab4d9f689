"""The worker's server over a real socket: greetings, snapshots, events and commands."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from pathlib import Path

import pytest

from tests.support.runs import (
    DEADLINE,
    FINISHED,
    STARTED,
    Served,
    log_steps,
    make_folder,
    raw_client,
    wait_until,
)
from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol import PROTOCOL_VERSION
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import Command, PauseRun, SetLearningRate, StopRun
from torchconsole.engine.protocol.messages import CommandRequest, Snapshot, WorkerHello
from torchconsole.engine.run.liveness import lock_holder
from torchconsole.engine.run.sockets import listen, socket_address


def request(id: str, command: Command | None = None) -> CommandRequest:
    return CommandRequest(id=id, command=command or PauseRun())


async def test_a_client_gets_everything_once_and_in_order(served: Served) -> None:
    served.event_queue.emit(STARTED)
    log_steps(served.event_queue, 1, 40)
    async with raw_client(served.address) as client:
        hello = await client.receive()
        assert isinstance(hello, WorkerHello)
        assert (hello.protocol, hello.run, hello.pid) == (PROTOCOL_VERSION, served.folder.name, os.getpid())
        snapshot = await client.receive()
        assert isinstance(snapshot, Snapshot)
        log_steps(served.event_queue, 41, 60)
        served.event_queue.emit(FINISHED)
        heard = await client.receive_until(ev.RunFinished)
    steps = list(snapshot.history["train/loss"].steps) if snapshot.history else []
    for event in heard:
        if isinstance(event, ev.MetricsLogged):
            steps += event.series["train/loss"].steps
    assert steps == [*range(1, 61)]
    numbers = [event.seq for event in heard if not isinstance(event, ev.TelemetryMeasured)]
    assert numbers == sorted(set(numbers))
    assert numbers[0] > snapshot.state.seq
    assert snapshot.state.status == "running"


async def test_the_snapshot_does_not_know_what_comes_after_it(served: Served) -> None:
    served.event_queue.emit(STARTED)
    async with raw_client(served.address) as client:
        assert isinstance(await client.receive(), WorkerHello)
        served.event_queue.emit(ev.PhaseChanged(phase="saving"))
        snapshot = await client.receive()
        assert isinstance(snapshot, Snapshot)
        assert snapshot.state.phase is None
        assert (await client.receive_until(ev.PhaseChanged))[-1].phase == "saving"


async def test_a_command_is_accepted_then_applied_and_everybody_hears_of_it(served: Served) -> None:
    served.event_queue.emit(STARTED)
    async with raw_client(served.address) as sender, raw_client(served.address) as witness:
        await sender.receive_snapshot()
        await witness.receive_snapshot()
        sender.send(request("c1"))
        accepted = (await sender.receive_until(ev.CommandAccepted))[-1]
        assert accepted.id == "c1"
        assert served.commands.taken.get(timeout=DEADLINE) == ("c1", PauseRun(), "tester@pts/7")
        served.event_queue.emit(ev.RunPaused(step=3))
        served.event_queue.emit(ev.CommandApplied(id="c1", command=PauseRun(), step=3, by="tester@pts/7"))
        for client in (sender, witness):
            heard = await client.receive_until(ev.CommandApplied)
            assert [event.type for event in heard] == ["PauseRequested", "RunPaused", "CommandApplied"]


async def test_five_clients_see_one_order_of_conflicting_commands(served: Served) -> None:
    served.event_queue.emit(STARTED)

    async def converse(name: str) -> list[tuple[str, int]]:
        async with raw_client(served.address) as client:
            await client.receive_snapshot()
            ready.release()
            await all_there.wait()
            for number in range(4):
                client.send(request(f"{name}{number}", SetLearningRate(value=0.1 * (number + 1))))
            heard: list[tuple[str, int]] = []
            while len(heard) < 20:
                event = (await client.receive_until(ev.CommandApplied))[-1]
                heard.append((event.id, event.seq))
            return heard

    ready, all_there = asyncio.Semaphore(0), asyncio.Event()
    clients = [asyncio.create_task(converse(name)) for name in "abcde"]
    for _ in clients:
        await ready.acquire()
    all_there.set()
    for step in range(20):
        id, command, by = await asyncio.to_thread(served.commands.taken.get, timeout=DEADLINE)
        served.event_queue.emit(ev.CommandApplied(id=id, command=command, step=step, by=by))
    orders = await asyncio.gather(*clients)
    assert all(order == orders[0] for order in orders)


async def test_the_same_id_twice_is_queued_once_and_answered_twice(served: Served) -> None:
    served.event_queue.emit(STARTED)
    async with raw_client(served.address) as client, raw_client(served.address) as other:
        await client.receive_snapshot()
        await other.receive_snapshot()
        for _ in range(2):
            client.send(request("c1"))
            assert (await client.receive_until(ev.CommandAccepted))[-1].id == "c1"
        served.event_queue.emit(ev.CommandApplied(id="c1", command=PauseRun(), step=3))
        await other.receive_until(ev.CommandApplied)
        other.send(request("c1"))
        assert (await other.receive_until(ev.CommandApplied))[-1].step == 3
    assert served.commands.taken.qsize() == 1


async def test_a_stop_is_seen_by_all_before_it_happens(served: Served) -> None:
    served.event_queue.emit(STARTED)
    async with raw_client(served.address) as client, raw_client(served.address) as witness:
        await client.receive_snapshot()
        await witness.receive_snapshot()
        client.send(request("c1", StopRun(reason="enough")))
        assert (await witness.receive_until(ev.StopRequested))[-1].reason == "enough"
    assert wait_until(lambda: served.folder.load_record().status == "stopping")


async def test_a_wrong_command_is_rejected_and_the_client_stays(served: Served) -> None:
    async with raw_client(served.address) as client:
        await client.receive_snapshot()
        client.send(b'{"type":"command","id":"c1","command":{"type":"SetLearningRate","value":-1}}\n')
        rejected = (await client.receive_until(ev.CommandRejected))[-1]
        assert rejected.id == "c1"
        assert "greater than or equal to 0" in rejected.reason
        client.send(b'{"type":"command","id":"c2","command":{"type":"FormatDisk"}}\n')
        assert (await client.receive_until(ev.CommandRejected))[-1].id == "c2"
        client.send(request("c3"))
        assert (await client.receive_until(ev.CommandAccepted))[-1].id == "c3"


async def test_a_run_that_has_ended_takes_no_commands(served: Served) -> None:
    served.event_queue.emit(FINISHED)
    async with raw_client(served.address) as client:
        await client.receive_snapshot()
        client.send(request("c1"))
        assert "all epochs done" in (await client.receive_until(ev.CommandRejected))[-1].reason
    assert served.commands.taken.empty()


async def test_a_command_that_nobody_answered_is_rejected_at_the_end(tmp_path: Path) -> None:
    served = Served(make_folder(tmp_path))
    served.lock.acquire()
    served.server.start()
    served.event_queue.emit(STARTED)
    async with raw_client(served.address) as client:
        await client.receive_snapshot()
        client.send(request("c1"))
        await client.receive_until(ev.CommandAccepted)
        log_steps(served.event_queue, 1, 5)
        await asyncio.to_thread(served.server.close)
        heard = await client.receive_until(ev.CommandRejected)
        assert any(isinstance(event, ev.MetricsLogged) for event in heard), "the last metrics came too"
        assert await client.receive() is None
    assert not served.address.exists()
    served.lock.release()


async def test_telemetry_is_measured_while_somebody_watches(served: Served) -> None:
    async with raw_client(served.address) as client:
        await client.receive_snapshot()
        told = (await client.receive_until(ev.TelemetryMeasured))[-1].telemetry
    assert told.process_memory > 10**6
    assert told.memory_total > told.memory_used > 0
    assert told.gpu_percent is None


def test_a_worker_clears_away_the_sockets_of_killed_ones(tmp_path: Path) -> None:
    killed = socket_address(tmp_path / "killed")
    listen(killed).close()
    with Served(make_folder(tmp_path)) as served:
        assert list(killed.parent.iterdir()) == [served.address]


def test_only_the_holder_of_the_lock_may_serve(tmp_path: Path) -> None:
    served = Served(make_folder(tmp_path))
    with pytest.raises(RunError, match="lock"):
        served.server.start()
    assert lock_holder(served.folder.lock_file) is None


def test_the_server_says_everything_it_was_told_before_it_ends(tmp_path: Path) -> None:
    with Served(make_folder(tmp_path)) as served:
        served.event_queue.emit(STARTED)
        log_steps(served.event_queue, 1, 1000)
        served.event_queue.emit(FINISHED)
    record = served.folder.read_record()
    assert (record.status, record.step, record.reason) == ("finished", 1000, "all epochs done")
    assert served.folder.metrics_file.read_bytes().count(b"\n") == 1000


def test_those_in_the_door_when_the_run_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """asyncio would complain in the run's log of every visit that is left standing."""
    folder = make_folder(tmp_path)
    for _ in range(10):
        with Served(folder) as served:
            visitors = [socket.socket(socket.AF_UNIX) for _ in range(8)]
            for visitor in visitors:
                visitor.connect(str(served.address))
        for visitor in visitors:
            visitor.close()
    gc.collect()
    assert not caplog.records

"""The server of a run over a real socket: hellos, snapshots, events and commands."""

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
from torchconsole.engine.protocol.messages import (
    ClientHello,
    CommandRequest,
    Snapshot,
    WorkerHello,
    encode,
)
from torchconsole.engine.run.liveness import lock_holder
from torchconsole.engine.run.sockets import listen_at, socket_address


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
        received = await client.receive_until(ev.RunFinished)
    steps = list(snapshot.history["train/loss"].steps) if snapshot.history else []
    for event in received:
        if isinstance(event, ev.MetricsLogged):
            steps += event.series["train/loss"].steps
    assert steps == [*range(1, 61)]
    numbers = [event.seq for event in received if not isinstance(event, ev.TelemetryMeasured)]
    assert numbers == sorted(set(numbers))
    assert numbers[0] > snapshot.state.seq
    assert snapshot.state.status == "running"


async def test_each_client_is_told_who_else_is_connected(served: Served) -> None:
    served.event_queue.emit(STARTED)
    async with raw_client(served.address, greet=False) as first:
        first.send(encode(ClientHello(by="ann@pts/1")))
        assert isinstance(await first.receive(), WorkerHello)
        assert isinstance(await first.receive(), Snapshot)
        async with raw_client(served.address, greet=False) as second:
            second.send(encode(ClientHello(by="bob@pts/2")))
            received = await second.receive_until(ev.ClientsChanged)
            assert isinstance(received[0], WorkerHello)
            assert received[-1].others == ["ann@pts/1"]
            assert (await first.receive_until(ev.ClientsChanged))[-1].others == ["bob@pts/2"]
        assert (await first.receive_until(ev.ClientsChanged))[-1].others == []


async def test_the_snapshot_precedes_the_events_after_it(served: Served) -> None:
    served.event_queue.emit(STARTED)
    async with raw_client(served.address) as client:
        assert isinstance(await client.receive(), WorkerHello)
        served.event_queue.emit(ev.PhaseChanged(phase="saving"))
        snapshot = await client.receive()
        assert isinstance(snapshot, Snapshot)
        assert snapshot.state.phase is None
        assert (await client.receive_until(ev.PhaseChanged))[-1].phase == "saving"


async def test_a_command_is_accepted_then_applied_and_all_clients_are_informed(served: Served) -> None:
    served.event_queue.emit(STARTED)
    async with raw_client(served.address) as sender, raw_client(served.address) as observer:
        await sender.receive_snapshot()
        await observer.receive_snapshot()
        sender.send(request("c1"))
        accepted = (await sender.receive_until(ev.CommandAccepted))[-1]
        assert accepted.id == "c1"
        assert served.commands.taken.get(timeout=DEADLINE) == ("c1", PauseRun(), "tester@pts/7")
        served.event_queue.emit(ev.RunPaused(step=3))
        served.event_queue.emit(ev.CommandApplied(id="c1", command=PauseRun(), step=3, by="tester@pts/7"))
        for client in (sender, observer):
            received = await client.receive_until(ev.CommandApplied)
            others = ev.TelemetryMeasured | ev.ClientsChanged
            kinds = [event.type for event in received if not isinstance(event, others)]
            assert kinds == ["PauseRequested", "RunPaused", "CommandApplied"]


async def test_all_clients_see_the_same_order_of_conflicting_commands(served: Served) -> None:
    served.event_queue.emit(STARTED)

    async def send_commands(name: str) -> list[tuple[str, int]]:
        async with raw_client(served.address) as client:
            await client.receive_snapshot()
            ready.release()
            await all_there.wait()
            for number in range(4):
                client.send(request(f"{name}{number}", SetLearningRate(value=0.1 * (number + 1))))
            received: list[tuple[str, int]] = []
            while len(received) < 20:
                event = (await client.receive_until(ev.CommandApplied))[-1]
                received.append((event.id, event.seq))
            return received

    ready, all_there = asyncio.Semaphore(0), asyncio.Event()
    clients = [asyncio.create_task(send_commands(name)) for name in "abcde"]
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


async def test_a_requested_stop_is_announced_to_all_clients(served: Served) -> None:
    served.event_queue.emit(STARTED)
    async with raw_client(served.address) as client, raw_client(served.address) as observer:
        await client.receive_snapshot()
        await observer.receive_snapshot()
        client.send(request("c1", StopRun(reason="enough")))
        assert (await observer.receive_until(ev.StopRequested))[-1].reason == "enough"
    assert wait_until(lambda: served.folder.load_record().status == "stopping")


async def test_an_invalid_command_is_rejected_and_the_client_stays_connected(served: Served) -> None:
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


async def test_an_unanswered_command_is_rejected_at_the_end(tmp_path: Path) -> None:
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
        received = await client.receive_until(ev.CommandRejected)
        assert any(isinstance(event, ev.MetricsLogged) for event in received), "the last metrics are sent too"
        assert await client.receive() is None
    assert not served.address.exists()
    served.lock.release()


async def test_telemetry_is_measured_while_a_client_is_connected(served: Served) -> None:
    async with raw_client(served.address) as client:
        await client.receive_snapshot()
        measured = (await client.receive_until(ev.TelemetryMeasured))[-1].telemetry
    assert measured.process_memory > 10**6
    assert measured.memory_total > measured.memory_used > 0
    assert measured.gpus == []
    assert measured.disk_total > measured.disk_free > 0


def test_a_worker_removes_the_sockets_of_killed_workers(tmp_path: Path) -> None:
    killed = socket_address(tmp_path / "killed")
    listen_at(killed).close()
    with Served(make_folder(tmp_path)) as served:
        assert list(killed.parent.iterdir()) == [served.address]


def test_only_the_holder_of_the_lock_may_serve(tmp_path: Path) -> None:
    served = Served(make_folder(tmp_path))
    with pytest.raises(RunError, match="lock"):
        served.server.start()
    assert lock_holder(served.folder.lock_file) is None


def test_closing_the_server_writes_everything(tmp_path: Path) -> None:
    with Served(make_folder(tmp_path)) as served:
        served.event_queue.emit(STARTED)
        log_steps(served.event_queue, 1, 1000)
        served.event_queue.emit(FINISHED)
    record = served.folder.read_record()
    assert (record.status, record.step, record.reason) == ("finished", 1000, "all epochs done")
    assert served.folder.metrics_file.read_bytes().count(b"\n") == 1000


def test_clients_that_connect_at_the_end_leave_no_task(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio would log each pending task in worker.log."""
    folder = make_folder(tmp_path)
    for _ in range(10):
        with Served(folder) as served:
            clients = [socket.socket(socket.AF_UNIX) for _ in range(8)]
            for client in clients:
                client.connect(str(served.address))
        for client in clients:
            client.close()
    gc.collect()
    assert not caplog.records

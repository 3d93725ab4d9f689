"""Conflicting and repeated commands, and clients and workers of other versions."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.faults.channel.conftest import Start, address, next_metrics, start_again
from tests.support.fault_counts import count
from tests.support.runs import lines_of, make_folder, raw_client, wait_until
from torchconsole.engine.client import connect, recorded_client
from torchconsole.engine.protocol import OLDEST_PROTOCOL, PROTOCOL_VERSION
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import PauseRun, SetLearningRate
from torchconsole.engine.protocol.messages import (
    ClientHello,
    CommandRequest,
)
from torchconsole.engine.run.folder import RunFolder
from torchconsole.tui.cli.send import send


async def test_five_clients_see_their_conflicting_commands_in_the_same_order(
    tmp_path: Path, start: Start
) -> None:
    folder = make_folder(tmp_path)
    start(folder)
    each = count(40)

    async def steer(name: str) -> list[tuple[int, int, str]]:
        async with connect(folder, by=name) as client:
            await all_connected.wait()
            sent = [
                client.send(PauseRun() if number % 4 == 3 else SetLearningRate(value=0.1 * (number + 1)))
                for number in range(each)
            ]
            answers = asyncio.gather(*sent)
            received: list[tuple[int, int, str]] = []
            async for event in client.events():
                if isinstance(event, ev.CommandApplied):
                    received.append((event.seq, event.step, event.by))
                if len(received) == 5 * each:
                    break
            assert {answer.by for answer in await answers} == {name}
            return received

    all_connected = asyncio.Barrier(5)
    async with asyncio.timeout(60):
        orders = await asyncio.gather(*(steer(f"{name}@pts/1") for name in "abcde"))
    assert orders.count(orders[0]) == 5
    assert orders[0] == sorted(orders[0])
    journal = [(line["seq"], line["step"], line["by"]) for line in lines_of(folder.journal_file)]
    assert journal == orders[0]
    assert len({by for _, _, by in journal}) == 5


async def test_a_command_sent_twice_is_applied_once(tmp_path: Path, start: Start) -> None:
    folder = make_folder(tmp_path)
    worker = start(folder)
    request = CommandRequest(id="c1", command=SetLearningRate(factor=0.5))
    first = await answer_to(request, folder)
    assert await answer_to(request, folder) == first, "another client"
    worker.kill()
    worker.wait()
    start_again(folder, start)
    assert await answer_to(request, folder) == first, "another worker"
    assert len(lines_of(folder.journal_file)) == 1


async def answer_to(request: CommandRequest, folder: RunFolder) -> ev.CommandApplied:
    """Send a request from a new client; returns the event that answers it."""
    async with raw_client(address(folder)) as client:
        await client.receive_snapshot()
        client.send(request)
        applied = (await client.receive_until(ev.CommandApplied))[-1]
        assert isinstance(applied, ev.CommandApplied)
        return applied


async def test_an_old_client_is_refused_with_the_version_to_use(tmp_path: Path, start: Start) -> None:
    folder = make_folder(tmp_path)
    start(folder)
    async with raw_client(address(folder), greet=False) as client:
        client.send(ClientHello(protocol=OLDEST_PROTOCOL - 1))
        assert re.search(r"attach with torchconsole \d", await client.closing_reason())


async def test_a_newer_worker_is_followed_read_only_with_the_reason(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recorded_client, "POLL_SECONDS", 0.1)
    folder = make_folder(tmp_path)
    start(folder, "--newer")
    newer = PROTOCOL_VERSION + 1
    wait_until(lambda: folder.load_record().status == "running", "the first steps")
    async with connect(folder) as client:
        assert f"the run uses protocol {newer} and the client {PROTOCOL_VERSION}; attach" in client.read_only
        await next_metrics(client)
    assert await asyncio.to_thread(send, str(folder.path), "pause") == 1
    assert f"PauseRun cannot be sent: the run uses protocol {newer}" in capsys.readouterr().err

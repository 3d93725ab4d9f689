"""What workers and clients send to each other, with mutated messages."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from unittest import mock

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.fuzz.target import Target
from tests.support.foreign_runs import check_message
from tests.support.mutations import mutated_bytes, mutated_json
from tests.support.runs import STARTED, Served, make_folder
from torchconsole.engine.client import connect, live_client, wire
from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol.commands import PauseRun
from torchconsole.engine.protocol.messages import ClientHello, CommandRequest, Snapshot, WorkerHello, encode
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.liveness import WorkerLock, lock_id
from torchconsole.engine.run.sockets import listen_at


class WorkerMessages(Target):
    """What a worker sends to a client: a hello, a snapshot, then events."""

    share = 15

    def __init__(self, folder: Path) -> None:
        self._folder = make_folder(folder / "runs", status="running", pid=1)
        self._address = folder / "s" / "x"
        self._lock = WorkerLock(self._folder.lock_file)
        self._lock.acquire()
        record = self._folder.load_record()
        record.socket = str(self._address)
        self._folder.write_record(record)
        state = RunState(name=self._folder.name, folder=str(self._folder.path), status="running")
        hello = WorkerHello(version="0", run=state.name, pid=1, lock=lock_id(self._folder.lock_file))
        messages = [encode(each) for each in (hello, Snapshot(state=state, history={}), STARTED)]
        self.inputs = st.one_of(mutated_bytes(b"".join(messages)), _mutated_messages(messages))

    def use(self, given: bytes) -> bool:
        with (
            mock.patch.object(live_client, "CONNECT_SECONDS", 0.02),
            mock.patch.object(live_client, "RECONNECT_SECONDS", 0.0),
            mock.patch.object(wire, "HELLO_SECONDS", 0.2),
        ):
            return asyncio.run(self._attach(given))

    async def _attach(self, given: bytes) -> bool:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(given)
            writer.close()

        server = await asyncio.start_unix_server(answer, sock=listen_at(self._address))
        try:
            async with connect(self._folder) as client:
                if client.read_only:  # it follows the run's files, which do not end
                    return False
                async for message in client.events():
                    if isinstance(message, Snapshot):  # of the next connection
                        break
                return True
        except RunError as error:
            check_message(str(error))
            return False
        finally:
            server.close()


def _mutated_messages(messages: list[bytes]) -> SearchStrategy[bytes]:
    """Lines of which some have other values."""
    lines = (st.one_of(st.just(line.rstrip()), mutated_json(json.loads(line))) for line in messages)
    return st.tuples(*lines).map(lambda lines: b"".join(line + b"\n" for line in lines))


class ClientMessages(Target):
    """What a client sends to a worker, which goes on serving others."""

    share = 15

    def __init__(self, folder: Path) -> None:
        self._served = Served(make_folder(folder / "runs"))
        self._served.__enter__()
        messages = [encode(ClientHello(by="me")), encode(CommandRequest(id="1", command=PauseRun()))]
        self.inputs = st.one_of(mutated_bytes(b"".join(messages)), _mutated_messages(messages))

    def use(self, given: bytes) -> bool:
        return asyncio.run(self._send(given))

    async def _send(self, given: bytes) -> bool:
        reader, writer = await asyncio.open_unix_connection(str(self._served.address))
        writer.write(given)
        writer.write_eof()
        answers = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        assert await self._served.is_serving()
        return b'"fault"' not in answers

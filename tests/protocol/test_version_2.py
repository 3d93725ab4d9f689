"""Compatibility with protocol 2: messages of the first clients and workers of this version are understood.

The lines in v2/ are never changed; each kind of message that is added later gets another line.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.support.runs import STARTED, Served, make_folder, raw_client
from torchconsole.engine.protocol import OLDEST_PROTOCOL
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import Command
from torchconsole.engine.protocol.events import Event
from torchconsole.engine.protocol.messages import (
    CLIENT_MESSAGE,
    WORKER_MESSAGE,
    CommandRequest,
    Snapshot,
    WorkerHello,
    encode,
)
from torchconsole.engine.protocol.run_state import History, RunState, apply

V2 = Path(__file__).with_name("v2")
CLIENT = (V2 / "client.jsonl").read_bytes().splitlines(keepends=True)
WORKER = (V2 / "worker.jsonl").read_bytes().splitlines(keepends=True)
ADDED = (V2 / "worker-added.jsonl").read_bytes().splitlines(keepends=True)
"""Kinds of messages that were added later; they are not part of the run in WORKER."""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A run that is served in this process."""
    with tempfile.TemporaryDirectory(prefix="tc-", dir="/tmp") as root:
        monkeypatch.setenv("TORCHCONSOLE_SOCKETS", root)
        with Served(make_folder(tmp_path)) as served:
            yield served


def contains(now: Any, then: Any) -> bool:
    """Return whether every value in `then` is unchanged in `now`, which may have additional keys."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(name in now and contains(now[name], then[name]) for name in then)
    if isinstance(then, list):
        return isinstance(now, list) and len(now) == len(then) and all(map(contains, now, then))
    return bool(now == then)


def kind(line: bytes) -> str:
    """Return the type of the message or command in a line, as the test's name."""
    found = json.loads(line)
    return str(found.get("command", found)["type"])


def kinds_of(union: Any) -> set[str]:
    """Return the types of the members of an annotated union."""
    members, _ = get_args(union)
    return {member.model_fields["type"].default for member in get_args(members)}


def test_every_kind_of_message_has_a_line() -> None:
    """A command that clients do not send to a live run occurs in an event that it was applied."""
    types = {json.loads(line)["type"] for line in (*WORKER, *ADDED)}
    assert types == {"hello", "snapshot", "fault", *kinds_of(Event)}
    assert {kind(line) for line in (*CLIENT[1:], *ADDED)} >= kinds_of(Command)


def test_version_2_is_the_oldest_that_is_accepted() -> None:
    assert OLDEST_PROTOCOL == 2


@pytest.mark.parametrize("line", [*WORKER, *ADDED], ids=kind)
def test_the_messages_of_an_old_worker_are_read_and_written_unchanged(line: bytes) -> None:
    message = WORKER_MESSAGE.validate_json(line)
    assert contains(json.loads(encode(message)), json.loads(line))


@pytest.mark.parametrize("line", CLIENT, ids=kind)
def test_the_messages_of_an_old_client_are_read_and_written_unchanged(line: bytes) -> None:
    message = CLIENT_MESSAGE.validate_json(line)
    assert contains(json.loads(encode(message)), json.loads(line))


async def test_an_old_client_is_served(served: Served) -> None:
    served.event_queue.emit(STARTED)
    async with raw_client(served.address, greet=False) as client:
        client.send(b"".join(CLIENT))
        hello = await client.receive()
        assert isinstance(hello, WorkerHello)
        assert hello.protocol == 2
        assert isinstance(await client.receive(), Snapshot)
        for line in CLIENT[1:]:
            accepted = (await client.receive_until(ev.CommandAccepted))[-1]
            assert accepted.id == json.loads(line)["id"]
    taken = [served.commands.taken.get_nowait() for _ in CLIENT[1:]]
    sent = [CommandRequest.model_validate_json(line) for line in CLIENT[1:]]
    assert taken == [(request.id, request.command, "me@pts/1") for request in sent]


def test_the_events_of_an_old_worker_fold_into_its_state() -> None:
    _, snapshot, *events, _ = [WORKER_MESSAGE.validate_json(line) for line in WORKER]
    assert isinstance(snapshot, Snapshot)
    then = snapshot.state
    about = {name: getattr(then, name) for name in ("name", "folder", "preset", "title", "config")}
    state = RunState(**about, pid=then.pid, host=then.host, created=then.created)
    history: History = {}
    for event in events:
        if not isinstance(event, ev.RunFinished | ev.RunFailed | ev.RunLost):
            apply(state, history, event)
    assert contains(json.loads(state.model_dump_json()), json.loads(WORKER[1])["state"])
    assert {name: series.to_points() for name, series in history.items()} == snapshot.history

"""The event stream has every event of a run once, from the first one on, despite lost connections."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

from tests.support.runs import (
    DEADLINE,
    FINISHED,
    STARTED,
    Served,
    lines_of,
    log_steps,
    make_folder,
    point,
    wait_until,
)
from torchconsole.engine.client import event_stream
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import PauseRun, UnknownCommand
from torchconsole.engine.run.folder import RunFolder

APPLIED = ev.CommandApplied(id="c1", command=PauseRun(), step=20, by="me@pts/1")
EVALUATED = ev.EvaluationCompleted(step=20, epoch=1, metrics={"val/loss": 0.2}, seconds=0.5)


def emit_training(served: Served) -> None:
    served.event_queue.emit(STARTED)
    log_steps(served.event_queue, 1, 20)
    served.event_queue.emit(EVALUATED)
    served.event_queue.emit(ev.LogWritten(message="not in the lines"))
    served.event_queue.emit(APPLIED)
    served.event_queue.log(point(21, loss=math.nan))


async def events_of(folder: RunFolder, *, follow: bool) -> list[ev.Event]:
    async with asyncio.timeout(DEADLINE):
        return [event async for event in event_stream(folder, follow=follow)]


async def take_until(events: AsyncIterator[ev.Event], step: int) -> list[ev.Event]:
    received: list[ev.Event] = []
    async with asyncio.timeout(DEADLINE):
        async for event in events:
            received.append(event)
            if isinstance(event, ev.MetricsLogged) and event.step == step:
                return received
    raise AssertionError(f"the events ended before step {step}")


async def test_past_events_are_read_from_the_files(tmp_path: Path) -> None:
    with Served(make_folder(tmp_path)) as served:
        emit_training(served)
        served.event_queue.emit(FINISHED)
    received = await events_of(served.folder, follow=False)
    assert [event.type for event in received] == [
        *["MetricsLogged"] * 20,
        "EvaluationCompleted",
        "CommandApplied",
        "MetricsLogged",
        "RunFinished",
    ]
    assert [event.seq for event in received] == [*range(2, 23), 24, 25, 26]
    assert received[-1] == FINISHED.model_copy(update={"seq": 26, "time": received[-1].time})
    assert isinstance(received[-2], ev.MetricsLogged)
    assert received[-2].series["train/loss"].nonfinite == {0: "nan"}
    assert await events_of(served.folder, follow=True) == received


async def test_no_event_is_missing_between_past_and_present(served: Served) -> None:
    emit_training(served)
    events = event_stream(served.folder)
    received = await take_until(events, 21)
    log_steps(served.event_queue, 22, 30)
    served.event_queue.emit(ev.LogWritten(message="live"))
    served.event_queue.emit(FINISHED)
    received += [event async for event in events]
    numbers = [event.seq for event in received if not isinstance(event, ev.TelemetryMeasured)]
    assert numbers == [*range(2, 23), *range(24, 37)]
    assert [event.type for event in received[-2:]] == ["LogWritten", "RunFinished"]


async def test_a_slow_reader_gets_every_step(served: Served) -> None:
    served.event_queue.emit(STARTED)
    events = event_stream(served.folder)
    log_steps(served.event_queue, 1, 5)
    received = await take_until(events, 5)
    for first in range(6, 3006, 500):
        log_steps(served.event_queue, first, first + 499)
        await asyncio.to_thread(wait_until, lambda last=first + 499: served_steps(served) == last)
    received += await take_until(events, 3005)
    steps = [event.step for event in received if isinstance(event, ev.MetricsLogged)]
    assert steps == [*range(1, 3006)]


def served_steps(served: Served) -> int:
    return int(lines_of(served.folder.metrics_file)[-1]["step"])


async def test_no_event_is_missing_after_a_reconnection(served: Served) -> None:
    served.event_queue.emit(STARTED)
    events = event_stream(served.folder)
    log_steps(served.event_queue, 1, 5)
    received = await take_until(events, 5)
    for connection in list(served.server._clients._connections):
        served.server._loop.call_soon_threadsafe(connection._drop)
    log_steps(served.event_queue, 6, 50)
    served.event_queue.emit(EVALUATED)
    log_steps(served.event_queue, 51, 60)
    received += await take_until(events, 60)
    numbers = [event.seq for event in received if event.seq]
    assert all(after == before + 1 for before, after in pairwise(numbers))


async def test_commands_of_later_versions_are_included(served: Served) -> None:
    emit_training(served)
    wait_until(lambda: served.folder.journal_file.exists() and lines_of(served.folder.journal_file))
    text = served.folder.journal_file.read_text().replace('"PauseRun"', '"PourCoffee","cups":2')
    served.folder.journal_file.write_text(text)
    (applied,) = [
        event
        for event in await events_of(served.folder, follow=False)
        if isinstance(event, ev.CommandApplied)
    ]
    assert isinstance(applied.command, UnknownCommand)
    assert applied.command.model_dump() == {"type": "PourCoffee", "cups": 2}

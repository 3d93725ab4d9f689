"""The console's link to a run where no screen is there to look first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.scripted import BEGINNING, ScriptedRun
from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.recorded_history import Progress
from torchconsole.tui.run_session import RunSession
from torchconsole.tui.state import ConsoleState, Notice

STOPPED = ev.RunFinished(status="stopped", reason="asked to stop", step=97, epoch=5)


@pytest.mark.parametrize(
    ("said", "fault", "why"),
    [
        ([STOPPED], None, "the run was stopped"),
        ([], RunError("it does not answer"), "the connection was lost"),
    ],
)
async def test_a_command_that_comes_after_the_end_is_refused(
    said: list[ev.Event], fault: Exception | None, why: str
) -> None:
    run = ScriptedRun(*BEGINNING)
    state = ConsoleState(RunState(name="r", folder="/r"))
    link = RunSession(run.open, state, lambda: None)
    run.emit(*said)
    run.hang_up(fault)
    await link.follow()
    await link.send(cmd.SetLearningRate(factor=0.5))
    assert state.notice == Notice(f"lr x0.5 not applied: {why}", "bad")
    assert state.pending == []
    assert run.commands == []


async def test_progress_is_shown_while_long_files_are_read() -> None:
    run = ScriptedRun(*BEGINNING)
    state = ConsoleState(RunState(name="r", folder="/r"))
    shown: list[ev.PhaseChanged | None] = []

    @asynccontextmanager
    async def read_slowly(progress: Progress) -> AsyncIterator[ScriptedRun]:
        for part in (0.25, 0.5):
            await asyncio.to_thread(progress, part)
        async with run.open(progress) as client:
            yield client

    run.hang_up()
    await RunSession(read_slowly, state, lambda: shown.append(state.slow_phase)).follow()
    reported = [phase and (phase.phase, phase.done, phase.total, phase.unit) for phase in shown[:2]]
    assert reported == [("reading metrics", 25, 100, "%"), ("reading metrics", 50, 100, "%")]
    assert state.run.phase is None or state.run.phase.phase != "reading metrics"


async def test_a_client_that_is_slow_to_close_does_not_take_the_next_one_along() -> None:
    run = ScriptedRun(*BEGINNING)
    may_close = asyncio.Event()

    @asynccontextmanager
    async def close_slowly(progress: Progress) -> AsyncIterator[ScriptedRun]:
        async with run.open(progress) as client:
            try:
                yield client
            finally:
                await may_close.wait()

    state = ConsoleState(RunState(name="r", folder="/r"))
    link = RunSession(close_slowly, state, lambda: None)
    first = asyncio.create_task(link.follow())
    await asyncio.sleep(0)
    first.cancel()
    second = asyncio.create_task(link.follow())
    await asyncio.sleep(0)
    may_close.set()
    await asyncio.wait({first})
    sent = asyncio.create_task(link.send(cmd.PauseRun()))
    await asyncio.sleep(0)
    assert run.commands == [cmd.PauseRun()]
    for task in (second, sent):
        task.cancel()
    await asyncio.wait({second, sent})

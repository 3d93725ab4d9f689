"""The console's connection to a run, tested without a screen."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.scripted import BEGINNING, ScriptedRun
from torchconsole.engine.client.launcher import StartedRun
from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.recorded_history import Progress
from torchconsole.tui.run_session import RunSession
from torchconsole.tui.state import ConsoleState, Notice

STOPPED = ev.RunFinished(status="stopped", reason="asked to stop", step=97, epoch=5)


@pytest.mark.parametrize(
    ("events", "error", "reason"),
    [
        ([STOPPED], None, "the run was stopped"),
        ([], RunError("it does not answer"), "the connection was lost"),
    ],
)
async def test_a_command_sent_after_the_end_is_not_applied_and_the_notice_gives_the_reason(
    events: list[ev.Event], error: Exception | None, reason: str
) -> None:
    run = ScriptedRun(*BEGINNING)
    state = ConsoleState(RunState(name="r", folder="/r"))
    session = RunSession(run.open, state, lambda: None)
    run.emit(*events)
    run.hang_up(error)
    await session.follow()
    await session.send(cmd.SetLearningRate(factor=0.5))
    assert state.notice == Notice(f"lr x0.5 not applied: {reason}", "bad")
    assert state.pending == []
    assert run.commands == []


async def test_the_state_shows_the_progress_of_reading_long_files() -> None:
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


async def test_a_client_that_closes_slowly_does_not_disable_the_next_one() -> None:
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
    session = RunSession(close_slowly, state, lambda: None)
    first = asyncio.create_task(session.follow())
    await asyncio.sleep(0)
    first.cancel()
    second = asyncio.create_task(session.follow())
    await asyncio.sleep(0)
    may_close.set()
    await asyncio.wait({first})
    sent = asyncio.create_task(session.send(cmd.PauseRun()))
    await asyncio.sleep(0)
    assert run.commands == [cmd.PauseRun()]
    for task in (second, sent):
        task.cancel()
    await asyncio.wait({second, sent})


@pytest.fixture
def started() -> Iterator[StartedRun]:
    """A run with a process in place of its worker."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield StartedRun(RunFolder(Path("/r")), process)
        process.kill()


@pytest.mark.parametrize("is_own_worker", [True, False])
async def test_a_lost_run_shows_what_killed_the_worker_that_this_process_has_started(
    started: StartedRun, is_own_worker: bool
) -> None:
    run, changed = ScriptedRun(*BEGINNING), asyncio.Event()
    state = ConsoleState(RunState(name="r", folder="/r"))
    if not is_own_worker:
        started.process.kill()
        started.process.wait()
    following = asyncio.create_task(RunSession(run.open, state, changed.set, started).follow())
    await changed.wait()
    started.process.kill()
    run.emit(ev.RunLost(reason="no end was recorded"))
    run.hang_up()
    await following
    killed_by = "killed by SIGKILL: " if is_own_worker else ""
    assert (state.run.status, state.run.reason) == ("lost", f"{killed_by}no end was recorded")


async def test_a_command_is_pending_until_it_is_answered() -> None:
    run, changed = ScriptedRun(*BEGINNING), asyncio.Event()
    state = ConsoleState(RunState(name="r", folder="/r"))
    session = RunSession(run.open, state, changed.set)
    following = asyncio.create_task(session.follow())
    await changed.wait()
    answers: dict[Callable[[], None], Notice] = {
        lambda: run.answer(97, "paused"): Notice("paused · applied at step 97", "good"),
        lambda: run.reject("the run is stopping"): Notice("pause rejected: the run is stopping", "bad"),
        lambda: run.fail_to_answer(RunError("gone")): Notice("pause not applied: gone", "bad"),
    }
    for respond, notice in answers.items():
        run.commands.clear()
        sending = asyncio.create_task(session.send(cmd.PauseRun()))
        assert (state.pending, state.notice) == ([cmd.PauseRun()], Notice("pause requested", "attn"))
        await asyncio.sleep(0)
        assert run.commands == [cmd.PauseRun()]
        respond()
        await sending
        assert (state.pending, state.notice) == ([], notice)
    run.hang_up()
    await following

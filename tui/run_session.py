"""The console's connection to a run: its events update the console's state, and commands are sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchconsole.engine.errors import CommandRejectedError, RunError, TorchconsoleError, UnreachableError
from torchconsole.engine.protocol.commands import Command
from torchconsole.engine.protocol.events import RunFailed, RunFinished, RunLost
from torchconsole.tui.state import ConsoleState

if TYPE_CHECKING:
    from torchconsole.engine.client.client import RunClient
    from torchconsole.engine.client.launcher import StartedRun
    from torchconsole.engine.run.folder import RunFolder
    from torchconsole.engine.run.record import RunRecord
    from torchconsole.engine.run.recorded_history import Progress

OpenClient = Callable[["Progress"], AbstractAsyncContextManager["RunClient"]]
"""Opens one connection to a run. Entering it may take long, and raise TorchconsoleError or OSError."""

RESUMABLE = ("stopped", "failed", "lost", "interrupted")

LOOK_SECONDS = 2.0
"""Interval of the checks whether a run that has ended was resumed."""


class RunSession:
    """Keeps a `ConsoleState` up to date, and calls `on_change` after each change of it.

    `started` is the run's worker if this process has started it: only then the session learns what killed it.
    """

    def __init__(
        self,
        open_client: OpenClient,
        state: ConsoleState,
        on_change: Callable[[], None],
        started: StartedRun | None = None,
    ) -> None:
        self._open_client = open_client
        self._state = state
        self._on_change = on_change
        self._started = started
        self._client: RunClient | None = None

    async def follow(self) -> None:
        """Connect, and receive events until the run or the connection ends.

        An error is shown in the state, not raised.
        """
        loop = asyncio.get_running_loop()
        try:
            async with self._open_client(
                lambda part: loop.call_soon_threadsafe(self._show_progress, part)
            ) as client:
                await self._receive_events(client)
        except (TorchconsoleError, OSError) as error:
            if (reason := await self._find_refusal()) is not None:
                anyway = self._started is not None and self._started.can_start_anyway
                self._state.receive(RunFailed(reason=reason, user_error=True, can_start_anyway=anyway))
                self._state.disconnect("")
            else:
                self._state.disconnect(str(error))
        else:
            if client.live:
                self._state.disconnect("")
        self._on_change()
        if self._state.run.status in RESUMABLE:
            await self._find_checkpoint()
        if self._state.run.status == "lost":
            await self._read_last_output()

    async def _read_last_output(self) -> None:
        """Read what a worker printed as it died, for example the lines of a crash in native code."""
        from torchconsole.engine.run.folder import RunFolder
        from torchconsole.engine.run.recorded_history import read_log_tail

        run = self._state.run
        tail = await asyncio.to_thread(read_log_tail, RunFolder(Path(run.folder)), run.created)
        self._state.add_output(tail)
        self._on_change()

    async def _find_checkpoint(self) -> None:
        """Look up where a resume would continue: a worker that was killed may not have recorded it."""
        from torchconsole.engine.run.checkpoints import newest_intact, step_of
        from torchconsole.engine.run.folder import RunFolder
        from torchconsole.engine.run.script_runs import resume_advice

        folder = RunFolder(Path(self._state.run.folder))
        try:
            advice = await asyncio.to_thread(resume_advice, folder)
            found = await asyncio.to_thread(newest_intact, folder)
        except (TorchconsoleError, OSError):
            return
        if advice:
            self._state.resume_advice = advice
            self._on_change()
            return
        if found is not None:
            self._state.found_checkpoint = (found.name, step_of(found))
            self._on_change()

    def correct_end(self, record: RunRecord) -> None:
        """Show how a run has ended as its record says it, if that is more than what was heard at its end.

        The parent of several processes finds out later which of them was killed, and how.
        """
        run = self._state.run
        if run.status not in ("failed", "lost") or self._state.user_error:
            return
        if record.status == "failed" and (run.status, run.reason) != (record.status, record.reason):
            self._state.receive(RunFailed(reason=record.reason, user_error=record.user_error))
        elif record.status == "stopped":
            self._state.receive(
                RunFinished(status="stopped", reason=record.reason, step=run.step, epoch=run.epoch)
            )
        else:
            return
        self._on_change()

    async def _find_refusal(self) -> str | None:
        """Return why our worker refused to start. It has removed a new run, maybe before we could connect."""
        try:
            return await asyncio.to_thread(self._started.refusal) if self._started else None
        except (TorchconsoleError, OSError):
            return None

    async def _receive_events(self, client: RunClient) -> None:
        # If the process that we started has ended, a live worker was started by somebody else.
        started = self._started if self._started and self._started.process.poll() is None else None
        self._client = client
        try:
            self._state.attach(client.snapshot, client.live, client.read_only)
            self._on_change()
            async for event in client.events():
                if isinstance(event, RunLost) and started:
                    event = await _with_exit_reason(event, started)
                self._state.receive(event)
                self._state.set_read_only(client.read_only)
                self._on_change()
        finally:
            # Closing the client may take so long that the next one is already in use.
            self._client = None

    def send(self, command: Command) -> Coroutine[Any, Any, None]:
        """Mark a command as pending now; the coroutine sends it.

        The state's notice shows that it was requested, and then the engine's answer. It is pending at once,
        so that the next key is judged by what this one will change.
        """
        client = self._client
        if client is not None:
            self._state.begin_command(command)
        else:
            # The connection may have ended since the user pressed the key.
            self._state.command_failed(command, f"not applied: {self._state.why_not_steerable}")
        self._on_change()
        return self._await_answer(client, command)

    async def _await_answer(self, client: RunClient | None, command: Command) -> None:
        if client is None:
            return
        try:
            self._state.command_applied(await client.send(command))
        except CommandRejectedError as error:
            self._state.command_failed(command, f"rejected: {error}")
        except (TorchconsoleError, OSError) as error:
            self._state.command_failed(command, f"not applied: {error}")
        finally:
            self._state.end_command(command)
        self._on_change()

    def refuse(self, verb: str) -> None:
        """Show why the run cannot be asked to do something now."""
        self._state.refuse_command(verb)
        self._on_change()

    def _show_progress(self, part: float) -> None:
        self._state.show_reading_progress(part)
        self._on_change()


async def _with_exit_reason(lost: RunLost, started: StartedRun) -> RunLost:
    """Add how the worker's process ended, for example `killed by SIGKILL`."""
    await asyncio.to_thread(started.process.wait)
    return lost.model_copy(update={"reason": f"{started.exit_reason()}: {lost.reason}"})


async def wait_until_live(folder: RunFolder, on_look: Callable[[RunRecord], None]) -> bool:
    """Check an ended run every LOOK_SECONDS until it is live again, because somebody has resumed it.

    `on_look` receives the record of the ended run each time. Return False if checking is pointless: the run
    is another machine's, or its folder is gone.
    """
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            record = await asyncio.to_thread(folder.read_record)
        except UnreachableError:
            continue
        except RunError:
            return False
        if record.is_live or not record.is_here:
            return record.is_live
        on_look(record)

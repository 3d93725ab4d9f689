"""The console's link to a run: follows its events into the state, and sends it commands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from torchconsole.engine.errors import CommandRejectedError, TorchconsoleError
from torchconsole.engine.protocol.commands import Command
from torchconsole.tui.command_text import command_name, effect
from torchconsole.tui.state import ConsoleState, Notice

if TYPE_CHECKING:
    from torchconsole.engine.client.client import RunClient
    from torchconsole.engine.run.recorded_history import Progress

OpenClient = Callable[["Progress"], AbstractAsyncContextManager["RunClient"]]
"""Begins one connection to a run; entering it may take long, and raise TorchconsoleError or OSError."""


class RunSession:
    """Keeps a `ConsoleState` true; `changed` is called after each change of it."""

    def __init__(self, open_client: OpenClient, state: ConsoleState, changed: Callable[[], None]) -> None:
        self._open_client = open_client
        self._state = state
        self._changed = changed
        self._client: RunClient | None = None

    async def follow(self) -> None:
        """Connect, and take in events until the run or the connection ends. A fault is noted, not raised."""
        loop = asyncio.get_running_loop()
        try:
            async with self._open_client(
                lambda part: loop.call_soon_threadsafe(self._show_progress, part)
            ) as client:
                await self._take_in(client)
        except (TorchconsoleError, OSError) as error:
            self._state.disconnect(str(error))
        else:
            if client.live:
                self._state.disconnect("")
        self._changed()

    async def _take_in(self, client: RunClient) -> None:
        self._client = client
        try:
            self._state.attach(client.snapshot, client.live, client.read_only)
            if client.live and client.read_only:
                self._state.notice = Notice(client.read_only, "warn")
            self._changed()
            async for event in client.events():
                self._state.receive(event)
                self._changed()
        finally:
            # Before the client closes: while that lasts, the next one may be there.
            self._client = None

    async def send(self, command: Command) -> None:
        """Send one command. The notice says it is asked for, and then what the engine says became of it.

        The connection may have ended since the user asked; then the notice says that.
        """
        name = command_name(command)
        if self._client is None:
            self._say(Notice(f"{name} not applied: {self._state.unreachable}", "bad"))
            return
        self._state.pending.append(command)
        self._say(Notice(f"{name} requested", "warn"))
        try:
            applied = await self._client.send(command)
            answer = Notice(f"{effect(applied)} · applied at step {applied.step:,}", "good")
        except CommandRejectedError as error:
            answer = Notice(f"{name} rejected: {error}", "bad")
        except (TorchconsoleError, OSError) as error:
            answer = Notice(f"{name} not applied: {error}", "bad")
        finally:
            self._state.pending.remove(command)
        self._say(answer)

    def refuse(self, verb: str) -> None:
        """Say why nothing can be asked of this run now."""
        self._say(Notice(f"{self._state.unreachable}: nothing to {verb}", "warn"))

    def _show_progress(self, part: float) -> None:
        self._state.read_so_far(part)
        self._changed()

    def _say(self, notice: Notice) -> None:
        self._state.notice = notice
        self._changed()

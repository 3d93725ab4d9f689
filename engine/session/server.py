"""The worker's side of a run: a background thread that records what the training says and serves clients."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any

from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol.events import CommandRejected, LogWritten, TelemetryMeasured
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import holds_lock
from torchconsole.engine.run.sockets import clear_away, socket_address
from torchconsole.engine.session.client_manager import ClientManager, CommandSink
from torchconsole.engine.session.event_queue import EventQueue
from torchconsole.engine.session.event_store import PERIOD, EventStore
from torchconsole.engine.session.listener import Listener
from torchconsole.engine.session.telemetry import TelemetryProbe

TELEMETRY_SECONDS = 2.0


class ServerThread:
    """The training thread's companion: `outbox` takes what it says, `commands` gets what people ask for.

    The state and history that are in the folder already are taken up, so a resumed run goes on with them.
    """

    def __init__(self, folder: RunFolder, state: RunState, commands: CommandSink) -> None:
        self.event_queue = EventQueue()
        self._folder = folder
        self._state = state
        self._commands = commands

    def start(self) -> None:
        """Begin to record and to serve; run.json is up to date on return.

        The process must hold the run's lock. Raises RunError if it does not, or if no socket can be made.
        """
        if not holds_lock(self._folder.lock_file):
            raise RunError(f"{self._folder.name}: only the worker that holds the run's lock may serve it")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="torchconsole-server", daemon=True
        )
        with ExitStack() as undo:
            self._thread.start()
            undo.callback(self._end_thread)
            self._call(self._open())
            undo.pop_all()
        self.event_queue.on_urgent(lambda: self._loop.call_soon_threadsafe(self._store.drain))

    def close(self, timeout: float = 5.0) -> None:
        """Write everything down, give clients the last events within `timeout` seconds, and end."""
        self.event_queue.on_urgent(None)
        self._call(self._shut(timeout))
        self._end_thread()

    async def _open(self) -> None:
        address = socket_address(self._folder.path)
        self._store = EventStore(self._folder, self._state, self.event_queue, str(address))
        self._clients = ClientManager(self._folder.name, self._store, self._commands)
        self._listener = Listener(address, self._clients.accept)
        await self._listener.open()
        clear_away(address.parent)
        self._keeping = asyncio.create_task(self._listener.keep(self._report_problem))
        self._repeat(PERIOD, self._store.drain)
        probe = TelemetryProbe()
        self._repeat(TELEMETRY_SECONDS, lambda: self._measure(probe))

    async def _shut(self, timeout: float) -> None:
        self._store.drain()
        for id in self._clients.unanswered():
            self.event_queue.emit(CommandRejected(id=id, reason="the run has ended"))
        self._store.close()
        self._listener.close()
        await self._clients.close(timeout)
        await _end_other_tasks()

    def _repeat(self, seconds: float, action: Callable[[], None]) -> None:
        """Call `action` now and from time to time. The loop logs an error in it, and goes on."""
        self._loop.call_later(seconds, self._repeat, seconds, action)
        action()

    def _measure(self, probe: TelemetryProbe) -> None:
        if self._clients.is_watched:
            self.event_queue.emit(TelemetryMeasured(telemetry=probe.measure(self._store.state.device)))

    def _report_problem(self, reason: str) -> None:
        """Tell those who watch, and worker.log: who cannot connect looks there."""
        print(reason, file=sys.stderr, flush=True)
        self.event_queue.emit(LogWritten(level="error", message=reason))

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        """Have the server's thread do something, and wait for it."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _end_other_tasks() -> None:
    """Cancel whatever this loop is still at. Clients come until the very end: some may be in the door."""
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

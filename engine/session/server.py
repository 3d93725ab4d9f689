"""The server of a run: a background thread that stores the training's events and serves clients."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol.events import CommandRejected, Event, LogWritten, TelemetryMeasured
from torchconsole.engine.protocol.info import StepTimes
from torchconsole.engine.protocol.messages import CLIENT_LINE_LIMIT
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import holds_lock
from torchconsole.engine.run.sockets import (
    Listening,
    listen,
    remove_socket,
    remove_stale_sockets,
    socket_address,
)
from torchconsole.engine.session.client_manager import ClientManager, CommandSink
from torchconsole.engine.session.event_queue import EventQueue, report_error
from torchconsole.engine.session.event_store import PERIOD, EventStore
from torchconsole.engine.session.notifier import Notifier
from torchconsole.engine.session.output_follower import OutputFollower
from torchconsole.engine.session.run_place import RunPlace
from torchconsole.engine.session.telemetry import TelemetryProbe

TELEMETRY_SECONDS = 2.0

OUTPUT_SECONDS = 0.5

CHECK_SECONDS = 2.0
"""Seconds between two checks that the socket is still there."""


class ServerThread:
    """Takes events from `event_queue`, and puts the commands of clients into `commands`.

    `output` is the file that the training's output goes to; each of its lines becomes an event.

    A resumed run continues with the state and history that its folder has already.
    """

    def __init__(
        self, folder: RunFolder, state: RunState, commands: CommandSink, output: Path | None = None
    ) -> None:
        self.event_queue = EventQueue()
        self.step_times: Callable[[], StepTimes | None] = lambda: None
        """Where the time of the training's steps goes. The server's thread calls this."""
        self._output = output
        self._folder = folder
        self._state = state
        self._commands = commands

    def start(self) -> None:
        """Start storing and serving; run.json is up to date on return.

        The process must hold the run's lock. Raises RunError if it does not, or if the socket cannot be made.
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

    @property
    def place(self) -> RunPlace:
        """Where the run's folder is."""
        return self._store.place

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` in the server's thread with every event from now on; it must not wait."""
        self._store.subscribe(listener)

    def close(self, timeout: float = 5.0) -> None:
        """Write everything, send clients the last events within `timeout` seconds, and end the thread."""
        self.event_queue.on_urgent(None)
        self._call(self._shut_down(timeout))
        self._end_thread()

    async def _open(self) -> None:
        self._store = EventStore(self._folder, self._state, self.event_queue)
        self._clients = ClientManager(self._store, self._commands)
        self._listener = Listener(self._folder.path, self._clients.accept, self._announce)
        await self._listener.open()
        self._checking = asyncio.create_task(self._listener.keep_open(self._report_problem))
        self._repeat(PERIOD, self._store.drain)
        if self._output is not None:
            self._follower = OutputFollower(self.event_queue.emit, self._output)
            self._repeat(OUTPUT_SECONDS, self._follower.poll)
        probe = TelemetryProbe()
        self._repeat(TELEMETRY_SECONDS, lambda: self._measure(probe))
        notifier = Notifier(self._store, lambda: self._clients.is_watched, self.event_queue.emit)
        self._repeat(CHECK_SECONDS, notifier.check)

    async def _shut_down(self, timeout: float) -> None:
        if self._output is not None:
            self._follower.close()
        self._store.drain()
        for id in self._clients.unanswered():
            self.event_queue.emit(CommandRejected(id=id, reason="the run has ended"))
        self._store.close()
        self._listener.close()
        await self._clients.close(timeout)
        await _end_other_tasks()

    def _repeat(self, seconds: float, action: Callable[[], None]) -> None:
        """Call `action` now and every `seconds`. The loop logs an error in it, and continues."""
        self._loop.call_later(seconds, self._repeat, seconds, action)
        action()

    def _measure(self, probe: TelemetryProbe) -> None:
        if self._clients.is_watched:
            measured = probe.measure(self._store.state.device, self._store.place.folder.path)
            measured.step_times = self.step_times()
            self.event_queue.emit(TelemetryMeasured(telemetry=measured))

    def _announce(self, found: Listening) -> None:
        """Tell clients where the socket is, and in worker.log if it is not where it should be."""
        self._store.set_address(str(found.address))
        if found.problem:
            message = f"{found.problem}; the run's socket is {found.address} instead"
            report_error(message, "warning")
            self.event_queue.emit(LogWritten(level="warning", message=message))
        remove_stale_sockets(found.address.parent)

    def _report_problem(self, reason: str) -> None:
        """Report to clients, and in worker.log for those who cannot connect."""
        report_error(reason)
        self.event_queue.emit(LogWritten(level="error", message=reason))

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the server's thread, and wait for it."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _end_other_tasks() -> None:
    """Cancel all other tasks of this loop, also those that start meanwhile: clients connect until the end."""
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


class Listener:
    """Listens for a run. Connected clients do not notice when the socket is made again.

    `announce` is called with the socket's address, which is another one if somebody took its place meanwhile.
    """

    def __init__(
        self,
        folder: Path,
        accept: Callable[[asyncio.StreamReader, asyncio.StreamWriter], None],
        announce: Callable[[Listening], None],
    ) -> None:
        self._folder = folder
        self._accept = accept
        self._announce = announce
        self._address = socket_address(folder)
        self._server: asyncio.Server | None = None
        self._inode: int | None = None

    async def open(self) -> None:
        """Listen. Raises RunError if the socket cannot be made."""
        found = listen(self._folder)
        self._address = found.address
        self._inode = self._current_inode()
        replaced = self._server
        self._server = await asyncio.start_unix_server(
            self._accept, sock=found.socket, limit=CLIENT_LINE_LIMIT
        )
        if replaced:
            replaced.close()
        self._announce(found)

    async def keep_open(self, report: Callable[[str], None]) -> None:
        """Make the socket again whenever it or its folder was deleted. A failure is reported once."""
        reported = ""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            if self._current_inode() == self._inode:
                continue
            try:
                await self.open()
                reported = ""
            except RunError as error:
                if str(error) != reported:
                    reported = str(error)
                    report(reported)

    def close(self) -> None:
        """Stop listening, and remove the socket."""
        if self._server:
            self._server.close()
            if self._current_inode() == self._inode:
                remove_socket(self._address)

    def _current_inode(self) -> int | None:
        try:
            return self._address.lstat().st_ino
        except OSError:
            return None

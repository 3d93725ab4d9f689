"""A run of `torchconsole.run` in this process, without a server: its events are collected."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchconsole.engine.distributed.program_job import ALONE, NoJob
from torchconsole.engine.library.own_run import OwnRun
from torchconsole.engine.library.own_settings import Settings
from torchconsole.engine.library.watched_run import WatchedRun
from torchconsole.engine.protocol.commands import Command
from torchconsole.engine.protocol.events import RunFailed, RunFinished
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.session.event_queue import EventQueue
from torchconsole.engine.training.command_queue import CommandQueue


@dataclass
class MemoryHost:
    """Satisfies own_host.Host."""

    folder: RunFolder
    resumes: bool = False
    commands: CommandQueue = field(default_factory=CommandQueue)
    events: EventQueue = field(default_factory=EventQueue)
    exit_status: int = 0
    outcome: RunFinished | RunFailed | None = None
    job: NoJob = ALONE
    ends_with_loop: bool = False

    def begin_training(self) -> None:
        """Do nothing."""

    def adopt(self, loop: WatchedRun) -> None:
        """Do nothing."""

    def close(self, outcome: RunFinished | RunFailed) -> None:
        """Note the outcome."""
        self.outcome = outcome

    def end_program(self) -> None:
        """Do nothing."""

    def send(self, command: Command) -> None:
        """Queue a command, as a client would."""
        self.commands.put("id", command, "test")

    def taken(self, kind: type[Any]) -> list[Any]:
        """Take the events so far; return those of this type."""
        return [event for event in self.events.take() if isinstance(event, kind)]


def memory_host(folder: Path, *, resumes: bool = False) -> MemoryHost:
    """Make a host with a run's folder."""
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    return MemoryHost(RunFolder(folder), resumes)


def own_run(host: MemoryHost, name: str = "", **settings: Any) -> OwnRun:
    """Return a run that lives in this host."""
    return OwnRun(Settings(name, **settings), lambda _: host)

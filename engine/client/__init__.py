"""The asyncio interface to runs: find and start them, follow their events, send them commands.

Each name loads its module on first use, so that listing runs imports neither pydantic nor numpy:

    find_run, list_runs          find runs by name, in the user's registry or in a folder
    start_run, resume_run        start a worker for a new run, or for one that has ended
    connect                      `async with connect(folder) as client`: snapshot, events, commands
    event_stream                 `async for event in event_stream(folder)`: every event once, from the first
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torchconsole.engine.client.client import RunClient, connect, event_stream
    from torchconsole.engine.client.launcher import StartedRun, resume_run, start_run
    from torchconsole.engine.run.folder import RunFolder
    from torchconsole.engine.run.record import RunRecord
    from torchconsole.engine.run.registry import default_runs_dir, find_run, list_runs

__all__ = [
    "RunClient",
    "RunFolder",
    "RunRecord",
    "StartedRun",
    "connect",
    "default_runs_dir",
    "event_stream",
    "find_run",
    "list_runs",
    "resume_run",
    "start_run",
]

_MODULES = {
    "client.client": ("RunClient", "connect", "event_stream"),
    "client.launcher": ("StartedRun", "resume_run", "start_run"),
    "run.folder": ("RunFolder",),
    "run.record": ("RunRecord",),
    "run.registry": ("default_runs_dir", "find_run", "list_runs"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"torchconsole.engine.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""A run as a process of its own: its folder, its worker's server, and the client to both.

From outside a run this is all that is needed; each name loads its module when it is first used, so that
listing runs costs neither pydantic nor numpy:

    find_run, list_runs          runs by name, from the user's register or a folder
    start_run, resume_run        a worker for a new run, or for one that has ended
    connect                      `async with connect(folder) as client`: snapshot, events, commands
    all_events                   `async for event in all_events(folder)`: from the first, each once
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torchconsole.engine.runtime.client import RunClient, connect
    from torchconsole.engine.runtime.launcher import StartedRun, resume_run, start_run
    from torchconsole.engine.runtime.registry import default_runs_dir, find_run, list_runs
    from torchconsole.engine.runtime.run_folder import RunFolder, RunRecord
    from torchconsole.engine.runtime.whole import all_events

__all__ = [
    "RunClient",
    "RunFolder",
    "RunRecord",
    "StartedRun",
    "all_events",
    "connect",
    "default_runs_dir",
    "find_run",
    "list_runs",
    "resume_run",
    "start_run",
]

_HOMES = {
    "client": ("RunClient", "connect"),
    "launcher": ("StartedRun", "resume_run", "start_run"),
    "registry": ("default_runs_dir", "find_run", "list_runs"),
    "run_folder": ("RunFolder", "RunRecord"),
    "whole": ("all_events",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

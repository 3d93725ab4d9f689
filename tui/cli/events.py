"""`torchconsole events`: what happens to a run, for programs and for people."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchconsole.engine.text import printable
from torchconsole.tui.cli.options import RunName, RunsDir

if TYPE_CHECKING:
    from torchconsole.engine.protocol.events import Event
    from torchconsole.engine.run.folder import RunFolder


def events(
    run: RunName,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with what happens, until the run ends.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as a line of JSON.")] = False,
    runs_dir: RunsDir = None,
) -> int:
    """Print a run's events from its first, one a line.

    Every logged step, evaluation and epoch, every command that was applied, and the end; with --follow also
    what is not kept in files, such as phases, telemetry and the log. It never changes the run.
    """
    from torchconsole.engine.run.registry import find_run

    asyncio.run(_print_events(find_run(run, runs_dir), follow=follow, as_json=as_json))
    return 0


async def _print_events(folder: RunFolder, *, follow: bool, as_json: bool) -> None:
    from torchconsole.engine.client.client import event_stream

    async for event in event_stream(folder, follow=follow):
        print(event.model_dump_json() if as_json else _line(event), flush=follow)


def _line(event: Event) -> str:
    """When, what, and the facts of it as they come."""
    facts = event.model_dump(mode="json", exclude={"type", "time", "seq", "first_seq"}, exclude_defaults=True)
    if event.type == "MetricsLogged":
        facts |= {name: points["values"][-1] for name, points in facts.pop("series").items()}
    clock = time.strftime("%H:%M:%S", time.localtime(event.time))
    return printable(f"{clock}  {event.type:<19} {'  '.join(_told(facts))}".rstrip())


def _told(facts: dict[str, Any]) -> Iterator[str]:
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from _told(value)
        else:
            yield f"{name}={f'{value:.4g}' if isinstance(value, float) else value}"

"""`torchconsole events`: the events of a run, as JSON for programs or as text for people."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchconsole.engine.protocol.json_text import dump_json
from torchconsole.engine.text import ascii_json, printable
from torchconsole.tui.cli.named_runs import find_run
from torchconsole.tui.cli.options import RunName, RunsDir

if TYPE_CHECKING:
    from torchconsole.engine.protocol.events import Event
    from torchconsole.engine.run.folder import RunFolder


def events(
    run: RunName,
    follow: Annotated[
        bool, typer.Option("--follow", help="Keep printing new events until the run ends.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as one line of JSON.")] = False,
    runs_dir: RunsDir = None,
) -> int:
    """Print a run's events since its start, one per line.

    These are every logged step, evaluation and epoch, every applied command, and the end. With --follow there
    are also events that are not kept in files: phases, telemetry and log lines.
    """

    asyncio.run(_print_events(find_run(run, runs_dir), follow=follow, as_json=as_json))
    return 0


async def _print_events(folder: RunFolder, *, follow: bool, as_json: bool) -> None:
    from torchconsole.engine.client.client import event_stream

    async for event in event_stream(folder, follow=follow):
        print(ascii_json(dump_json(event)) if as_json else format_event(event), flush=follow)


def format_event(event: Event) -> str:
    """Return the local time, the event's type, and its fields as `name=value`."""
    fields = event.model_dump(
        mode="json", exclude={"type", "time", "seq", "first_seq"}, exclude_defaults=True
    )
    if event.type == "MetricsLogged":
        series = fields.pop("series").items()
        fields |= {name: points["values"][-1] for name, points in series if points["values"]}
    if event.type == "RanksMeasured":
        from torchconsole.engine.protocol.rank_loads import find_straggler
        from torchconsole.tui.rank_texts import describe_straggler

        straggler = find_straggler(event.ranks)
        fields = {
            "ranks": len(event.ranks),
            **({"straggler": describe_straggler(straggler)} if straggler else {}),
        }
    if event.type == "CommandApplied" and event.detail:  # it says what these do
        fields.pop("result", None)
        fields["command"].pop("changes", None)
    clock = time.strftime("%H:%M:%S", time.localtime(event.time))
    return printable(f"{clock}  {event.type:<19} {'  '.join(_format_fields(fields))}".rstrip())


def _format_fields(fields: dict[str, Any]) -> Iterator[str]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _format_fields(value)
        else:
            yield f"{name}={_format_value(value)}"


def _format_value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_format_value, value))}]"
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)

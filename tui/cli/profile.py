"""`torchconsole profile`: where the time and the memory of a training's steps go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.tui.cli.finders import chart_width, print_chart
from torchconsole.tui.cli.named_files import output_path, shown_path
from torchconsole.tui.cli.named_runs import load_start
from torchconsole.tui.cli.options import (
    AsJson,
    Force,
    Overrides,
    PlannedProcesses,
    PresetOrRun,
    RunsDir,
    Trust,
    with_processes,
)
from torchconsole.tui.cli.presets import require_trust
from torchconsole.tui.cli.report import make_preset_report
from torchconsole.tui.cli.terminal import announce, print_json, print_table, print_wrapped
from torchconsole.tui.formatting import format_bytes, format_number
from torchconsole.tui.table import Column

if TYPE_CHECKING:
    from torchconsole.engine.protocol.profile_report import MemoryCurve, ProfileReport

MOST_ROWS = 15
"""Operations and layers that are printed; --json has all."""

HEIGHT = 9
"""Height of the chart (cells)."""

MOST_STEPS = 1000

OPERATIONS = (
    Column("OPERATION", least=16),
    Column("CALLS", right=True, rank=1),
    Column("TIME", right=True),
    Column("SHARE", right=True),
)
LAYERS = (
    Column("LAYER", least=12),
    Column("TYPE", rank=1, least=8),
    Column("FORWARD", right=True),
    Column("BACKWARD", right=True),
    Column("SHARE", right=True),
)


def profile(
    preset: PresetOrRun,
    overrides: Overrides = None,
    nproc: PlannedProcesses = None,
    steps: Annotated[int, typer.Option(metavar="N", help="Steps to profile.")] = 10,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write a trace for https://ui.perfetto.dev."),
    ] = None,
    force: Force = False,
    trust: Trust = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> int:
    """Profile some training steps: operations, layers and memory.

    Makes 8 steps to warm up and to time their parts, and then N with torch's profiler. Prints the operations
    and the layers that take the most time, per step, and draws the memory in use. Steps that take more than
    twice the median are left out of the times. For a run, starts from the
    weights of its newest checkpoint. No run is started or changed.
    """
    from torchconsole.engine.client.processes import choose_processes
    from torchconsole.engine.protocol.profile_report import ProfileReport

    if not 1 <= steps <= MOST_STEPS:
        raise TorchconsoleError(f"--steps {steps}: profile 1 to {MOST_STEPS:,} steps")
    file = None if output is None else output_path(output, force=force)
    loaded, _, checkpoint = load_start(preset, with_processes(overrides, nproc), runs_dir, "profile")
    choose_processes(loaded)
    require_trust(loaded, trust)
    announce("loading the data and profiling...")
    options = [str(steps), str(file or ""), *([str(checkpoint)] if checkpoint else [])]
    report = make_preset_report(ProfileReport, "profile", loaded, *options)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        print_profile(report)
    return 0


def print_profile(report: ProfileReport) -> None:
    """Print the tables, the chart of the memory, and where the trace is."""
    whose = "the GPU's time" if report.on_gpu else "the CPU's time"
    slow = f" ({report.left_out} that took more than twice the median left out)" if report.left_out else ""
    print_wrapped(
        f"{report.steps} step{'s' * (report.steps != 1)}{slow} on {report.device} in {report.precision}, "
        f"{format_time(report.step_seconds)} a step with the profiler{_without_profiler(report)}; "
        f"below: {whose} per step"
    )
    print()
    rows = [
        [each.name, format_number(each.calls), format_time(each.seconds), f"{100 * each.share:.1f} %"]
        for each in report.operations
    ]
    print_table(OPERATIONS, _first(rows))
    if report.layers:
        print()
        rows = [
            [
                each.name or "(model)",
                each.type,
                format_time(each.forward),
                format_time(each.backward),
                f"{100 * each.share:.1f} %",
            ]
            for each in report.layers
        ]
        print_table(LAYERS, _first(rows))
    elif report.times is not None and report.times.is_compiled:
        print()
        print_wrapped("a compiled model has no layers here; --set training.compile=false profiles them")
    print()
    if report.memory is not None:
        _print_memory(report.memory)
    if report.trace:
        print_wrapped(f"{shown_path(report.trace)} is the trace; open it in https://ui.perfetto.dev")


def format_time(seconds: float) -> str:
    """Format a short time: 12.3 ms, 140 µs, 1.2 s."""
    for size, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= size:
            return f"{format_number(seconds / size)} {unit}"
    return f"{format_number(seconds * 1e6)} µs"


def _without_profiler(report: ProfileReport) -> str:
    """Return how long a step takes without the profiler, and its parts."""
    if report.times is None:
        return ""
    total = sum(report.times.parts.values()) or 1.0
    parts = ", ".join(
        f"{part.replace('_', ' ')} {100 * seconds / total:.0f} %"
        for part, seconds in report.times.parts.items()
        if part != "logging"
    )
    return f" and {format_time(total)} without ({parts})"


def _first(rows: list[list[str]]) -> list[list[str]]:
    return rows[:MOST_ROWS]


def _print_memory(memory: MemoryCurve) -> None:
    import numpy as np

    from torchconsole.tui.charts.curves import Curve
    from torchconsole.tui.charts.plot import COLORLESS
    from torchconsole.tui.charts.single import draw_curves
    from torchconsole.tui.charts.x_axis import Unit

    reserved = "" if memory.reserved is None else f", torch has reserved {format_bytes(memory.reserved)}"
    print_wrapped(f"memory (MB) over time (ms): {format_bytes(memory.peak)} at most{reserved}")
    milliseconds = Unit("ms", lambda steps: steps / 1000, lambda x: x * 1000)
    places = np.round(np.array(memory.seconds) * 1e6).astype(np.int64)
    curve = Curve.of("", "train", places, np.array(memory.allocated) / 2**20)
    end = max(int(places[-1]), 1)
    lines = draw_curves(
        [curve], chart_width(), HEIGHT, exact=True, end=end, unit=milliseconds, style=COLORLESS
    )
    print_chart(lines)

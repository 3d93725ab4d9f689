"""`torchconsole show --lr`: the learning rate over a run, as a chart and a table."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torchconsole.engine.text import printable
from torchconsole.tui.cli.report import make_preset_report
from torchconsole.tui.cli.terminal import output_width, print_json, print_table, print_wrapped
from torchconsole.tui.formatting import format_lr
from torchconsole.tui.table import Column, least_width

if TYPE_CHECKING:
    from torchconsole.engine.config.schema import Preset
    from torchconsole.engine.protocol.reports import LearningRateCurve, LrAt

MAX_WIDTH, HEIGHT = 100, 12
"""Size of the chart (cells)."""

MAX_ROWS = 12
"""Rows of the table."""


def show_lr_curve(preset: Preset, as_json: bool) -> None:
    """Print the lr that the preset's schedule gives. Raises TorchconsoleError."""
    from torchconsole.engine.protocol.reports import LearningRateCurve

    curve = make_preset_report(LearningRateCurve, "lr", preset)
    if as_json:
        print_json(curve.model_dump(mode="json"))
        return
    _print_chart(curve)
    print()
    _print_values(curve)
    print_wrapped(f"schedule: {printable(curve.unit) or 'none, the lr is constant'}")
    print_wrapped(f"lr at the start of {describe_epochs(curve.epochs)}")
    for note in _notes(curve):
        print_wrapped(note)


def describe_epochs(epochs: Sequence[LrAt]) -> str:
    """Format the lr of some epochs: `epoch 1: 0.1, epoch 10: 0.01`."""
    return ", ".join(f"epoch {at.epoch:,}: {format_lr(at.lr)}" for at in epochs)


def _print_chart(curve: LearningRateCurve) -> None:
    import numpy as np

    from torchconsole.tui.charts.curves import Curve
    from torchconsole.tui.charts.plot import COLORLESS
    from torchconsole.tui.charts.single import draw_curves

    steps = np.array(curve.steps)
    curves = [Curve.of("", "steer", steps, np.array(lrs), "exact") for lrs in curve.lrs]
    width = min(MAX_WIDTH, output_width() or shutil.get_terminal_size().columns)
    for line in draw_curves(curves, width, HEIGHT, exact=True, style=COLORLESS):
        print("".join(text for text, _ in line).rstrip())


def _print_values(curve: LearningRateCurve) -> None:
    """Print the lr at some steps, with a column for each group as far as they fit."""
    groups = _group_columns(curve)
    columns = [
        Column("STEP", right=True),
        Column("EPOCH", right=True),
        *(Column(printable(heading), right=True, rank=number) for number, heading in enumerate(groups)),
    ]
    rows = [_row(curve, index, list(groups.values())) for index in _table_indices(curve)]
    print_table(columns, rows)
    width, needed = output_width(), least_width(columns, rows)
    if width is not None and width < needed:
        print_wrapped(f"some parameter groups are not shown: they need {needed} columns; see --json")


def _group_columns(curve: LearningRateCurve) -> dict[str, list[float]]:
    """Return a heading and its lrs for each parameter group; groups with the same lrs share a column."""
    groups: dict[tuple[float, ...], list[str]] = {}
    for number, lrs in enumerate(curve.lrs):
        groups.setdefault(tuple(lrs), []).append(str(number))
    if len(groups) == 1:
        return {"LR": curve.lrs[0]}
    return {f"LR OF GROUP {','.join(numbers)}": list(lrs) for lrs, numbers in groups.items()}


def _table_indices(curve: LearningRateCurve) -> list[int]:
    """Return the points for the table: evenly spaced over the steps, with the first and the last one."""
    import numpy as np

    wanted = np.linspace(curve.steps[0], curve.steps[-1], MAX_ROWS)
    return sorted(set(np.searchsorted(curve.steps, np.floor(wanted)).tolist()))


def _row(curve: LearningRateCurve, index: int, columns: list[list[float]]) -> list[str]:
    step = curve.steps[index]
    epoch = (step - 1) // curve.steps_per_epoch + 1
    return [f"{step:,}", f"{epoch:,}", *(format_lr(lrs[index]) for lrs in columns)]


def _notes(curve: LearningRateCurve) -> list[str]:
    notes = []
    if curve.metric is not None:
        notes.append(f"part of the schedule depends on {printable(curve.metric)}, shown as if constant")
    if curve.steps[-1] < curve.total_steps:
        shown = f"{curve.steps[-1]:,} of the run's {curve.total_steps:,} steps"
        notes.append(f"only the first {shown} are shown")
    return notes

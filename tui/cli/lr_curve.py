"""`torchconsole show --lr`: the learning rate over a run, as a chart and a table."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from torchconsole.engine.text import printable
from torchconsole.tui.cli.output import print_json, print_table
from torchconsole.tui.cli.report import make_preset_report
from torchconsole.tui.formatting import format_lr

if TYPE_CHECKING:
    from torchconsole.engine.config.schema import Preset
    from torchconsole.engine.protocol.reports import LearningRateCurve

WIDEST, HEIGHT = 100, 12
"""Cells of the chart."""

ROWS = 12
"""Lines of the table at most."""


def show_lr_curve(preset: Preset, as_json: bool) -> None:
    """Print what the preset's schedule makes of the lr. Raises TorchconsoleError."""
    from torchconsole.engine.protocol.reports import LearningRateCurve

    curve = make_preset_report(LearningRateCurve, "lr", preset)
    if as_json:
        print_json(curve.model_dump(mode="json"))
        return
    _print_chart(curve)
    print()
    columns = _columns(curve)
    rows = [_row(curve, index, list(columns.values())) for index in _chosen(curve)]
    print_table(("STEP", "EPOCH", *columns), rows, right=range(2 + len(columns)))
    for note in _notes(curve):
        print(note)


def _print_chart(curve: LearningRateCurve) -> None:
    import numpy as np

    from torchconsole.tui.widgets.chart import Curve, draw_curves

    steps = np.array(curve.steps)
    curves = [Curve("", "lr", steps, np.array(lrs)) for lrs in curve.lrs]
    width = min(WIDEST, shutil.get_terminal_size().columns)
    for line in draw_curves(curves, width, HEIGHT):
        print("".join(text for text, _ in line).rstrip())


def _columns(curve: LearningRateCurve) -> dict[str, list[float]]:
    """Heading -> lrs: a column for each group, one for those that have the same."""
    groups: dict[tuple[float, ...], list[str]] = {}
    for number, lrs in enumerate(curve.lrs):
        groups.setdefault(tuple(lrs), []).append(str(number))
    if len(groups) == 1:
        return {"LR": curve.lrs[0]}
    return {f"LR OF GROUP {','.join(numbers)}": list(lrs) for lrs, numbers in groups.items()}


def _chosen(curve: LearningRateCurve) -> list[int]:
    """The points for the table: evenly spread over the steps, the first and the last among them."""
    import numpy as np

    wanted = np.linspace(curve.steps[0], curve.steps[-1], ROWS)
    return sorted(set(np.searchsorted(curve.steps, np.floor(wanted)).tolist()))


def _row(curve: LearningRateCurve, index: int, columns: list[list[float]]) -> list[str]:
    step = curve.steps[index]
    epoch = (step - 1) // curve.steps_per_epoch + 1
    return [f"{step:,}", f"{epoch:,}", *(format_lr(lrs[index]) for lrs in columns)]


def _notes(curve: LearningRateCurve) -> list[str]:
    notes = []
    if curve.metric is not None:
        notes.append(f"a part of it goes by {printable(curve.metric)}: the lr is shown as if it stayed there")
    if curve.steps[-1] < curve.total_steps:
        notes.append(f"the run has {curve.total_steps:,} steps; what comes later is not shown")
    return notes

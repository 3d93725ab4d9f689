"""What `torchconsole check --overfit` prints: the loss on one batch as a chart, and a verdict."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from torchconsole.engine.text import counted
from torchconsole.tui.cli.terminal import output_width, print_wrapped

if TYPE_CHECKING:
    from torchconsole.engine.protocol.reports import OverfitReport

MAX_WIDTH, HEIGHT = 80, 10
"""Size of the chart (cells)."""


def print_overfit(report: OverfitReport) -> None:
    """Print the curve and whether the model has learned the batch."""
    import numpy as np

    from torchconsole.tui.charts.curves import Curve
    from torchconsole.tui.charts.plot import COLORLESS
    from torchconsole.tui.charts.single import draw_curves

    print()
    if report.curve:
        steps, losses = np.array(report.curve).T
        width = min(MAX_WIDTH, output_width() or shutil.get_terminal_size().columns)
        for line in draw_curves(
            [Curve.of("", "train", steps.astype(int), losses)], width, HEIGHT, style=COLORLESS
        ):
            print("".join(text for text, _ in line).rstrip())
    print_wrapped(_verdict(report))


def _verdict(report: OverfitReport) -> str:
    batch = f"one batch of {counted(report.samples, 'sample')}"
    if report.limit is None or not report.curve:
        return f"cannot learn {batch}: its first loss is not finite; lower optimizer.lr or check the data"
    first, last = report.curve[0][1], report.curve[-1][1]
    course = f"{first:.4g} to {last:.4g} in {counted(report.steps, 'step')} ({report.seconds:.1f} s)"
    if report.learned:
        return f"the model can learn {batch}: its loss fell from {course}"
    return (
        f"the model does not learn {batch}: its loss went from {course}, and {report.limit:.4g} or less was "
        f"expected; change optimizer.lr ({report.lr:g}), check that the targets belong to the inputs, or use "
        "a larger model"
    )

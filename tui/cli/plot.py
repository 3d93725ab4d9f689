"""`torchconsole plot`: a figure of runs for a paper or a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.files import replacing
from torchconsole.engine.text import printable
from torchconsole.tui.cli.named_files import output_path
from torchconsole.tui.cli.named_runs import find_runs
from torchconsole.tui.cli.options import Force, RunNames, RunsDir

FORMATS = ("png", "svg", "pdf")


def plot(
    runs: RunNames,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Output file: .png, .svg or .pdf.")
    ],
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="Draw only this metric, such as val/accuracy, accuracy or lr. Can be repeated.",
        ),
    ] = None,
    x: Annotated[
        Literal["step", "epoch", "minutes"],
        typer.Option("--x", metavar="step|epoch|minutes", help="Unit of the x axis."),
    ] = "step",
    smooth: Annotated[
        Literal["0", "0.9", "0.99"] | None,
        typer.Option(
            "--smooth",
            metavar="0|0.9|0.99",
            help="Smoothing of training curves (default: 0.9 from 100 values on).",
        ),
    ] = None,
    force: Force = False,
    runs_dir: RunsDir = None,
) -> int:
    """Draw the curves of runs as a figure for a paper.

    Shows the loss, the main metric and the lr; several runs are overlaid. Marks: a star at the best value, a
    diamond where a command changed the lr, a triangle at other commands, such as a pause. It requires
    matplotlib: pip install 'torchconsole[plot]'.
    """
    from torchconsole.tui.cli.plot_figure import draw_figure, import_figure, save_figure
    from torchconsole.tui.cli.plot_panels import choose_panels, read_plotted

    form = output.suffix.lower().removeprefix(".")
    if form not in FORMATS:
        raise TorchconsoleError(f"-o {output}: must end in .png, .svg or .pdf")
    path = output_path(output, force=force)
    import_figure()
    plotted = [read_plotted(folder, x) for folder in find_runs(runs, runs_dir)]
    panels = choose_panels(plotted, metric or [])
    figure = draw_figure(plotted, panels, None if smooth is None else float(smooth))
    with replacing(path) as temporary:
        save_figure(figure, temporary, form)
    names = f"{len(plotted)} runs" if len(plotted) > 1 else plotted[0].name
    print(printable(f"{path}: {', '.join(panels)} of {names}"))
    return 0

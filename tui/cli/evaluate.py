"""`torchconsole evaluate`: how good a checkpoint is on a part of its data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from torchconsole.tui.cli.choosing import agree_to_own_code
from torchconsole.tui.cli.options import (
    AsJson,
    RunOrCheckpoint,
    RunsDir,
    Trust,
    WhichCheckpoint,
    WhichWeights,
)
from torchconsole.tui.cli.output import print_json, print_table
from torchconsole.tui.cli.report import make_report

if TYPE_CHECKING:
    from torchconsole.engine.protocol.reports import EvaluationReport

LARGEST_TABLE = 20
"""Classes up to which a confusion matrix is printed."""


def evaluate(
    run: RunOrCheckpoint,
    part: Annotated[
        Literal["val", "test", "train"], typer.Option(help="Which part of the run's data.")
    ] = "val",
    checkpoint: WhichCheckpoint = "best",
    weights: WhichWeights = "auto",
    device: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="Another device than the run's: cpu, cuda:1, ...")
    ] = None,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
    trust: Trust = False,
) -> int:
    """Evaluate a run's best checkpoint on its validation data.

    The run may be live; nothing in its folder is touched.
    """
    from torchconsole.engine.config.loading import read_preset
    from torchconsole.engine.protocol.reports import EvaluationReport
    from torchconsole.engine.run.checkpoints import find_target

    target = find_target(run, runs_dir)
    path = target.pick(checkpoint)
    if target.run is not None:
        agree_to_own_code(read_preset(target.run.preset_file), trust)
    arguments = [str(path), part, weights, *([device] if device else [])]
    report = make_report(EvaluationReport, "evaluate", *arguments)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        _print(report)
    return 0


def _print(report: EvaluationReport) -> None:
    from torchconsole.tui.formatting import format_metric

    averaged = ", averaged weights" if report.averaged else ""
    print(
        f"{report.checkpoint} (epoch {report.epoch:,}{averaged}) on {report.samples:,} samples of the "
        f"{report.part} part, on {report.device}"
    )
    rows = [
        (name, "not finite" if value is None else format_metric(value))
        for name, value in report.metrics.items()
    ]
    print_table(("METRIC", "VALUE"), rows, right=(1,))
    for name, table in report.tables.items():
        if len(table) <= LARGEST_TABLE:
            print(f"\n{name}: a row for each true class, a column for each predicted one")
            classes = (
                report.classes if len(report.classes) == len(table) else list(map(str, range(len(table))))
            )
            cells = [[label, *(f"{x:g}" for x in row)] for label, row in zip(classes, table, strict=True)]
            print_table(["", *classes], cells, right=range(1, len(table) + 1))

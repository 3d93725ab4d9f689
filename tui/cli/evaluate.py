"""`torchconsole evaluate`: the metrics of a checkpoint on a part of its data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from torchconsole.tui.cli.options import (
    AsJson,
    RunOrCheckpoint,
    RunsDir,
    Trust,
    WhichCheckpoint,
    WhichWeights,
)
from torchconsole.tui.cli.presets import require_trust
from torchconsole.tui.cli.report import make_report
from torchconsole.tui.cli.terminal import output_width, print_json, print_table, print_wrapped
from torchconsole.tui.table import Column, least_width

if TYPE_CHECKING:
    from torchconsole.engine.protocol.reports import EvaluationReport

MOST_CLASSES = 20
"""A confusion matrix of more classes is not printed."""

LEAST_CLASS_NAME = 6


def evaluate(
    run: RunOrCheckpoint,
    part: Annotated[
        Literal["val", "test", "train"],
        typer.Option(metavar="val|test|train", help="Part of the run's data to evaluate on."),
    ] = "val",
    checkpoint: WhichCheckpoint = "best",
    weights: WhichWeights = "auto",
    device: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE", help="Device to evaluate on: cpu, cuda:1, ... (default: the run's device)."
        ),
    ] = None,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
    trust: Trust = False,
) -> int:
    """Evaluate a run's best checkpoint on its validation data.

    The run may be live. Nothing in its folder is changed.
    """
    from torchconsole.engine.config.loading import read_preset
    from torchconsole.engine.protocol.reports import EvaluationReport
    from torchconsole.engine.run.checkpoints import find_target
    from torchconsole.engine.run.script_runs import refuse_script

    target = find_target(run, runs_dir)
    if target.run is not None:
        refuse_script(target.run, "evaluate")
    path = target.pick(checkpoint)
    if target.run is not None:
        require_trust(read_preset(target.run.preset_file), trust)
    arguments = [str(path), part, weights, *([device] if device else [])]
    report = make_report(EvaluationReport, "evaluate", *arguments)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        print_evaluation(report)
    return 0


def print_evaluation(report: EvaluationReport) -> None:
    """Print the metrics, and the confusion matrices that are not too large."""
    from torchconsole.tui.formatting import format_named_metric

    averaged = ", EMA weights" if report.averaged else ""
    print_wrapped(
        f"{report.checkpoint} (epoch {report.epoch:,}{averaged}), evaluated on {report.samples:,} samples of "
        f"the {report.part} data, on {report.device}"
    )
    print_table(
        (Column("METRIC", least=8, cut="middle"), Column("VALUE", right=True)),
        [(name, format_named_metric(name, value)) for name, value in report.metrics.items()],
    )
    for name, reason in report.unavailable.items():
        print_wrapped(f"{name} is n/a: {reason}")
    for change in report.changes:
        print_wrapped(f"warning: {change}")
    if report.loss_unit:
        print_wrapped(f"the loss is computed on {report.loss_unit}, all other metrics in the targets' unit")
    for name, matrix in report.tables.items():
        if len(matrix) <= MOST_CLASSES:
            print()
            _print_matrix(name, report.classes, matrix)


def _print_matrix(name: str, classes: Sequence[str], matrix: Sequence[Sequence[float]]) -> None:
    """Print a square matrix of counts. Counts are never shortened: a part of a number is a wrong number."""
    labels = classes if len(classes) == len(matrix) else list(map(str, range(len(matrix))))
    rows = [[label, *(f"{x:g}" for x in row)] for label, row in zip(labels, matrix, strict=True)]
    columns = [
        Column("", least=LEAST_CLASS_NAME),
        *(
            Column(label, right=True, least=max(len(row[index]) for row in rows))
            for index, label in enumerate(labels, 1)
        ),
    ]
    width, needed = output_width(), least_width(columns, rows)
    if width is not None and width < needed:
        print_wrapped(f"{name}: not shown, because it needs a terminal of {needed} columns; see --json")
        return
    print_wrapped(f"{name}: one row per true class, one column per predicted class")
    print_table(columns, rows)

"""`torchconsole evaluate`: the metrics of a checkpoint on a part of its data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.text import counted, printable
from torchconsole.engine.user_folders import expand_user
from torchconsole.tui.cli.model_inputs import print_failed
from torchconsole.tui.cli.named_files import shown_path
from torchconsole.tui.cli.named_runs import find_checkpoint
from torchconsole.tui.cli.options import (
    AsJson,
    OnDevice,
    RunOrCheckpoint,
    RunsDir,
    Trust,
    WhichCheckpoint,
    WhichWeights,
)
from torchconsole.tui.cli.report import make_report
from torchconsole.tui.cli.terminal import output_width, print_json, print_table, print_wrapped
from torchconsole.tui.table import Column, least_width

if TYPE_CHECKING:
    from torchconsole.engine.protocol.model_reports import (
        Calibration,
        ClassFigures,
        Confusion,
        EvaluationReport,
    )

MOST_CLASSES = 20
"""A confusion matrix of more classes is not printed."""

MOST_CONFUSIONS = 10
"""Pairs of confused classes that are printed."""

LEAST_CLASS_NAME = 6


def evaluate(
    run: RunOrCheckpoint,
    part: Annotated[
        Literal["val", "test", "train"] | None,
        typer.Option(metavar="val|test|train", help="Part of the run's data to evaluate on (default: val)."),
    ] = None,
    on: Annotated[
        Path | None,
        typer.Option(
            "--on", metavar="FOLDER|FILE", help="Other data of the same kind; the run's is not needed."
        ),
    ] = None,
    checkpoint: WhichCheckpoint = "best",
    weights: WhichWeights = "auto",
    device: OnDevice = None,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
    trust: Trust = False,
) -> int:
    """Evaluate a run's best checkpoint on its validation data.

    Prints the metrics, the figures of each class, the calibration error, the
    classes that are confused most, and the samples with the highest losses.
    The run may be live. Nothing in its folder is changed. With --on, a file that
    cannot be used is reported; the exit status is then 1.
    """
    from torchconsole.engine.protocol.model_reports import READ_ONCE, EvaluationReport

    if on is not None and part is not None:
        raise TorchconsoleError("--part is a part of the run's own data; remove it, or remove --on")
    data = None if on is None else expand_user(on).absolute()
    if data is not None and data.is_fifo():  # the process of the report does not have a shell's /dev/fd/N
        raise TorchconsoleError(f"--on {shown_path(str(data))}: {READ_ONCE}")
    path = find_checkpoint(run, runs_dir, "evaluate", checkpoint, is_trusted=trust)
    if data is None:
        arguments = ["evaluate", str(path), part or "val", weights, *([device] if device else [])]
    else:
        arguments = ["evaluate-on", str(path), str(data), weights, device or ""]
    report = make_report(EvaluationReport, *arguments)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        print_evaluation(report)
    print_failed(report.failed)
    return 1 if report.failed else 0


def print_evaluation(report: EvaluationReport) -> None:
    """Print the metrics, and the confusion matrices that are not too large."""
    from torchconsole.tui.formatting import format_named_metric

    averaged = ", EMA weights" if report.averaged else ""
    data = shown_path(report.data) if report.data else f"the {report.part} data"
    print_wrapped(
        f"{report.checkpoint} (epoch {report.epoch:,}{averaged}), evaluated on "
        f"{counted(report.samples, 'sample')} of {data}, on {report.device}"
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
    if report.calibration is not None:
        _print_calibration(report.calibration)
    for name, matrix in report.tables.items():
        if len(matrix) <= MOST_CLASSES:
            print()
            _print_matrix(name, report.classes, matrix)
    _print_classes(report.per_class)
    _print_confusions(report.confusions)
    _print_worst(report)


def _print_calibration(found: Calibration) -> None:
    difference = found.confidence - found.accuracy
    tendency = "overconfident" if difference > 0 else "underconfident"
    print_wrapped(
        f"expected calibration error {found.error:.4f} ({found.bins} bins): mean confidence "
        f"{found.confidence:.4f}, accuracy {found.accuracy:.4f}, {tendency} by {abs(difference):.4f}"
    )


def _print_classes(figures: Sequence[ClassFigures]) -> None:
    """Print the figures of each class; of many classes, those with the lowest F1."""
    if not figures:
        return
    print()
    shown = list(figures)
    if len(figures) > MOST_CLASSES:
        shown = sorted(figures, key=lambda each: 2.0 if each.f1 is None else each.f1)[:MOST_CLASSES]
        print_wrapped(f"{MOST_CLASSES} of {len(figures):,} classes, those with the lowest F1; see --json")
    columns = [Column("CLASS", least=LEAST_CLASS_NAME)]
    columns += [Column(name, right=True) for name in ("PRECISION", "RECALL", "F1")]
    columns += [Column("SAMPLES", right=True, rank=1), Column("PREDICTED", right=True, rank=2)]
    rows = [
        [
            each.name,
            *map(_share, (each.precision, each.recall, each.f1)),
            f"{each.samples:,}",
            f"{each.predicted:,}",
        ]
        for each in shown
    ]
    print_table(columns, rows)


def _print_confusions(pairs: Sequence[Confusion]) -> None:
    if not pairs:
        return
    print()
    more = f" ({MOST_CONFUSIONS} of {len(pairs):,} pairs)" if len(pairs) > MOST_CONFUSIONS else ""
    print_wrapped(f"classes that are confused most{more}:")
    columns = [
        Column("TRUE", least=LEAST_CLASS_NAME),
        Column("PREDICTED", least=LEAST_CLASS_NAME),
        Column("SAMPLES", right=True),
        Column("SHARE", right=True, rank=1),
    ]
    rows = [[each.true, each.predicted, f"{each.samples:,}", f"{each.share:.1%}"] for each in pairs]
    print_table(columns, rows[:MOST_CONFUSIONS])


def _print_worst(report: EvaluationReport) -> None:
    """Print the samples with the highest losses, or why they are not known."""
    print()
    if why := report.missing.get("worst"):
        print_wrapped(f"the samples with the highest losses are n/a: {why}")
        return
    print_wrapped("samples with the highest losses:")
    has_probabilities = any(each.probability is not None for each in report.worst)
    columns = [
        Column("LOSS", right=True),
        Column("TRUE", least=LEAST_CLASS_NAME),
        Column("PREDICTED", least=LEAST_CLASS_NAME),
        *[Column("PROBABILITY", right=True, rank=1)] * has_probabilities,
        Column("SAMPLE", least=12, cut="start"),
    ]
    rows = []
    for each in report.worst:
        loss = "n/a" if each.loss is None else f"{each.loss:.4g}"
        probability = [_share(each.probability)] * has_probabilities
        rows.append([loss, each.label, each.predicted, *probability, shown_path(each.place)])
    print_table(columns, rows)


def _share(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4f}"


def _print_matrix(name: str, classes: Sequence[str], matrix: Sequence[Sequence[float]]) -> None:
    """Print a square matrix of counts. Counts are never shortened: a part of a number is a wrong number."""
    names = classes if len(classes) == len(matrix) else map(str, range(len(matrix)))
    labels = [printable(name) for name in names]  # as they are printed, for the width that is needed
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

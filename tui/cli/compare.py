"""`torchconsole compare`: runs side by side, in the console or as tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.text import printable
from torchconsole.tui.cli.named_runs import find_runs
from torchconsole.tui.cli.options import AsJson, RunNames, RunsDir
from torchconsole.tui.cli.terminal import has_terminal, print_json, print_table, print_wrapped
from torchconsole.tui.table import Column

if TYPE_CHECKING:
    from torchconsole.engine.run.record import RunRecord
    from torchconsole.tui.comparison import Comparison, SeedGroup

LEAST_RUNS = 2


def compare(
    runs: RunNames,
    as_json: AsJson = False,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME", help="Show only this metric. Can be repeated."),
    ] = None,
    runs_dir: RunsDir = None,
) -> int:
    """Compare the values and the settings of two to six runs.

    Opens the console on up to six runs; prints tables if there is no terminal or with --metric. Of runs that
    differ in the seed alone, mean and range are shown too.
    """
    from torchconsole.tui.comparison import MOST_RUNS, Comparison, read_compared, to_json

    records = _find(runs, runs_dir)
    if not as_json and not metric and has_terminal() and len(records) <= MOST_RUNS:
        from torchconsole.tui.cli.console import open_comparison

        return open_comparison(records, runs_dir)
    comparison = Comparison([read_compared(record) for record in records])
    shown = _chosen_metrics(comparison, metric)
    if as_json:
        print_json(to_json(comparison, shown))
    else:
        _print(comparison, shown)
    return 0


def _find(names: Sequence[str], runs_dir: Path | None) -> list[RunRecord]:
    """Find the runs, each once. Raises TorchconsoleError for less than two."""
    from torchconsole.engine.run.notes import read_notes

    folders = find_runs(names, runs_dir)
    if len(folders) < LEAST_RUNS:
        raise TorchconsoleError("compare needs at least two different runs; `torchconsole runs` lists them")
    records = []
    for folder in folders:
        record = folder.read_record()
        record.tags = list(read_notes(folder).tags)
        records.append(record)
    return records


def _chosen_metrics(comparison: Comparison, chosen: Sequence[str] | None) -> list[str]:
    """Return the metrics to show. Raises TorchconsoleError for one that no run has."""
    from torchconsole.engine.text import did_you_mean

    known = comparison.metrics
    for name in chosen or []:
        if name not in known:
            raise TorchconsoleError(f"--metric: no run has logged {name!r}{did_you_mean(name, known)}")
    return list(dict.fromkeys(chosen)) if chosen else known


def _print(comparison: Comparison, metrics: Sequence[str]) -> None:
    runs = comparison.runs
    names = [printable(run.record.name) for run in runs]
    columns = [Column("METRIC"), *(Column(name, right=True, least=12, cut="middle") for name in names)]
    rows = []
    for metric in metrics:
        best = [_best_text(run.best(metric)) for run in runs]
        if any(best):
            rows.append([f"{printable(metric)} best", *best])
        rows.append([f"{printable(metric)} final", *(_value_text(run.final(metric)) for run in runs)])
    print_table(columns, rows)
    for run in runs:
        if run.counts_epochs:
            print_wrapped(f"the steps of {run.record.name} are epochs")
    for group in comparison.groups:
        _print_group(comparison, group, metrics)
    differing = comparison.differing
    print()
    if not differing:
        print("the settings are the same")
        return
    from torchconsole.tui.widgets.run_preview import format_setting

    keys = [Column("SETTING"), *(Column(name, least=12, cut="middle") for name in names)]
    print_table(
        keys,
        [[printable(key), *(format_setting(run.settings.get(key)) for run in runs)] for key in differing],
    )
    for run in runs:
        if run.problem:
            print_wrapped(f"{run.record.name}: {run.problem}")


def _print_group(comparison: Comparison, group: SeedGroup, metrics: Sequence[str]) -> None:
    """Print mean and range of the runs that differ in the seed alone."""
    names = ", ".join(comparison.runs[index].record.name for index in group.members)
    print()
    print_wrapped(f"{names} differ in the seed alone:")
    rows = []
    for metric in metrics:
        best = group.statistics(
            [found[1] if (found := run.best(metric)) else None for run in comparison.runs]
        )
        final = group.statistics([run.final(metric) for run in comparison.runs])
        rows.append([printable(metric), *_range_cells(best), *_range_cells(final)])
    headings = ("MEAN OF BEST", "RANGE", "MEAN OF FINAL", "RANGE")
    print_table([Column("METRIC"), *(Column(heading, right=True) for heading in headings)], rows)


def _range_cells(found: tuple[float, float, float] | None) -> tuple[str, str]:
    from torchconsole.tui.formatting import format_metric

    if found is None:
        return "", ""
    mean, low, high = map(format_metric, found)
    return mean, f"{low} to {high}"


def _best_text(best: tuple[int, float] | None) -> str:
    from torchconsole.tui.formatting import format_metric

    return "" if best is None else f"{format_metric(best[1])} @ {best[0]:,}"


def _value_text(value: float | None) -> str:
    from torchconsole.tui.formatting import format_metric

    return "" if value is None else format_metric(value)

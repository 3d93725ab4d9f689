"""`torchconsole summary --values`: the ranges of the values in a preset's model or a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.tui.cli.named_runs import find_preset_or_run
from torchconsole.tui.cli.presets import load_checked_preset, require_trust
from torchconsole.tui.cli.report import make_preset_report, make_report
from torchconsole.tui.cli.terminal import print_table, print_wrapped
from torchconsole.tui.table import Column

if TYPE_CHECKING:
    from torchconsole.engine.protocol.reports import TensorValues, ValuesReport

COLUMNS = (
    Column("TENSOR", least=16, cut="start"),
    Column("SHAPE", rank=3),
    Column("MIN", right=True),
    Column("MAX", right=True),
    Column("MEAN", right=True, rank=4),
    Column("DEVIATION", right=True, rank=2),
    Column("ZEROS", right=True, rank=5),
    Column("NON-FINITE", right=True, rank=1),
)


def read_values(
    name: str, overrides: Sequence[str] | None, runs_dir: Path | None, *, is_trusted: bool
) -> ValuesReport:
    """Describe the values of the preset called `name`, or else of the run or checkpoint of that name.

    Raises TorchconsoleError if there is neither, or for `overrides` of a run.
    """
    from torchconsole.engine.protocol.reports import ValuesReport

    target = find_preset_or_run(name, runs_dir, "describe the values of")
    if target is not None:
        if overrides:
            raise TorchconsoleError(f"--set changes a preset, but {name} is a run or checkpoint")
        return make_report(ValuesReport, "checkpoint-values", str(target.pick()))
    loaded = load_checked_preset(name, overrides)
    require_trust(loaded, is_trusted)
    return make_preset_report(ValuesReport, "initial-values", loaded)


def print_values(report: ValuesReport) -> None:
    """Print a line for each tensor, below what the values are of."""
    averaged = ", EMA weights" if report.averaged else ""
    print_wrapped(
        f"{report.checkpoint}{averaged}" if report.checkpoint else "the model before its first step"
    )
    print_table(COLUMNS, [_cells(tensor) for tensor in report.tensors])


def _cells(tensor: TensorValues) -> list[str]:
    figures = (tensor.min, tensor.max, tensor.mean, tensor.deviation)
    return [
        tensor.name,
        "x".join(map(str, tensor.shape)) or "scalar",
        *("-" if figure is None else f"{figure:.4g}" for figure in figures),
        f"{tensor.zeros:.1%}",
        f"{tensor.nonfinite:,}",
    ]

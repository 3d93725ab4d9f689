"""`torchconsole summary`: the layers of the model of a preset or of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.tui.cli.named_runs import load_settings
from torchconsole.tui.cli.options import AsJson, Overrides, PresetOrRun, RunsDir, Trust
from torchconsole.tui.cli.presets import require_trust
from torchconsole.tui.cli.report import make_preset_report
from torchconsole.tui.cli.tensor_values import print_values, read_values
from torchconsole.tui.cli.terminal import print_json, print_table, print_wrapped
from torchconsole.tui.table import Column

if TYPE_CHECKING:
    from torchconsole.engine.protocol.info import LayerInfo, ModelSummary

COLUMNS = (
    Column("LAYER", least=16),
    Column("TYPE", rank=3, least=8),
    Column("OUTPUT", rank=2),
    Column("PARAMS", right=True),
    Column("TRAINABLE", right=True, rank=4),
    Column("MACS", right=True, rank=1),
    Column("MEMORY", right=True, rank=5),
)


def summary(
    preset: PresetOrRun,
    depth: Annotated[
        int | None, typer.Option(metavar="N", help="Print N levels of modules, 1 or more (default: all).")
    ] = None,
    values: Annotated[
        bool,
        typer.Option(
            "--values",
            help="Print the ranges of parameters and buffers instead: before the first step, or of a run's "
            "checkpoint.",
        ),
    ] = False,
    overrides: Overrides = None,
    trust: Trust = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> int:
    """Print the layers of a model as a tree.

    One line per module, with all modules in it: its output shape, its parameters, how many of them are
    trainable, its multiply-accumulate operations (MACs), and the memory that a sample's activations take
    until the backward pass (in float32, without dropout). With --values, one line per parameter and buffer
    of real numbers.
    """
    from torchconsole.engine.protocol.info import ModelSummary

    if depth is not None and depth < 1:
        raise TorchconsoleError(f"--depth {depth}: the tree has one level or more")
    if values:
        if depth is not None:
            raise TorchconsoleError("--depth limits the tree of layers; --values prints all tensors")
        described = read_values(preset, overrides, runs_dir, is_trusted=trust)
        if as_json:
            print_json(described.model_dump(mode="json"))
        else:
            print_values(described)
        return 0
    loaded, _ = load_settings(preset, overrides, runs_dir, "summarize")
    require_trust(loaded, trust)
    report = make_preset_report(ModelSummary, "summary", loaded)
    if depth is not None:
        report = report.model_copy(
            update={"layers": [layer for layer in report.layers if layer.depth < depth]}
        )
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        print_layers(report)
    return 0


def print_layers(report: ModelSummary) -> None:
    """Print a line for each layer, and the totals."""
    print_table(COLUMNS, [_cells(layer) for layer in report.layers])
    macs = (
        "unknown" if report.macs is None else f"{report.macs:,}{'' if report.macs_complete else ' or more'}"
    )
    print()
    print_wrapped(
        f"parameters {report.params:,}, trainable {report.trainable:,}, MACs per sample {macs}, "
        f"activations per sample {_memory(report.activations)}"
    )


def _cells(layer: LayerInfo) -> list[str]:
    shape = "x".join(map(str, layer.output_shape)) if layer.output_shape else "?"
    macs = "?" if layer.macs is None else f"{layer.macs:,}"
    return [
        "  " * layer.depth + layer.name.rpartition(".")[2],
        layer.type,
        shape,
        f"{layer.params:,}",
        f"{layer.trainable:,}",
        macs,
        _memory(layer.activations, unknown="?"),
    ]


def _memory(size: int | None, unknown: str = "unknown") -> str:
    from torchconsole.tui.formatting import format_bytes

    return unknown if size is None else format_bytes(size)

"""`torchconsole summary`: the layers of a preset's model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchconsole.tui.cli.options import AsJson, Overrides, PresetName, Trust
from torchconsole.tui.cli.presets import load_checked_preset, require_trust
from torchconsole.tui.cli.report import make_preset_report
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
)


def summary(
    preset: PresetName, overrides: Overrides = None, trust: Trust = False, as_json: AsJson = False
) -> int:
    """Print the layers of a preset's model.

    One line per layer: its output shape, its parameters and its multiply-accumulate operations (MACs).
    """
    from torchconsole.engine.protocol.info import ModelSummary

    loaded = load_checked_preset(preset, overrides)
    require_trust(loaded, trust)
    report = make_preset_report(ModelSummary, "summary", loaded)
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
    print_wrapped(f"parameters {report.params:,}, trainable {report.trainable:,}, MACs per sample {macs}")


def _cells(layer: LayerInfo) -> list[str]:
    shape = "x".join(map(str, layer.output_shape)) if layer.output_shape else "?"
    macs = "?" if layer.macs is None else f"{layer.macs:,}"
    return [
        "  " * layer.depth + layer.name,
        layer.type,
        shape,
        f"{layer.params:,}",
        f"{layer.trainable:,}",
        macs,
    ]

"""`torchconsole summary`: the layers of a preset's model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchconsole.tui.cli.choosing import agree_to_own_code, choose_preset
from torchconsole.tui.cli.options import AsJson, Overrides, PresetName, Trust
from torchconsole.tui.cli.output import print_json, print_table
from torchconsole.tui.cli.report import make_preset_report

if TYPE_CHECKING:
    from torchconsole.engine.protocol.info import LayerInfo, ModelSummary


def summary(
    preset: PresetName, overrides: Overrides = None, trust: Trust = False, as_json: AsJson = False
) -> int:
    """Print the layers of a preset's model.

    A line for each: its output shape, its parameters and its multiply-accumulates.
    """
    from torchconsole.engine.protocol.info import ModelSummary

    loaded = choose_preset(preset, overrides)
    agree_to_own_code(loaded, trust)
    report = make_preset_report(ModelSummary, "summary", loaded)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        print_layers(report)
    return 0


def print_layers(report: ModelSummary) -> None:
    """Print a line for each layer, and the totals."""
    headings = ("LAYER", "TYPE", "OUTPUT", "PARAMS", "TRAINABLE", "MACS")
    print_table(headings, [_cells(layer) for layer in report.layers], right=(3, 4, 5))
    macs = (
        "unknown" if report.macs is None else f"{report.macs:,}{'' if report.macs_complete else ' or more'}"
    )
    print(f"\nparameters {report.params:,}, trainable {report.trainable:,}, MACs per sample {macs}")


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

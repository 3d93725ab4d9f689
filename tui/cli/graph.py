"""`torchconsole graph`: a drawing of the modules of the model of a preset or of a run."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.text import printable
from torchconsole.tui.cli.named_files import output_path
from torchconsole.tui.cli.named_runs import load_settings
from torchconsole.tui.cli.options import AsJson, Force, Overrides, PresetOrRun, RunsDir, Trust
from torchconsole.tui.cli.presets import require_trust
from torchconsole.tui.cli.report import make_preset_report
from torchconsole.tui.cli.terminal import print_json

SOURCES = (".dot", ".gv")
DRAWINGS = (".svg", ".png", ".pdf")


def graph(
    preset: PresetOrRun,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Output file: .svg, .png, .pdf, or .dot for graphviz text."
        ),
    ],
    depth: Annotated[
        int | None, typer.Option(metavar="N", help="Draw N levels of modules, 1 or more (default: all).")
    ] = None,
    force: Force = False,
    overrides: Overrides = None,
    trust: Trust = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> int:
    """Draw the modules of a model.

    A box per module, with the shapes of its input and output, in the order in which a sample passes through
    them. Requires torchview and graphviz (pip install 'torchconsole[graph]'), and except for .dot the program
    dot of Graphviz.
    """
    from torchconsole.engine.protocol.reports import GraphReport
    from torchconsole.tui.formatting import format_bytes

    if depth is not None and depth < 1:
        raise TorchconsoleError(f"--depth {depth}: draw one level or more")
    _require_programs(output)
    file = output_path(output, force=force)
    loaded, _ = load_settings(preset, overrides, runs_dir, "draw the model of")
    require_trust(loaded, trust)
    options = [] if depth is None else [str(depth)]
    report = make_preset_report(GraphReport, "graph", loaded, str(file), *options)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        print(printable(f"{report.file}: {format_bytes(report.bytes)}"))
    return 0


def _require_programs(output: Path) -> None:
    """Raise TorchconsoleError for an unknown format, or if what draws it is not installed."""
    suffix = output.suffix.lower()
    if suffix not in (*SOURCES, *DRAWINGS):
        raise TorchconsoleError(f"{output}: unknown format; end the name with {', '.join(DRAWINGS)} or .dot")
    # Importing torchview would import torch.
    if find_spec("torchview") is None or find_spec("graphviz") is None:
        raise TorchconsoleError("graph requires torchview and graphviz: pip install 'torchconsole[graph]'")
    if suffix in DRAWINGS and shutil.which("dot") is None:
        raise TorchconsoleError(
            f"{suffix} requires the program dot: install the package graphviz (apt install graphviz), "
            f"or write {output.with_suffix('.dot')}"
        )

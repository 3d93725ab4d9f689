"""`torchconsole features`: the outputs of a model's layers for inputs, as a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.text import counted, printable
from torchconsole.tui.cli.metric_tables import import_pyarrow
from torchconsole.tui.cli.model_inputs import (
    describe_model,
    find_trained,
    input_paths,
    print_failed,
    require_positive,
)
from torchconsole.tui.cli.named_files import output_path, shown_path
from torchconsole.tui.cli.options import (
    AsJson,
    BatchSize,
    Force,
    OnDevice,
    RunOrExport,
    RunsDir,
    Trust,
    WhichCheckpoint,
    WhichWeights,
)
from torchconsole.tui.cli.report import make_report
from torchconsole.tui.cli.terminal import print_json, print_table, print_wrapped
from torchconsole.tui.table import Column

if TYPE_CHECKING:
    from torchconsole.engine.protocol.model_reports import FeatureReport, LayerOutput, LayerReport

FORMATS = (".npz", ".parquet")


def features(
    run: RunOrExport,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="INPUT", help="Inputs as for `torchconsole predict`.", show_default=False),
    ] = None,
    layers: Annotated[
        str | None, typer.Option("--layer", metavar="NAME[,NAME]", help="Layers whose outputs to write.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="File to write, .npz or .parquet."),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List the layers with the shapes of their outputs.")
    ] = False,
    force: Force = False,
    batch_size: BatchSize = 64,
    checkpoint: WhichCheckpoint = "best",
    weights: WhichWeights = "auto",
    device: OnDevice = None,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
    trust: Trust = False,
) -> int:
    """Write the outputs of layers for inputs. The run's data is not needed.

    A file that cannot be used is reported, the others are written; the exit status is then 1.
    """
    from torchconsole.engine.protocol.model_reports import FeatureReport, LayerReport

    if listed:
        path = find_trained(run, "compute features of", checkpoint, runs_dir, trust)
        report = make_report(LayerReport, "layers", str(path), weights, device or "")
        _print_layers(report, as_json=as_json)
        return 0
    require_positive("--batch-size", batch_size)
    names = [name.strip() for name in (layers or "").split(",") if name.strip()]
    if not (inputs and names and output):
        raise TorchconsoleError(
            "features needs INPUT..., --layer and -o FILE; --list shows the layers of RUN"
        )
    if output.suffix.lower() not in FORMATS:
        raise TorchconsoleError(f"-o {output}: must end with {' or '.join(FORMATS)}")
    if output.suffix.lower() == ".parquet":
        import_pyarrow(f"-o {output}")
    file, files = output_path(output, force=force), input_paths(inputs)
    path = find_trained(run, "compute features of", checkpoint, runs_dir, trust)
    options = (str(path), weights, device or "", str(batch_size), str(file), ",".join(dict.fromkeys(names)))
    found = make_report(FeatureReport, "features", *options, *files, stdin=sys.stdin)
    _print_report(found, as_json=as_json)
    return 1 if found.failed else 0


def _print_layers(report: LayerReport, *, as_json: bool) -> None:
    if as_json:
        print_json(report.model_dump(mode="json"))
        return
    columns = [Column("LAYER", least=12, cut="middle"), Column("TYPE", rank=1), Column("OUTPUT"), Column("")]
    print_table(columns, [[each.name, each.type, _shape(each), _calls(each)] for each in report.layers])


def _print_report(report: FeatureReport, *, as_json: bool) -> None:
    if as_json:
        print_json(report.model_dump(mode="json"))
    elif report.file:
        print_wrapped(f"{describe_model(report)}, on {report.device}")
        print(printable(f"{shown_path(report.file)}: {counted(report.inputs, 'input')}"))
        columns = [Column("LAYER", least=12, cut="middle"), Column("OUTPUT"), Column("")]
        print_table(columns, [[each.name, _shape(each), _calls(each)] for each in report.layers])
    print_failed(report.failed)


def _shape(layer: LayerOutput) -> str:
    return "no row for each input" if layer.shape is None else "x".join(map(str, layer.shape)) or "number"


def _calls(layer: LayerOutput) -> str:
    return f"last of {layer.calls} calls" if layer.calls > 1 else ""

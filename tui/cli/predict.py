"""`torchconsole predict`: what a run's model predicts for images, texts, tables and arrays."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from torchconsole.engine.errors import RunError, TorchconsoleError
from torchconsole.engine.files import replacing
from torchconsole.engine.text import counted, printable
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
from torchconsole.tui.table import GAP, Column, align

if TYPE_CHECKING:
    from torchconsole.engine.protocol.model_reports import Prediction, PredictionReport


def predict(
    run: RunOrExport,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Images, texts, folders of them, tables such as the run's, .npz files, or - for standard "
            "input (of texts: one per line).",
        ),
    ],
    top: Annotated[
        int, typer.Option("--top", metavar="K", help="Number of most probable classes to print.")
    ] = 1,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the predictions to a CSV file.")
    ] = None,
    force: Force = False,
    tta: Annotated[
        Literal["flips"] | None,
        typer.Option("--tta", metavar="flips", help="Average over each image and its mirror image: flips."),
    ] = None,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Show the images beside their predictions.")
    ] = False,
    batch_size: BatchSize = 64,
    checkpoint: WhichCheckpoint = "best",
    weights: WhichWeights = "auto",
    device: OnDevice = None,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
    trust: Trust = False,
) -> int:
    """Predict with a run's best checkpoint. The run's data is not needed.

    A file that cannot be used is reported, the others are predicted; the exit status is then 1.
    """
    from torchconsole.engine.protocol.model_reports import PredictionReport

    require_positive("--top", top)
    require_positive("--batch-size", batch_size)
    if pictures and (csv_file or as_json):
        raise TorchconsoleError("--pictures: shows images in the terminal only; remove --csv or --json")
    table = None if csv_file is None else output_path(csv_file, force=force)
    files = input_paths(inputs)
    path = find_trained(run, "predict with", checkpoint, runs_dir, trust)
    options = (str(path), weights, device or "", str(top), str(batch_size), tta or "", "pictures" * pictures)
    report = make_report(PredictionReport, "predict", *options, *files, stdin=sys.stdin)
    if table is not None:
        _write_csv(report, table, top)
    _print_report(report, table, as_json=as_json)
    return 1 if report.failed else 0


def _print_report(report: PredictionReport, table: Path | None, *, as_json: bool) -> None:
    """Print the predictions, or only their number if they are in a table; and the errors."""
    if as_json:
        print_json(report.model_dump(mode="json"))
    elif table is None:
        _print_predictions(report)
    else:
        print(printable(f"{table}: {counted(len(report.predictions), 'prediction')}"))
    print_failed(report.failed)


def _print_predictions(report: PredictionReport) -> None:
    flips = ", means over flips" if report.flips else ""
    print_wrapped(f"{describe_model(report)}, on {report.device}{flips}")
    if report.target_transform:
        print_wrapped(f"values are {report.target_transform} of the targets (data.target_transform)")
    if not report.predictions:
        return
    if any(each.picture for each in report.predictions):
        _print_pictures(report)
        return
    columns = [Column("INPUT", least=12, cut="middle")]
    if report.targets:
        columns += [Column(name, right=True) for name in report.targets]
    else:
        for _ in report.predictions[0].classes:
            columns += [Column("CLASS", least=6), Column("PROBABILITY", right=True)]
    print_table(columns, [[_place(each), *_cells(each)] for each in report.predictions])


def _print_pictures(report: PredictionReport) -> None:
    from torchconsole.tui.cli.pictures import print_beside

    for each in report.predictions:
        cells, names = _cells(each), report.targets
        pairs = zip(names, cells, strict=True) if names else zip(cells[::2], cells[1::2], strict=True)
        shown = [[printable(cell) for cell in pair] for pair in pairs]
        lines = [_place(each), *map(GAP.join, align(shown))]
        print_beside(each.picture, lines)
        print()


def _cells(prediction: Prediction) -> list[str]:
    if prediction.values:
        return ["n/a" if value is None else f"{value:.6g}" for value in prediction.values]
    pairs = zip(prediction.classes, prediction.probabilities, strict=True)
    return [
        cell
        for name, probability in pairs
        for cell in (name, "n/a" if probability is None else f"{probability:.4f}")
    ]


def _place(prediction: Prediction) -> str:
    file = shown_path(prediction.file)
    if prediction.line is not None:
        return f"{file} line {prediction.line:,}"
    return file if prediction.row is None else f"{file} row {prediction.row:,}"


def _write_csv(report: PredictionReport, file: Path, top: int) -> None:
    """Write one line for each prediction. Raises RunError if the file cannot be written."""
    most = min(top, max((len(each.classes) for each in report.predictions), default=1))
    names = [f"{key}_{number}" for number in range(1, most + 1) for key in ("class", "probability")]
    if most == 1:
        names = ["class", "probability"]
    try:
        with replacing(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as text:
            writer = csv.writer(text)
            # Where there is text, the line is what an editor shows; a row may take several lines.
            has_lines = any(each.line is not None for each in report.predictions)
            writer.writerow(["file", "row", *["line"] * has_lines, *(report.targets or names)])
            for each in report.predictions:
                pairs = zip(each.classes, each.probabilities, strict=True)
                cells: list[str | float | None] = list(each.values) or [
                    cell for pair in pairs for cell in pair
                ]
                writer.writerow([each.file, each.row, *[each.line] * has_lines, *cells])
    except OSError as error:
        raise RunError(f"{file}: cannot be written: {error.strerror}") from error
    except UnicodeEncodeError as error:
        raise TorchconsoleError(f"{file}: a file name cannot be written as UTF-8; rename it") from error

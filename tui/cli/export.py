"""`torchconsole export`: write a checkpoint's weights or its model to a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.text import printable
from torchconsole.tui.cli.named_files import output_path
from torchconsole.tui.cli.named_runs import find_target, require_run_trust
from torchconsole.tui.cli.options import (
    AsJson,
    Force,
    RunOrCheckpoint,
    RunsDir,
    Trust,
    WhichCheckpoint,
    WhichWeights,
)
from torchconsole.tui.cli.report import make_report
from torchconsole.tui.cli.terminal import print_json
from torchconsole.tui.formatting import format_bytes

if TYPE_CHECKING:
    from torchconsole.engine.protocol.reports import ExportedGraph, ExportReport

MAX_SHOWN = 4
"""Number of channels whose mean and std are printed."""

Format = Literal["safetensors", "state_dict", "torch.export", "onnx", "folder"]

SUFFIXES: dict[Format, str] = {
    "safetensors": ".safetensors",
    "state_dict": ".pt",
    "torch.export": ".pt2",
    "onnx": ".onnx",
    "folder": "-model",
}

WEIGHTS_ONLY = ("safetensors", "state_dict")
"""Formats that are written without building the model, which may be the user's own code."""


def export(
    run: RunOrCheckpoint,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="safetensors or state_dict: the weights; torch.export (.pt2) or onnx: the whole model; "
            "folder: with a program that predicts, and a model card (default: that of FILE's ending, else "
            "safetensors).",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Output file (default: RUN-step-N in this folder, named after the format).",
        ),
    ] = None,
    force: Force = False,
    checkpoint: WhichCheckpoint = "best",
    weights: WhichWeights = "auto",
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
    trust: Trust = False,
) -> int:
    """Write a checkpoint's weights, or its whole model, to a file.

    A file of weights can be loaded again with `train --from`, or as a preset's
    model.weights. A whole model runs without torchconsole and without its code.
    """
    from torchconsole.engine.protocol.reports import ExportReport

    target = find_target(run, runs_dir, "export")
    path = target.pick(checkpoint)
    ending = next((name for name, end in SUFFIXES.items() if output and output.suffix == end), None)
    form = form or ending or "safetensors"
    if output is None:
        path = path.resolve()
        stem = f"{target.run.name}-{path.name}" if target.run else path.name
        output = Path(stem + SUFFIXES[form])
    if ending not in (None, form):
        raise TorchconsoleError(f"{output}: the format is {form}; add --format {ending}, or change the name")
    output = output_path(output, force=force, is_folder=form == "folder")
    if form not in WEIGHTS_ONLY:
        require_run_trust(target, is_trusted=trust)
    report = make_report(ExportReport, "export", str(path), str(output), form, weights)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        _print_report(report, form)
    return 0


def _print_report(report: ExportReport, form: str) -> None:
    averaged = ", EMA weights" if report.averaged else ""
    print(
        printable(
            f"{report.file}: {report.tensors:,} tensors, {report.params:,} parameters{averaged}, step "
            f"{report.step:,}, {format_bytes(report.bytes)}"
        )
    )
    if report.graph is not None:
        _print_graph(report.graph)
    if form == "folder":
        print(printable(f"to predict: python {report.file}/predict.py FILE_OR_FOLDER..."))
        return
    if report.normalize is not None:
        print(_describe_inputs(report.normalize))
    if report.target_scale is not None:
        print(_describe_outputs(report.target_scale))
    for name, stored in report.tied.items():
        print(printable(f"{name} is tied to {stored}"))


def _print_graph(graph: ExportedGraph) -> None:
    """Print the graph's inputs and outputs, and how far its outputs differ from the model's."""
    print(printable(f"{graph.inputs} -> {graph.outputs}, N of any size"))
    if graph.difference is None:
        print("not compared with the model: onnxruntime is not installed")
    else:
        print(f"outputs compared with the model's by {graph.checked_by}: differ by {graph.difference:.2g}")
    for note in graph.notes:
        print(printable(f"note: {note}"))


def _describe_inputs(normalize: dict[str, list[float]]) -> str:
    """Return how to prepare the model's inputs."""
    mean, std = normalize["mean"], normalize["std"]
    if len(mean) > MAX_SHOWN:
        return f"inputs: normalize {len(mean):,} features with the mean and std in the run's preset.toml"
    texts = [", ".join(f"{value:.4g}" for value in values) for values in (mean, std)]
    return f"inputs: normalize with mean {texts[0]} and std {texts[1]}"


def _describe_outputs(scale: dict[str, list[float]]) -> str:
    """Return how to turn the model's outputs into predictions."""
    mean, std = scale["mean"], scale["std"]
    if len(mean) > 1:
        return "outputs: multiply by the std and add the mean of data.scale_target in the run's preset.toml"
    return f"outputs: multiply by {std[0]:.6g} and add {mean[0]:.6g} to predict in the targets' unit"

"""`torchconsole export`: write a checkpoint's weights to a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from torchconsole.engine.text import printable
from torchconsole.tui.cli.named_files import output_path
from torchconsole.tui.cli.options import (
    AsJson,
    Force,
    RunOrCheckpoint,
    RunsDir,
    WhichCheckpoint,
    WhichWeights,
)
from torchconsole.tui.cli.report import make_report
from torchconsole.tui.cli.terminal import print_json

MAX_SHOWN = 4
"""Number of channels whose mean and std are printed."""

SUFFIXES = {"safetensors": ".safetensors", "state_dict": ".pt"}


def export(
    run: RunOrCheckpoint,
    form: Annotated[
        Literal["safetensors", "state_dict"],
        typer.Option(
            "--format", metavar="FORMAT", help="safetensors, or state_dict for model.load_state_dict."
        ),
    ] = "safetensors",
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Output file (default: RUN-step-N.safetensors or .pt in this folder)."
        ),
    ] = None,
    force: Force = False,
    checkpoint: WhichCheckpoint = "best",
    weights: WhichWeights = "auto",
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> int:
    """Write the weights of a run's best checkpoint to a file.

    The file can be loaded again with `train --from`, or as a preset's model.weights.
    """
    from torchconsole.engine.protocol.reports import ExportReport
    from torchconsole.engine.run.checkpoints import find_target
    from torchconsole.engine.run.script_runs import refuse_script
    from torchconsole.tui.formatting import format_bytes

    target = find_target(run, runs_dir)
    if target.run:
        refuse_script(target.run, "export")
    path = target.pick(checkpoint)
    if output is None:
        path = path.resolve()
        stem = f"{target.run.name}-{path.name}" if target.run else path.name
        output = Path(stem + SUFFIXES[form])
    output = output_path(output, force=force)
    report = make_report(ExportReport, "export", str(path), str(output), form, weights)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        averaged = ", EMA weights" if report.averaged else ""
        print(
            printable(
                f"{report.file}: {report.tensors:,} tensors, {report.params:,} parameters{averaged}, step "
                f"{report.step:,}, {format_bytes(report.bytes)}"
            )
        )
        if report.normalize is not None:
            print(_describe_inputs(report.normalize))
        if report.target_scale is not None:
            print(_describe_outputs(report.target_scale))
        for name, stored in report.tied.items():
            print(printable(f"{name} is tied to {stored}"))
    return 0


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

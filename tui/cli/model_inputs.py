"""What the commands that give inputs to a trained model share: the model, the inputs and their errors."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.text import printable
from torchconsole.engine.user_folders import expand_user
from torchconsole.tui.cli.named_files import EXPORTED_GRAPH, EXPORTED_PROGRAM, shown_path
from torchconsole.tui.cli.named_runs import find_checkpoint
from torchconsole.tui.cli.presets import require_trust

if TYPE_CHECKING:
    from torchconsole.engine.protocol.model_reports import LayerReport, PredictionReport, UnreadInput
    from torchconsole.engine.run.script_runs import Verb


OTHER_EXPORTS = (".pt", ".pth", ".pt2", ".onnx")
"""Ends of the names of files of a model that cannot be read here."""


def find_trained(
    run: str,
    verb: Verb,
    which: Literal["best", "last"],
    runs_dir: Path | None,
    trust: bool,
) -> Path:
    """Return the exported file or the folder of the checkpoint that `run` names; `which` one of a run.

    Raises RunError and CheckpointError, and TrustError if the user does not trust the run's Python files.
    """
    from torchconsole.engine.config.loading import validate
    from torchconsole.engine.run.export_metadata import PRESET, SUFFIX, read_export_metadata

    file = expand_user(Path(run)).absolute()
    if file.suffix in OTHER_EXPORTS and file.is_file():
        raise TorchconsoleError(
            f"{file}: only {SUFFIX} exports can be used here, because loading other ones may run code in "
            "them; name the run, or a file of `torchconsole export RUN --format safetensors`"
        )
    if (program := file / EXPORTED_PROGRAM).is_file() and (file / EXPORTED_GRAPH).is_file():
        raise TorchconsoleError(
            f"{file}: an exported folder has its own program: python {shown_path(str(program))} INPUT..."
        )
    if file.suffix == SUFFIX and file.is_file():
        content = tomllib.loads(read_export_metadata(file)[PRESET])
        require_trust(validate(content, f"the preset in {file}"), trust)
        return file
    return find_checkpoint(run, runs_dir, verb, which, is_trusted=trust)


def input_paths(inputs: Sequence[str]) -> list[str]:
    """Return the absolute paths of inputs; standard input keeps its name. Raises TorchconsoleError."""
    from torchconsole.engine.protocol.model_reports import STDIN

    if inputs.count(STDIN) > 1:
        raise TorchconsoleError(f"{STDIN}: standard input can be read once only; name it once")
    return [given if given == STDIN else str(expand_user(Path(given)).absolute()) for given in inputs]


def require_positive(option: str, number: int) -> None:
    """Raise TorchconsoleError for a number below 1."""
    if number < 1:
        raise TorchconsoleError(f"{option} {number}: must be 1 or more")


def describe_model(report: PredictionReport | LayerReport) -> str:
    """Return which weights of which checkpoint or file were used."""
    averaged = ", EMA weights" if report.averaged else ""
    at = f"step {report.step:,}" if report.epoch is None else f"epoch {report.epoch:,}"
    return f"{report.checkpoint} ({at}{averaged})"


def print_failed(failed: Sequence[UnreadInput]) -> None:
    """Print why inputs were not used, to stderr."""
    for each in failed:
        print(printable(f"error: {shown_path(each.file)}: {each.reason}"), file=sys.stderr)

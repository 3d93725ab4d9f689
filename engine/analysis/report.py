"""Reports as JSON for the console, which never imports torch: `summary PRESET_FILE` and `device`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from pydantic import BaseModel

from torchconsole.engine.analysis.summary import summarize
from torchconsole.engine.components.data import load_data
from torchconsole.engine.components.devices import describe_device
from torchconsole.engine.components.models import build_model
from torchconsole.engine.config.loading import read_preset
from torchconsole.engine.errors import TorchconsoleError


def summary_report(preset_file: Path) -> BaseModel:
    """The layer table of the preset's model."""
    preset = read_preset(preset_file)
    data = load_data(preset.data, preset.training.seed)
    return summarize(build_model(preset.model, data.input_shape, data.num_classes), data.input_shape)


def device_report() -> BaseModel:
    """What this machine has, whatever a run would use of it."""
    best = "cuda" if torch.cuda.is_available() else "cpu"
    return describe_device(torch.device(best))


def main(arguments: list[str]) -> int:
    """Print the report asked for; 2 and a line on stderr where the user's input is wrong."""
    try:
        report = summary_report(Path(arguments[1])) if arguments[0] == "summary" else device_report()
    except TorchconsoleError as error:
        print(error, file=sys.stderr)
        return 2
    print(report.model_dump_json())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What TensorBoard shows of a run besides its values: the graph of the model, and the first samples."""

from __future__ import annotations

import io
import logging
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import make_grid

from torchconsole.engine.config.data_schema import NormalizeConfig
from torchconsole.engine.config.loading import dump_preset
from torchconsole.engine.text import first_line, printable
from torchconsole.engine.training.preserve import preserve
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.trial import first_batch

log = logging.getLogger(__name__)

MOST_SAMPLES = 32

SMALLEST = 48
"""Height and width (pixels) up to which images are enlarged."""


def write_start(folder: Path, setup: TrainingSetup) -> None:
    """Write a file of its own into `folder`, before the training begins, whose state stays as it was.

    What cannot be written is logged. Raises what reading the data raises.
    """
    inputs, targets = first_batch(setup)
    try:
        with SummaryWriter(str(folder), filename_suffix=".start") as writer:
            writer.add_text("preset", f"```toml\n{dump_preset(setup.preset)}\n```", 0)
            if len(setup.data.spec.input_shape) == 3 and setup.data.spec.input_shape[0] in (1, 3):
                pictures = _as_seen(inputs[:MOST_SAMPLES], setup)
                writer.add_image("samples/train", make_grid(pictures, nrow=8), 0)
                writer.add_text("samples/train", _labels(targets[:MOST_SAMPLES], setup), 0)
            _add_graph(writer, setup, inputs[:1])
    except OSError as error:
        log.warning("tracking.tensorboard: the graph and the samples cannot be written: %s", error.strerror)


def _as_seen(inputs: Tensor, setup: TrainingSetup) -> Tensor:
    """Return images (B, C, H, W) from 0 to 1, before their normalization."""
    images, config = inputs.float().cpu(), setup.preset.data.normalize
    if isinstance(config, NormalizeConfig):
        mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in (config.mean, config.std))
        images = images * std + mean
    larger = max(1, SMALLEST // min(images.shape[2:]))
    return images.clamp(0, 1).repeat_interleave(larger, 2).repeat_interleave(larger, 3)


def _labels(targets: Tensor, setup: TrainingSetup) -> str:
    """Return the targets in the order of the pictures, as a line of text for each row of eight."""
    names = setup.data.spec.class_names
    if setup.data.spec.task == "multiclass" and targets.dtype == torch.int64:
        shown = [printable(names[int(target)]) for target in targets]
    else:
        shown = [", ".join(f"{value:.4g}" for value in row.flatten().tolist()) for row in targets]
    return "  \n".join(" | ".join(shown[start : start + 8]) for start in range(0, len(shown), 8))


def _add_graph(writer: SummaryWriter, setup: TrainingSetup, inputs: Tensor) -> None:
    """Add the graph of the model in evaluation mode, for one sample."""
    if setup.preset.training.compile:
        log.info("tracking.tensorboard: a compiled model has no graph there")
        return
    try:
        with (
            preserve([setup.model]),
            redirect_stdout(io.StringIO()),
            warnings.catch_warnings(action="ignore"),
        ):
            setup.model.eval()
            writer.add_graph(setup.model, inputs)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - a model may do anything that cannot be traced
        log.info("tracking.tensorboard: no graph, since the model cannot be traced: %s", first_line(error))

"""A trained model with what its inputs and outputs mean: from a checkpoint or an export, without data."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from torchconsole.engine.analysis.checkpoint_reports import (
    Weights,
    choose_weights,
    device_of,
    preset_of,
    read_current,
    recorded_data,
)
from torchconsole.engine.components.data.input_description import InputDescription, describe_inputs
from torchconsole.engine.components.data.input_reading import Input, InputReader
from torchconsole.engine.components.data.system_failures import raise_system_failure
from torchconsole.engine.components.devices import set_current_device
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.components.models import build_model
from torchconsole.engine.components.models.placement import place_model
from torchconsole.engine.components.models.weights import State, read_state
from torchconsole.engine.components.user_errors import describe_error, place_in_user_code
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import CheckpointError, DataError
from torchconsole.engine.files import open_regular
from torchconsole.engine.protocol.model_reports import STDIN, UnreadInput
from torchconsole.engine.run.export_metadata import INPUT, PRESET, STEP, SUFFIX, read_export_metadata
from torchconsole.engine.system_limits import explain_limit
from torchconsole.engine.text import error_summary, first_line, printable
from torchconsole.engine.training.elements import separate_buffers
from torchconsole.engine.training.failures import is_device_lost, is_out_of_memory
from torchconsole.engine.training.precision import choose_precision
from torchconsole.engine.training.randomness import require_determinism
from torchconsole.engine.training.train_state import load_weights

Batch = Sequence[tuple[str, Input]]
"""Inputs of one shape, each with its file as it was given."""


@dataclass(frozen=True)
class TrainedModel:
    """A model in eval mode on its device, and what reads its inputs."""

    module: nn.Module
    preset: Preset
    described: InputDescription
    reader: InputReader
    device: torch.device
    source: str
    """The folder of the checkpoint, or the file of the export."""
    step: int
    epoch: int | None
    """None for an export, which does not say it."""
    averaged: bool
    """Whether the weights are those of the EMA; an export does not say it."""

    def __call__(self, inputs: Tensor) -> object:
        """Return the outputs for inputs (B, ...). Raises DataError if the model does not take their shape."""
        try:
            with choose_precision(self.preset.training.precision, self.device).autocast:
                return self.module(inputs)
        except Exception as error:  # user code may raise anything
            if is_out_of_memory(error) or explain_limit(error):
                raise
            if isinstance(error, RuntimeError) and is_device_lost(error):
                raise
            raise DataError(self._explain(error, inputs)) from error

    def _explain(self, error: Exception, inputs: Tensor) -> str:
        """Return why the model does not take inputs (B, ...); torch's own text if nothing else is known."""
        shape, trained = tuple(inputs.shape[1:]), tuple(self.described.input_shape)
        if place_in_user_code(error):
            said = describe_error(error)
            return f"the model does not take an input of shape {shape}, and was trained on {trained}: {said}"
        if shape != trained:
            return self.reader.misfit(shape)
        if isinstance(error, IndexError) and not inputs.is_floating_point():
            return f"it has indices from {inputs.min()} to {inputs.max()}; the model knows fewer"
        return f"the model fails for inputs of the shape that it was trained on: {describe_error(error)}"

    def stack(self, batch: Batch) -> Tensor:
        """Return the inputs of a batch, (B, ...), on the device."""
        return torch.stack([each.tensor for _, each in batch]).to(self.device)

    def batches(
        self,
        inputs: Sequence[str],
        size: int,
        failed: list[UnreadInput],
        *,
        with_samples: bool = False,
        with_targets: bool = False,
    ) -> Iterator[Batch]:
        """Yield the inputs of files, folders and standard input in order, in batches of one shape.

        What cannot be read is added to `failed`, also a table without its target columns `with_targets`.
        Inputs have their `sample`, which may be a large image, only on request.
        """
        batch: list[tuple[str, Input]] = []
        for file, each in self._read(inputs, failed, with_targets):
            each = each if with_samples else each._replace(sample=None)
            if batch and (len(batch) == size or each.tensor.shape != batch[0][1].tensor.shape):
                yield batch
                batch = []
            batch.append((file, each))
        if batch:
            yield batch

    def _read(
        self, inputs: Sequence[str], failed: list[UnreadInput], with_targets: bool
    ) -> Iterator[tuple[str, Input]]:
        for given in inputs:
            try:
                files = [] if given == STDIN else self.reader.files(Path(given))
                if given == STDIN:
                    for each in self.reader.read_stream(sys.stdin.buffer.read()):
                        yield given, each
            except DataError as error:
                failed.append(unread(given, error))
                continue
            for file in files:
                try:
                    if file != Path(given):
                        _require_regular(file)
                    for each in self.reader.read(file, with_targets=with_targets):
                        yield str(file), each
                except DataError as error:
                    failed.append(unread(str(file), error))


def _require_regular(file: Path) -> None:
    """Raise DataError for a file in a folder that cannot be read: a FIFO would wait for its writer."""
    try:
        open_regular(file).close()
    except OSError as error:
        raise_system_failure(error)
        raise DataError(f"it cannot be read: {error_summary(error)}") from error


def unread(file: str, error: DataError) -> UnreadInput:
    """Return why a file cannot be used, without the keys of a preset and the name of the file again."""
    reason = str(error).removeprefix("data.root: ").removeprefix("data: ")
    for name in map(printable, (file, Path(file).name)):
        reason = reason.removeprefix(f"{name}: ").replace(f" from {name}: ", ": ", 1)
        reason = f"it {reason.removeprefix(f'{name} ')}" if reason.startswith(f"{name} ") else reason
    return UnreadInput(file=file, reason=reason)


def open_model(path: Path, weights: Weights, device: str | None) -> TrainedModel:
    """Build the model of a checkpoint, or of a .safetensors file that `export` has written.

    Raises TorchconsoleError for a checkpoint, a file or a device that cannot be used, and for runs whose data
    is read by user code.
    """
    if path.suffix == SUFFIX and path.is_file():
        return _open_export(path, weights, device)
    return open_checkpoint(path, weights, device)


def _open_export(file: Path, weights: Weights, device: str | None) -> TrainedModel:
    if weights != "auto":
        raise CheckpointError(f"{file}: an export has one set of weights; remove --weights {weights}")
    metadata = read_export_metadata(file)
    preset = preset_of({"preset": metadata[PRESET]}, file, device)
    try:
        described, step = InputDescription.model_validate_json(metadata[INPUT]), int(metadata[STEP])
    except ValueError as error:
        raise CheckpointError(
            f"{file}: its metadata cannot be read ({first_line(error)}); export the run again"
        ) from error
    reader = InputReader(described, UserCode.of(preset))
    chosen_device = device_of(preset, device)
    return TrainedModel(
        module=_build(preset, reader, read_state(file), chosen_device),
        preset=preset,
        described=described,
        reader=reader,
        device=chosen_device,
        source=str(file),
        step=step,
        epoch=None,
        averaged=False,
    )


def open_checkpoint(checkpoint: Path, weights: Weights, device: str | None) -> TrainedModel:
    """Build the model of a checkpoint with its weights. Raises as `open_model` does."""
    folder, state = read_current(checkpoint)
    preset = preset_of(state, folder, device)
    record = recorded_data(state, folder)
    described = describe_inputs(preset.data, record)
    reader = InputReader(described, UserCode.of(preset))
    chosen, averaged = choose_weights(state, weights)
    chosen_device = device_of(preset, device)
    return TrainedModel(
        module=_build(preset, reader, chosen, chosen_device),
        preset=preset,
        described=described,
        reader=reader,
        device=chosen_device,
        source=str(folder),
        step=state["progress"]["step"],
        epoch=state["progress"]["epoch"],
        averaged=averaged,
    )


def _build(preset: Preset, reader: InputReader, weights: State, device: torch.device) -> nn.Module:
    """Build the model with its weights as a run does, without data. Raises as `build_parts` does.

    What the model of the run started from is neither read nor downloaded.
    """
    training = preset.training
    if training.threads != "auto":
        torch.set_num_threads(training.threads)
    set_current_device(device)
    require_determinism(training.deterministic)
    config = preset.model.model_copy(update={"weights": None, "rename": {}, "init": []})
    own: Literal["own"] | None = "own" if config.device_map == "own" else None
    model = place_model(build_model(config, reader.spec, UserCode.of(preset)), own, device)
    separate_buffers(model)
    if training.channels_last:
        convert_conv2d_weight_memory_format(model, torch.channels_last)
    load_weights(model, weights)
    return model.eval()

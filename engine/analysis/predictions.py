"""Predicts for images, tables and arrays with a checkpoint; the data of its run is not needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from torchconsole.engine.analysis.checkpoint_reports import Weights, choose_weights, preset_of, read_current
from torchconsole.engine.components.data.input_description import InputDescription, describe_inputs
from torchconsole.engine.components.data.input_reading import Input, InputReader
from torchconsole.engine.components.data.target_scaling import TargetUnit
from torchconsole.engine.components.devices import choose_device, set_current_device
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.components.losses import build_loss
from torchconsole.engine.components.models import build_model
from torchconsole.engine.components.outputs import OutputKind, as_predictions
from torchconsole.engine.components.user_errors import describe_error
from torchconsole.engine.config.schema import LossConfig, Preset
from torchconsole.engine.errors import CheckpointError, DataError
from torchconsole.engine.protocol.reports import Prediction, PredictionReport, UnreadInput
from torchconsole.engine.system_limits import explain_limit
from torchconsole.engine.training.checkpoint import data_record_in
from torchconsole.engine.training.elements import separate_buffers
from torchconsole.engine.training.failures import is_device_lost, is_out_of_memory
from torchconsole.engine.training.parts import without_weights_file
from torchconsole.engine.training.precision import choose_precision
from torchconsole.engine.training.randomness import require_determinism
from torchconsole.engine.training.train_state import load_weights


def predict(
    checkpoint: Path,
    inputs: Sequence[str],
    weights: Weights,
    device: str | None = None,
    *,
    top: int = 1,
    batch_size: int = 64,
) -> PredictionReport:
    """Predict for all `inputs`, files and folders; a file that cannot be used is reported with the reason.

    Raises TorchconsoleError for a checkpoint or a device that cannot be used, and for runs whose data is read
    by user code.
    """
    folder, state = read_current(checkpoint)
    preset = preset_of(state, folder, device)
    record = data_record_in(state)
    if record is None:
        raise CheckpointError(
            f"{folder}: this checkpoint does not say what its data was; resume the run, which saves a new one"
        )
    described = describe_inputs(preset.data, record)
    chosen, averaged = choose_weights(state, weights)
    predictor = _build(preset, described, chosen, top)
    reader = InputReader(described, UserCode.of(preset))
    predictions: list[Prediction] = []
    failed: list[UnreadInput] = []
    for batch in _batches(reader, inputs, batch_size, failed):
        try:
            predictions += predictor(batch)
        except DataError as error:
            failed += [UnreadInput(file=file, reason=_reason(error)) for file in dict(batch)]
    values = predictions[0].values if predictions else []
    names = described.targets or [f"target {number}" for number in range(1, len(values) + 1)]
    return PredictionReport(
        checkpoint=str(folder),
        step=state["progress"]["step"],
        epoch=state["progress"]["epoch"],
        device=str(predictor.device),
        averaged=averaged,
        task=described.task,
        targets=names if described.task == "regression" else [],
        target_transform=described.target_transform or "",
        predictions=predictions,
        failed=failed,
    )


@dataclass(frozen=True)
class _Predictor:
    """A model in eval mode, and what its outputs mean."""

    model: nn.Module
    preset: Preset
    described: InputDescription
    kind: OutputKind
    device: torch.device
    top: int

    @torch.inference_mode()
    def __call__(self, batch: Sequence[tuple[str, Input]]) -> list[Prediction]:
        """Predict for inputs of one shape. Raises DataError if the model does not take it."""
        inputs = torch.stack([each.tensor for _, each in batch]).to(self.device)
        try:
            with choose_precision(self.preset.training.precision, self.device).autocast:
                outputs = self.model(inputs)
        except Exception as error:  # user code may raise anything
            if is_out_of_memory(error) or explain_limit(error):
                raise
            if isinstance(error, RuntimeError) and is_device_lost(error):
                raise
            raise DataError(
                f"the model does not take an input of shape {tuple(inputs.shape[1:])}, and was trained on "
                f"{tuple(self.described.input_shape)}: {describe_error(error)}"
            ) from error
        found = self._read(outputs, len(batch)).cpu()
        return [self._prediction(file, each.row, row) for (file, each), row in zip(batch, found, strict=True)]

    def _read(self, outputs: object, count: int) -> Tensor:
        """Return probabilities (B, C), or values (B, K) in the targets' unit."""
        spec = self.described.spec
        targets = torch.zeros(count, 1, device=self.device)
        found, _ = as_predictions(outputs, targets, spec, self.kind)
        if spec.task == "binary":
            return torch.stack([1 - found, found], dim=1)
        if spec.task != "regression":
            return found
        found = found.reshape(count, -1)
        return TargetUnit(spec.target_scale, self.device)(found) if spec.target_scale else found

    def _prediction(self, file: str, row: int | None, found: Tensor) -> Prediction:
        if self.described.task == "regression":
            return Prediction(file=file, row=row, values=found.tolist())
        probabilities, indices = found.topk(min(self.top, len(found)))
        names = [self.described.classes[index] for index in indices.tolist()]
        return Prediction(file=file, row=row, classes=names, probabilities=probabilities.tolist())


def _build(preset: Preset, described: InputDescription, weights: dict[str, object], top: int) -> _Predictor:
    """Build the model with its weights as a run does, without data. Raises as `build_parts` does."""
    training, user_code = preset.training, UserCode.of(preset)
    device = choose_device(training.device)
    if training.threads != "auto":
        torch.set_num_threads(training.threads)
    set_current_device(device)
    require_determinism(training.deterministic)
    model = build_model(without_weights_file(preset.model), described.spec, user_code).to(device)
    separate_buffers(model)
    if training.channels_last:
        convert_conv2d_weight_memory_format(model, torch.channels_last)
    load_weights(model, weights)
    kind = build_loss(_unweighted(preset.loss), described.spec, None, user_code).outputs
    return _Predictor(model.eval(), preset, described, kind, device, top)


def _unweighted(loss: LossConfig) -> LossConfig:
    """Return a loss that says what outputs are, without class weights, which need the training data."""
    return loss.model_copy(update={"weight": None, "also": [_unweighted(each) for each in loss.also]})


def _batches(
    reader: InputReader, inputs: Sequence[str], size: int, failed: list[UnreadInput]
) -> Iterator[list[tuple[str, Input]]]:
    """Yield batches of inputs of one shape in order; add what cannot be read to `failed`."""
    batch: list[tuple[str, Input]] = []
    for file, each in _read(reader, inputs, failed):
        if batch and (len(batch) == size or each.tensor.shape != batch[0][1].tensor.shape):
            yield batch
            batch = []
        batch.append((file, each))
    if batch:
        yield batch


def _read(
    reader: InputReader, inputs: Sequence[str], failed: list[UnreadInput]
) -> Iterator[tuple[str, Input]]:
    for given in inputs:
        try:
            files = reader.files(Path(given))
        except DataError as error:
            failed.append(UnreadInput(file=given, reason=_reason(error)))
            continue
        for file in files:
            try:
                for each in reader.read(file):
                    yield str(file), each
            except DataError as error:
                failed.append(UnreadInput(file=str(file), reason=_reason(error)))


def _reason(error: DataError) -> str:
    return str(error).removeprefix("data.root: ").removeprefix("data: ")

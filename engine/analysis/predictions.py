"""Predicts for images, texts, tables and arrays with a checkpoint; the data of its run is not needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from torchconsole.engine.analysis.checkpoint_reports import Weights
from torchconsole.engine.analysis.trained_model import Batch, TrainedModel, open_checkpoint, unread
from torchconsole.engine.components.data.target_scaling import TargetUnit
from torchconsole.engine.components.data.types import DataSpec
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.components.losses import build_loss
from torchconsole.engine.components.outputs import OutputKind, as_predictions
from torchconsole.engine.config.schema import LossConfig, Preset
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.reports import Prediction, PredictionReport, UnreadInput


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

    Raises what `open_checkpoint` raises.
    """
    model = open_checkpoint(checkpoint, weights, device)
    described = model.described
    predictor = _Predictor(model, output_kind(model.preset, described.spec), top)
    predictions: list[Prediction] = []
    failed: list[UnreadInput] = []
    for batch in model.batches(inputs, batch_size, failed):
        try:
            predictions += predictor(batch)
        except DataError as error:
            failed += [unread(file, error) for file in dict(batch)]
    values = predictions[0].values if predictions else []
    names = described.targets or [f"target {number}" for number in range(1, len(values) + 1)]
    return PredictionReport(
        checkpoint=model.source,
        step=model.step,
        epoch=model.epoch,
        device=str(model.device),
        averaged=model.averaged,
        task=described.task,
        targets=names if described.task == "regression" else [],
        target_transform=described.target_transform or "",
        predictions=predictions,
        failed=failed,
    )


def output_kind(preset: Preset, spec: DataSpec) -> OutputKind:
    """Return what the loss says that outputs are. Raises what `build_loss` raises."""
    return build_loss(_unweighted(preset.loss), spec, None, UserCode.of(preset)).outputs


def read_outputs(outputs: object, inputs: Tensor, spec: DataSpec, kind: OutputKind) -> Tensor:
    """Return probabilities (B, C), or values (B, K) in the targets' unit, for the outputs of a model.

    Raises what `as_predictions` raises.
    """
    count = inputs.shape[0]
    targets = torch.zeros(count, 1, device=inputs.device)
    found, _ = as_predictions(outputs, targets, spec, kind)
    if spec.task == "binary":
        return torch.stack([1 - found, found], dim=1)
    if spec.task != "regression":
        return found
    found = found.reshape(count, -1)
    return TargetUnit(spec.target_scale, inputs.device)(found) if spec.target_scale else found


def _unweighted(loss: LossConfig) -> LossConfig:
    """Return a loss that says what outputs are, without class weights, which need the training data."""
    return loss.model_copy(update={"weight": None, "also": [_unweighted(each) for each in loss.also]})


@dataclass(frozen=True)
class _Predictor:
    """Turns the outputs of a model into predictions."""

    model: TrainedModel
    kind: OutputKind
    top: int

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> list[Prediction]:
        """Predict for inputs of one shape. Raises DataError if the model does not take it."""
        inputs = self.model.stack(batch)
        found = read_outputs(self.model(inputs), inputs, self.model.described.spec, self.kind).cpu()
        return [self._prediction(file, each.row, row) for (file, each), row in zip(batch, found, strict=True)]

    def _prediction(self, file: str, row: int | None, found: Tensor) -> Prediction:
        if self.model.described.task == "regression":
            return Prediction(file=file, row=row, values=found.tolist())
        probabilities, indices = found.topk(min(self.top, len(found)))
        names = [self.model.described.classes[index] for index in indices.tolist()]
        return Prediction(file=file, row=row, classes=names, probabilities=probabilities.tolist())

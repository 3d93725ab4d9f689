"""Predicts for images, texts, tables and arrays with a checkpoint; the data of its run is not needed."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torchconsole.engine.analysis.checkpoint_reports import Weights
from torchconsole.engine.analysis.trained_model import Batch, TrainedModel, open_model, unread
from torchconsole.engine.components.data.input_description import InputDescription
from torchconsole.engine.components.data.input_reading import Input
from torchconsole.engine.components.data.target_scaling import TargetUnit
from torchconsole.engine.components.data.types import DataSpec
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.components.losses import build_loss
from torchconsole.engine.components.outputs import OutputKind, as_predictions
from torchconsole.engine.config.schema import LossConfig, Preset
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.model_reports import Picture, Prediction, PredictionReport, UnreadInput

PICTURE_SIDE = 64
"""The longer side of a picture (pixels); terminals show less."""


def predict(
    checkpoint: Path,
    inputs: Sequence[str],
    weights: Weights,
    device: str | None = None,
    *,
    top: int = 1,
    batch_size: int = 64,
    flips: bool = False,
    pictures: bool = False,
) -> PredictionReport:
    """Predict for all `inputs`, files and folders; a file that cannot be used is reported with the reason.

    `flips` averages over each image and its mirror image, `pictures` adds the images to the predictions.
    Raises what `open_model` raises, and DataError if either is asked for without images.
    """
    model = open_model(checkpoint, weights, device)
    described = model.described
    for option in ["--tta flips"] * flips + ["--pictures"] * pictures:
        if not described.has_images:
            raise DataError(f"{option}: needs images, but the run was trained on {_kind_of(described)}")
    predictor = _Predictor(model, output_kind(model.preset, described.spec), top, flips)
    predictions: list[Prediction] = []
    failed: list[UnreadInput] = []
    for batch in model.batches(inputs, batch_size, failed, with_samples=pictures):
        try:
            predictions += predictor(batch)
        except DataError as error:
            failed += [unread(file, error) for file in dict(batch)]
    values = predictions[0].values if predictions else []
    return PredictionReport(
        checkpoint=model.source,
        step=model.step,
        epoch=model.epoch,
        device=str(model.device),
        averaged=model.averaged,
        task=described.task,
        targets=described.value_names(len(values)),
        target_transform=described.target_transform or "",
        flips=flips,
        predictions=predictions,
        failed=failed,
    )


def _kind_of(described: InputDescription) -> str:
    kinds = {"table": "the columns of a table", "texts": "texts"}
    return kinds.get(described.kind, f"arrays of shape {tuple(described.input_shape)}")


def _picture(image: Tensor) -> Picture:
    """Return an image (C, H, W) as a small picture: bytes, and numbers from 0 to 1, keep their brightness."""
    values = image.float() / 255 if image.dtype == torch.uint8 else image.float()
    if values.min() < 0 or values.max() > 1:
        values = (values - values.min()) / (values.max() - values.min()).clamp(min=1e-12)
    values = values if len(values) == 3 else values[:1].expand(3, -1, -1)
    height, width = values.shape[1:]
    scale = min(1.0, PICTURE_SIDE / max(height, width))
    size = (max(1, round(scale * height)), max(1, round(scale * width)))
    small = nn.functional.interpolate(values[None], size, mode="area")[0]
    pixels = (255 * small).round().byte().movedim(0, -1).numpy().tobytes()
    return Picture(height=size[0], width=size[1], pixels=base64.b64encode(pixels).decode())


def _finite(numbers: Tensor) -> list[float | None]:
    """Return numbers (n,), None for those that are not finite."""
    return [number if math.isfinite(number) else None for number in numbers.tolist()]


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
    flips: bool

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> list[Prediction]:
        """Predict for inputs of one shape. Raises DataError if the model does not take it."""
        inputs = self.model.stack(batch)
        found = self._read(inputs)
        if self.flips:
            found = (found + self._read(inputs.flip(-1))) / 2
        return [
            self._prediction(file, each, row) for (file, each), row in zip(batch, found.cpu(), strict=True)
        ]

    def _read(self, inputs: Tensor) -> Tensor:
        return read_outputs(self.model(inputs), inputs, self.model.described.spec, self.kind)

    def _prediction(self, file: str, given: Input, found: Tensor) -> Prediction:
        picture = _picture(given.sample) if given.sample is not None and given.sample.ndim == 3 else None
        place: dict[str, Any] = {"file": file, "row": given.row, "line": given.line, "picture": picture}
        if self.model.described.task == "regression":
            return Prediction(**place, values=_finite(found))
        probabilities, indices = found.topk(min(self.top, len(found)))
        names = [self.model.described.classes[index] for index in indices.tolist()]
        return Prediction(**place, classes=names, probabilities=_finite(probabilities))

"""Evaluates a checkpoint on other data of the kind it was trained on; the data of its run is not needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from torchconsole.engine.analysis.checkpoint_reports import WORST, Weights, with_prefix
from torchconsole.engine.analysis.evaluation_details import EvaluationDetails
from torchconsole.engine.analysis.trained_model import Batch, TrainedModel, open_checkpoint, unread
from torchconsole.engine.components.data.builder import EVAL_BATCH_FACTOR
from torchconsole.engine.components.data.input_reading import Input
from torchconsole.engine.components.data.label_reading import LabelReader
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.components.losses import build_loss
from torchconsole.engine.components.metrics import build_metrics
from torchconsole.engine.config.schema import LossConfig
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.model_reports import READ_ONCE, EvaluationReport, UnreadInput
from torchconsole.engine.protocol.points import flag_nonfinite
from torchconsole.engine.training.evaluation import evaluate
from torchconsole.engine.training.precision import choose_precision

UNWEIGHTED = 'the loss is without class weights: loss.weight = "balanced" needs the training data'


def evaluate_on(checkpoint: Path, path: Path, weights: Weights, device: str | None) -> EvaluationReport:
    """Evaluate the weights of a checkpoint on a file, or a folder with a folder for each class.

    What cannot be read is in the report's `failed`. Raises what `open_checkpoint` raises, and DataError for
    targets that do not fit the run's, or if no sample can be read.
    """
    if path.is_fifo():
        raise DataError(f"{path}: {READ_ONCE}")
    model = open_checkpoint(checkpoint, weights, device)
    preset, spec, user_code = model.preset, model.reader.spec, UserCode.of(model.preset)
    loss_config = _without_balance(preset.loss)
    loss_fn = build_loss(loss_config, spec, None, user_code).to(model.device)
    metrics = build_metrics(preset.metrics, spec, loss_fn.outputs, model.device, user_code)
    details = EvaluationDetails(loss_fn, spec, WORST)
    samples = _Samples(model, path)
    autocast = choose_precision(preset.training.precision, model.device).autocast
    values = evaluate(model.module, loss_fn, samples, metrics, autocast, details.update)
    found, _ = flag_nonfinite({with_prefix(name, "other"): value for name, value in values.items()})
    return EvaluationReport(
        checkpoint=model.source,
        step=model.step,
        epoch=model.epoch,
        part="other",
        data=str(path),
        samples=len(samples.places),
        device=str(model.device),
        averaged=model.averaged,
        metrics=found,
        unavailable={with_prefix(name, "other"): why for name, why in metrics.unavailable.items()},
        tables={with_prefix(name, "other"): table for name, table in metrics.tables().items()},
        classes=spec.class_names,
        loss_unit=spec.loss_unit,
        changes=[] if loss_config == preset.loss else [UNWEIGHTED],
        failed=samples.failed,
        **details.facts(samples.places.__getitem__),
    )


class _Samples:
    """The samples of a file or a folder, as batches on the device."""

    def __init__(self, model: TrainedModel, path: Path) -> None:
        self.places: list[str] = []
        """Where each sample that was read comes from."""
        self.failed: list[UnreadInput] = []
        self._model = model
        self._path = path
        data = model.preset.data
        self._size = data.eval_batch_size or EVAL_BATCH_FACTOR * data.batch_size
        self._labels = LabelReader(path, model.described, data)
        self._known: dict[str, Tensor] = {}

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        tried: set[torch.Size] = set()
        for batch in self._model.batches([str(self._path)], self._size, self.failed, with_targets=True):
            inputs = self._model.stack(batch)
            if inputs.shape[1:] not in tried:
                try:
                    self._model(inputs[:1])
                except DataError as error:
                    self.failed += [unread(file, error) for file in dict(batch)]
                    continue
                tried.add(inputs.shape[1:])
            targets = torch.stack([self._target(file, each.row) for file, each in batch])
            self.places += self._places(batch)
            yield inputs, targets.to(self._model.device)
        if not self.places:
            reason = self.failed[0].reason if self.failed else "it is empty"
            raise DataError(f"{self._path}: no sample can be read: {reason}")

    def _target(self, file: str, row: int | None) -> Tensor:
        if file not in self._known:
            try:
                # Rows of one file follow each other.
                self._known = {file: self._labels.read(Path(file))}
            except DataError as error:
                raise DataError(f"{self._path}: {unread(file, error).reason}") from error
        return self._known[file][0 if row is None else row - 1]

    def _places(self, batch: Batch) -> list[str]:
        return [f"{file}{_within(each)}" for file, each in batch]


def _within(given: Input) -> str:
    """Return where an input is in its file; empty for a whole file."""
    if given.line is not None:
        return f" line {given.line}"
    return "" if given.row is None else f" row {given.row}"


def _without_balance(loss: LossConfig) -> LossConfig:
    """Return a loss without weights that are computed from the training data."""
    weight = None if loss.weight == "balanced" else loss.weight
    return loss.model_copy(update={"weight": weight, "also": [_without_balance(each) for each in loss.also]})

"""Evaluates checkpoints on the data of their run."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from torchconsole.engine.analysis.evaluation_details import EvaluationDetails
from torchconsole.engine.components.data import DataModule, EvalBatches, TrainBatches
from torchconsole.engine.components.data.data_record import DataRecord
from torchconsole.engine.components.data.order import TrainOrder
from torchconsole.engine.components.data.same_data import check_comparable
from torchconsole.engine.components.devices import choose_device
from torchconsole.engine.components.metrics import PREFIX
from torchconsole.engine.components.models.weights import State, weights_of
from torchconsole.engine.config.loading import set_key, validate
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import CheckpointError, DataError
from torchconsole.engine.protocol.model_reports import EvaluationReport
from torchconsole.engine.protocol.points import flag_nonfinite
from torchconsole.engine.run.checkpoints import suggest_older
from torchconsole.engine.training.checkpoint import data_record_in, read_checkpoint
from torchconsole.engine.training.evaluation import evaluate
from torchconsole.engine.training.parts import build_parts
from torchconsole.engine.training.train_state import load_weights

Part = Literal["val", "test", "train"]

WORST = 9
"""Number of the samples with the highest losses in an evaluation's report."""

Weights = Literal["auto", "ema", "model"]
"""Weights of a checkpoint to use: the EMA's, the model's, or the EMA's if there are any (auto)."""


def evaluate_checkpoint(
    checkpoint: Path, part: Part, weights: Weights, device: str | None = None
) -> EvaluationReport:
    """Build the model and data of the checkpoint's preset and evaluate the checkpoint's weights.

    No file is written. The training set is evaluated like validation data: with data.transforms.val, each
    sample once. Raises TorchconsoleError for a checkpoint, data or device that cannot be used.
    """
    folder, state = read_current(checkpoint)
    preset = preset_of(state, folder, device)
    if part == "train":
        preset = _without_augmentation(preset)
    chosen_device = device_of(preset, device)
    record = data_record_in(state)
    setup = build_parts(preset, chosen_device, lambda phase: None, from_checkpoint=True, record=record)
    changes = check_comparable(record, setup.data.record) if record else []
    chosen, averaged = choose_weights(state, weights)
    load_weights(setup.model, chosen)
    batches = _batches(setup.data, part)
    details = EvaluationDetails(setup.loss_fn, setup.data.spec, WORST)
    values = evaluate(
        setup.model, setup.loss_fn, batches, setup.metrics, setup.precision.autocast, details.update
    )
    metrics, _ = flag_nonfinite({with_prefix(name, part): value for name, value in values.items()})
    return EvaluationReport(
        checkpoint=str(folder),
        step=state["progress"]["step"],
        epoch=state["progress"]["epoch"],
        part=part,
        samples=batches.samples,
        device=str(chosen_device),
        averaged=averaged,
        metrics=metrics,
        unavailable={with_prefix(name, part): why for name, why in setup.metrics.unavailable.items()},
        tables={with_prefix(name, part): table for name, table in setup.metrics.tables().items()},
        classes=setup.data.spec.class_names,
        loss_unit=setup.data.spec.loss_unit,
        changes=changes,
        **details.facts(_places(setup.data, part, preset)),
    )


def recorded_data(state: Mapping[str, Any], folder: Path) -> DataRecord:
    """Return what the data of a checkpoint was. Raises CheckpointError if the checkpoint does not say."""
    record = data_record_in(dict(state))
    if record is None:
        raise CheckpointError(
            f"{folder}: this checkpoint does not say what its data was; resume the run, which saves a new one"
        )
    return record


def read_current(path: Path) -> tuple[Path, dict[str, Any]]:
    """Resolve `path` and read that checkpoint: its folder and its state. Raises CheckpointError.

    If a live run moves the link and deletes the old folder meanwhile, the new target is read.
    """
    while True:
        folder = path.resolve()
        try:
            return folder, read_checkpoint(folder)
        except CheckpointError as error:
            if path.resolve() == folder:
                raise CheckpointError(f"{error}; {suggest_older(folder)}") from error


def choose_weights(state: dict[str, Any], which: Weights) -> tuple[State, bool]:
    """Return the weights, and whether they are the EMA's. Raises CheckpointError for `ema` without an EMA."""
    has_ema = bool(state.get("ema"))
    if which == "ema" and not has_ema:
        raise CheckpointError("the checkpoint has no EMA weights; use --weights model")
    averaged = has_ema and which != "model"
    return weights_of(state, averaged=averaged), averaged


def preset_of(state: dict[str, Any], folder: Path, device: str | None) -> Preset:
    """Return the preset of the checkpoint's run, adapted to `device`. Raises PresetError."""
    content = tomllib.loads(state["preset"])
    overrides = ["training.compile=false"]
    if device:  # another device may not support the precision of the run
        overrides += [f"training.device={device}", "training.precision=auto"]
    for override in overrides:
        set_key(content, override)
    return validate(content, f"the preset in {folder}", overrides=overrides)


def device_of(preset: Preset, given: str | None) -> torch.device:
    """Return the device of a preset that was adapted to the one `given`. Raises DeviceError."""
    return choose_device(preset.training.device, "--device" if given else "training.device")


@dataclass(frozen=True)
class _OneEpoch:
    """The first epoch of the training set, as batches for an evaluation."""

    batches: TrainBatches

    @property
    def samples(self) -> int:
        return self.batches.samples_per_epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.batches.epoch(0)


def _batches(data: DataModule, part: Part) -> EvalBatches:
    if part == "train":
        return _OneEpoch(data.train)
    if part == "val":
        return data.val
    if data.test is None:
        raise DataError(
            "this run has no test set: its preset does not set data.test_split, and the dataset has none of "
            "its own; use --part val"
        )
    return data.test


def _places(data: DataModule, part: Part, preset: Preset) -> Callable[[int], str]:
    """Return what tells where sample n of the batches of a part comes from."""
    if part != "train":
        return data.places["validation" if part == "val" else part]
    count, places = data.train.samples_per_epoch, data.places["training"]
    order = TrainOrder(preset.training.seed, count, preset.data.batch_size).indices(0)
    return lambda index: places(int(order[index]))


def _without_augmentation(preset: Preset) -> Preset:
    transforms = preset.data.transforms
    without = transforms.model_copy(update={"train": transforms.val, "batch": []})
    update: dict[str, Any] = {"transforms": without, "sampler": "shuffle", "drop_last": False}
    return preset.model_copy(update={"data": preset.data.model_copy(update=update)})


def with_prefix(name: str, part: str) -> str:
    """Return the name of a metric of an evaluation, such as val/loss, for another part of the data."""
    return f"{part}/{name.removeprefix(PREFIX)}"

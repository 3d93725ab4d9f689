"""Evaluates checkpoints on the data of their run, and exports their weights."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from torchconsole.engine.analysis.evaluation_details import EvaluationDetails
from torchconsole.engine.components.data import DataModule, EvalBatches, TrainBatches
from torchconsole.engine.components.data.input_description import describe_inputs, why_not_described
from torchconsole.engine.components.data.order import TrainOrder
from torchconsole.engine.components.data.same_data import check_comparable
from torchconsole.engine.components.devices import choose_device
from torchconsole.engine.components.metrics import PREFIX
from torchconsole.engine.components.models.weights import State, weights_of
from torchconsole.engine.config.loading import set_key, validate
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import CheckpointError, DataError, RunError
from torchconsole.engine.files import replacing
from torchconsole.engine.protocol.points import flag_nonfinite
from torchconsole.engine.protocol.reports import EvaluationReport, ExportReport
from torchconsole.engine.run.checkpoints import suggest_older
from torchconsole.engine.training.checkpoint import data_record_in, read_checkpoint
from torchconsole.engine.training.evaluation import evaluate
from torchconsole.engine.training.parts import build_parts
from torchconsole.engine.training.train_state import load_weights

Part = Literal["val", "test", "train"]

WORST = 9
"""Number of the samples with the highest losses in an evaluation's report."""

Format = Literal["state_dict", "safetensors"]

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
    chosen_device = choose_device(preset.training.device)
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


def export(checkpoint: Path, file: Path, form: Format, weights: Weights) -> ExportReport:
    """Write the weights, contiguous and on the CPU, to `file`; the file is replaced atomically.

    Load a `state_dict` file with `model.load_state_dict(torch.load(file))`. A safetensors file contains a
    tied tensor once; its metadata maps the further names to the stored one, as safetensors.torch.save_model
    does, and describes the training: `torchconsole.preset` (TOML), `.input`, `.normalize`, `.target_scale`,
    `.data`, `.step` and `.metrics` (JSON).

    Raises:
        CheckpointError: if the checkpoint cannot be used.
        RunError: if the file cannot be written.
    """
    folder, state = read_current(checkpoint)
    chosen, averaged = choose_weights(state, weights)
    if not all(isinstance(value, Tensor) for value in chosen.values()):
        raise CheckpointError(f"{folder}: cannot export: a layer's state contains objects other than tensors")
    tensors = {name: value.contiguous() for name, value in chosen.items()}
    tied = {name: kept for name, kept in state.get("tied", {}).items() if name in tensors and kept in tensors}
    if form == "safetensors":
        once = {name: value for name, value in tensors.items() if name not in tied}
        _write(file, lambda path: save_file(once, path, metadata=_metadata(state) | tied))
    else:
        tensors |= {name: tensors[kept] for name, kept in tied.items()}
        _write(file, lambda path: torch.save(tensors, path))
    return ExportReport(
        file=str(file),
        checkpoint=str(folder),
        step=state["progress"]["step"],
        bytes=file.stat().st_size,
        tensors=len(tensors),
        params=sum(value.numel() for name, value in tensors.items() if name not in tied),
        averaged=averaged,
        tied=tied,
        normalize=_mean_std(state, "normalize"),
        target_scale=_mean_std(state, "scale_target"),
    )


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


def _metadata(state: dict[str, Any]) -> dict[str, str]:
    return {
        "format": "pt",
        "torchconsole.preset": state["preset"],
        "torchconsole.normalize": json.dumps(_mean_std(state, "normalize")),
        "torchconsole.target_scale": json.dumps(_mean_std(state, "scale_target")),
        **_input_description(state),
        "torchconsole.data": json.dumps(_model_data(state.get("data", {}))),
        "torchconsole.step": str(state["progress"]["step"]),
        "torchconsole.metrics": json.dumps(state["metrics"]),
    }


def _input_description(state: dict[str, Any]) -> dict[str, str]:
    """Return how inputs are read and prepared, unless that cannot be described."""
    preset = validate(tomllib.loads(state["preset"]), "the preset in the checkpoint")
    record = data_record_in(state)
    if record is None or why_not_described(preset.data):
        return {}
    return {"torchconsole.input": describe_inputs(preset.data, record).model_dump_json()}


def _model_data(recorded: dict[str, Any]) -> dict[str, Any]:
    """Return what users of the model need to know of the recorded data; features are columns of a table."""
    needed = ["task", "input_shape", "classes", "outputs", *(["features"] * bool(recorded.get("features")))]
    return {key: recorded[key] for key in needed if key in recorded}


def _mean_std(state: dict[str, Any], key: str) -> dict[str, list[float]] | None:
    """Return the mean and std by which the run normalized inputs or targets; None if it did not."""
    recorded = tomllib.loads(state["preset"]).get("data", {}).get(key)
    return recorded if isinstance(recorded, dict) else None


def _write(file: Path, save: Callable[[Path], None]) -> None:
    try:
        with replacing(file) as temporary:
            save(temporary)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch reports a full disk as a RuntimeError
        raise RunError(f"{file}: cannot be written: {error}") from error

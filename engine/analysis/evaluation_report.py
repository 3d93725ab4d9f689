"""Evaluates a checkpoint on a part of the data that its run was trained with."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from torchconsole.engine.analysis.trained import Weights, choose_weights, read_linked
from torchconsole.engine.components.data import DataModule, EvalBatches, TrainBatches
from torchconsole.engine.components.devices import choose_device
from torchconsole.engine.components.metrics import PREFIX
from torchconsole.engine.config.loading import set_key, validate
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.events import EvaluationReport
from torchconsole.engine.protocol.points import flag_nonfinite
from torchconsole.engine.training.evaluation import evaluate
from torchconsole.engine.training.resume import as_saved
from torchconsole.engine.training.setup import build_setup
from torchconsole.engine.training.train_state import load_weights

Part = Literal["val", "test", "train"]


def evaluate_checkpoint(
    checkpoint: Path, part: Part, weights: Weights, device: str | None = None
) -> EvaluationReport:
    """Build what the checkpoint's preset names, load the weights and evaluate them; nothing is written.

    The training part is evaluated as validation data are: with data.transforms.val, each sample once. Raises
    TorchconsoleError for a checkpoint, data or device that cannot be used.
    """
    folder, state = read_linked(checkpoint)
    preset = _preset_of(state, folder, device)
    if part == "train":
        preset = _without_augmentation(preset)
    if preset.training.threads != "auto":
        torch.set_num_threads(preset.training.threads)
    where = choose_device(preset.training.device)
    setup = build_setup(as_saved(preset), where, lambda phase: None)
    chosen, averaged = choose_weights(state, weights)
    load_weights(setup.model, chosen)
    batches = _part(setup.data, part)
    measured = evaluate(setup.model, setup.loss_fn, batches, setup.metrics, setup.precision.autocast)
    metrics, _ = flag_nonfinite({_renamed(name, part): value for name, value in measured.items()})
    return EvaluationReport(
        checkpoint=str(folder),
        step=state["progress"]["step"],
        epoch=state["progress"]["epoch"],
        part=part,
        samples=batches.samples,
        device=str(where),
        averaged=averaged,
        metrics=metrics,
        tables={_renamed(name, part): table for name, table in setup.metrics.tables().items()},
        classes=setup.data.spec.class_names,
    )


def _preset_of(state: dict[str, Any], folder: Path, device: str | None) -> Preset:
    """What the checkpoint was trained by. Raises PresetError."""
    content = tomllib.loads(state["preset"])
    overrides = ["training.compile=false"]
    if device:  # which may not compute in the format that was chosen for the other one
        overrides += [f"training.device={device}", "training.precision=auto"]
    for override in overrides:
        set_key(content, override)
    return validate(content, f"the preset in {folder}", overrides=overrides)


@dataclass(frozen=True)
class _OneEpoch:
    """The training part as an evaluation takes it."""

    batches: TrainBatches

    @property
    def samples(self) -> int:
        return self.batches.samples_per_epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.batches.epoch(0)


def _part(data: DataModule, part: Part) -> EvalBatches:
    if part == "train":
        return _OneEpoch(data.train)
    if part == "val":
        return data.val
    if data.test is None:
        raise DataError(
            "this run has no test part: its preset gives no data.test_split, and the data set brings none; "
            "evaluate --part val"
        )
    return data.test


def _without_augmentation(preset: Preset) -> Preset:
    transforms = preset.data.transforms
    plain = transforms.model_copy(update={"train": transforms.val, "batch": []})
    update: dict[str, Any] = {"transforms": plain, "sampler": "shuffle", "drop_last": False}
    return preset.model_copy(update={"data": preset.data.model_copy(update=update)})


def _renamed(name: str, part: Part) -> str:
    return f"{part}/{name.removeprefix(PREFIX)}"

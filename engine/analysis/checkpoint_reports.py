"""Evaluates a checkpoint on a part of the data that its run was trained with."""

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

from torchconsole.engine.components.data import DataModule, EvalBatches, TrainBatches
from torchconsole.engine.components.devices import choose_device
from torchconsole.engine.components.metrics import PREFIX
from torchconsole.engine.components.models.weights import State, weights_of
from torchconsole.engine.config.loading import set_key, validate
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import CheckpointError, DataError, RunError
from torchconsole.engine.files import replacing
from torchconsole.engine.protocol.points import flag_nonfinite
from torchconsole.engine.protocol.reports import EvaluationReport, ExportReport
from torchconsole.engine.run.manifest import offer
from torchconsole.engine.training.checkpoint import read_checkpoint
from torchconsole.engine.training.evaluation import evaluate
from torchconsole.engine.training.resume import as_saved
from torchconsole.engine.training.setup import build_setup
from torchconsole.engine.training.train_state import load_weights

Part = Literal["val", "test", "train"]

Format = Literal["state_dict", "safetensors"]

Weights = Literal["auto", "ema", "model"]
"""Which weights of a checkpoint: the averaged ones, the trained ones, or the first of them that are there."""


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


def export(checkpoint: Path, file: Path, form: Format, weights: Weights) -> ExportReport:
    """Write the weights, contiguous and on the CPU, to `file`, which appears whole or not at all.

    A state_dict is what `model.load_state_dict(torch.load(file))` takes. A safetensors file has each tensor
    once: its metadata says for each tied name under which it is kept, as safetensors.torch.save_model has it,
    and what was trained: `torchconsole.preset` (TOML), `.data`, `.step` and `.metrics` (JSON). Raises
    CheckpointError, and RunError where the file cannot be written.
    """
    folder, state = read_linked(checkpoint)
    chosen, averaged = choose_weights(state, weights)
    if not all(isinstance(value, Tensor) for value in chosen.values()):
        raise CheckpointError(f"{folder}: a layer keeps things in its state that are no tensors")
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
    )


def read_linked(path: Path) -> tuple[Path, dict[str, Any]]:
    """The folder that `path` leads to, and its state. Raises CheckpointError.

    A link of a live run may move on meanwhile, and what it led to be removed.
    """
    while True:
        folder = path.resolve()
        try:
            return folder, read_checkpoint(folder)
        except CheckpointError as error:
            if path.resolve() == folder:
                raise CheckpointError(f"{error}; {offer(folder)}") from error


def choose_weights(state: dict[str, Any], which: Weights) -> tuple[State, bool]:
    """The weights, and whether they are averaged. Raises CheckpointError where there are no averaged ones."""
    has_ema = bool(state.get("ema"))
    if which == "ema" and not has_ema:
        raise CheckpointError("the checkpoint has no averaged weights; leave out --weights ema")
    averaged = has_ema and which != "model"
    return weights_of(state, averaged=averaged), averaged


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


def _metadata(state: dict[str, Any]) -> dict[str, str]:
    return {
        "format": "pt",
        "torchconsole.preset": state["preset"],
        "torchconsole.data": json.dumps(state.get("data", {})),
        "torchconsole.step": str(state["progress"]["step"]),
        "torchconsole.metrics": json.dumps(state["metrics"]),
    }


def _write(file: Path, save: Callable[[Path], None]) -> None:
    try:
        with replacing(file) as temporary:
            save(temporary)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch's word for a full disk is RuntimeError
        raise RunError(f"{file}: cannot be written: {error}") from error

"""Describes the values of a model's tensors: of a preset's before its first step, or of a checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from torchconsole.engine.analysis.check_report import print_phase
from torchconsole.engine.analysis.checkpoint_reports import choose_weights, read_current
from torchconsole.engine.components.models.weights import State
from torchconsole.engine.config.loading import read_preset
from torchconsole.engine.protocol.reports import TensorValues, ValuesReport
from torchconsole.engine.training.parts import build_parts


def initial_values_report(preset_file: str) -> ValuesReport:
    """Build the model of a preset on the CPU, as a run does, and describe its values.

    Raises as `build_parts` does.
    """
    preset = read_preset(Path(preset_file))
    training = preset.training.model_copy(update={"device": "cpu", "precision": "auto"})
    parts = build_parts(preset.model_copy(update={"training": training}), torch.device("cpu"), print_phase)
    return ValuesReport(checkpoint=None, averaged=False, tensors=describe(parts.model.state_dict()))


def checkpoint_values_report(checkpoint: str) -> ValuesReport:
    """Describe the values in a checkpoint, of its EMA if it has one. Raises CheckpointError."""
    folder, state = read_current(Path(checkpoint))
    weights, averaged = choose_weights(state, "auto")
    return ValuesReport(checkpoint=str(folder), averaged=averaged, tensors=describe(weights))


def describe(state: State) -> list[TensorValues]:
    """Describe each tensor of real numbers in a state dict; counters and other objects are left out."""
    return [
        _describe(name, value)
        for name, value in state.items()
        if isinstance(value, Tensor) and value.is_floating_point()
    ]


def _describe(name: str, tensor: Tensor) -> TensorValues:
    values = tensor.detach().flatten().double()
    finite = values[values.isfinite()]
    has_any = finite.numel() > 0
    return TensorValues(
        name=name,
        shape=list(tensor.shape),
        min=float(finite.min()) if has_any else None,
        max=float(finite.max()) if has_any else None,
        mean=float(finite.mean()) if has_any else None,
        deviation=float(finite.std(correction=0)) if has_any else None,
        zeros=float((values == 0).double().mean()) if values.numel() else 0.0,
        nonfinite=values.numel() - finite.numel(),
    )

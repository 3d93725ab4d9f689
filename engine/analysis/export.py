"""Writes the weights of a checkpoint to a file of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from torchconsole.engine.analysis.trained import Weights, choose_weights, read_linked
from torchconsole.engine.errors import CheckpointError, RunError
from torchconsole.engine.protocol.events import ExportReport

Format = Literal["state_dict", "safetensors"]
Tensors = dict[str, Tensor]


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


def _metadata(state: dict[str, Any]) -> dict[str, str]:
    return {
        "format": "pt",
        "torchconsole.preset": state["preset"],
        "torchconsole.data": json.dumps(state.get("data", {})),
        "torchconsole.step": str(state["progress"]["step"]),
        "torchconsole.metrics": json.dumps(state["metrics"]),
    }


def _write(file: Path, save: Callable[[Path], None]) -> None:
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        save(temporary)
        temporary.replace(file)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch's word for a full disk is RuntimeError
        temporary.unlink(missing_ok=True)
        raise RunError(f"{file}: cannot be written: {error}") from error

"""Arrays on disk: inputs and targets in one .npz or .pt file."""

from __future__ import annotations

import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchconsole.engine.components.data.datasets import InMemoryDataset, Splits
from torchconsole.engine.components.data.decoding import compact, from_numpy
from torchconsole.engine.components.data.sources import existing_file
from torchconsole.engine.components.instantiate import call
from torchconsole.engine.config.schema import DataConfig
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.events import ReportPhase
from torchconsole.engine.text import did_you_mean, first_line


@dataclass(frozen=True)
class NPZ:
    """A NumPy archive, or a file of torch.save that holds a dictionary of tensors."""

    inputs: str = "inputs"
    """Key of the inputs (N, ...): uint8 images, or numbers."""
    targets: str = "targets"
    """Key of the targets (N,) or (N, K)."""

    def __post_init__(self) -> None:
        """Raises ValueError for keys that are not text."""
        if not isinstance(self.inputs, str) or not isinstance(self.targets, str):
            raise ValueError("inputs and targets must be names of arrays")


def open_arrays(config: DataConfig, report: ReportPhase) -> Splits:
    """Open the file `data.root`. Raises DataError if it does not hold inputs and targets."""
    keys: NPZ = call("data", NPZ, {}, config.arguments)
    path = existing_file(config)
    content = _read(path)
    inputs, targets = (_entry(content, key, path) for key in (keys.inputs, keys.targets))
    if inputs.ndim < 2 or len(inputs) != len(targets):
        raise DataError(
            f"data: {path.name}: {keys.inputs} {tuple(inputs.shape)} and {keys.targets} "
            f"{tuple(targets.shape)} must both have the samples along their first axis"
        )
    inputs = _convert_inputs(inputs, config)
    if inputs.is_floating_point() and not torch.isfinite(inputs).all():
        raise DataError(f"data: {path.name}: {keys.inputs} holds values that are not finite numbers")
    return Splits(InMemoryDataset(inputs, targets))


SOURCES = {"NPZ": open_arrays, "Tensors": open_arrays}


def _convert_inputs(inputs: Tensor, config: DataConfig) -> Tensor:
    """Keep bytes as images; treat whole numbers as indices if nothing is normalized, else as amounts."""
    if inputs.dtype == torch.uint8:
        return compact(inputs, samples=True)
    is_whole = not inputs.is_floating_point() and inputs.dtype != torch.bool
    return inputs.long() if is_whole and config.normalize == "none" else inputs.float()


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.suffix in (".pt", ".pth"):
            content = torch.load(path, weights_only=True, map_location="cpu")
        else:
            content = np.load(path, allow_pickle=False)
            if isinstance(content, np.lib.npyio.NpzFile):
                with content:
                    content = {name: content[name] for name in content.files}
    except (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        reason = first_line(error)
        if "pickled" in reason:  # NumPy's guess about any format that it does not know
            reason = "not an .npz file"
        raise DataError(f"data: {path} cannot be read as arrays: {reason}") from error
    if not isinstance(content, dict):
        raise DataError(f"data: {path} holds a {type(content).__name__}; named arrays or tensors are needed")
    return content


def _entry(content: dict[str, Any], key: str, path: Path) -> Tensor:
    if key not in content:
        raise DataError(
            f"data: {path.name} has no array {key!r}; set data.inputs and data.targets to names of its arrays"
            f"{did_you_mean(key, map(str, content))}"
        )
    value = content[key]
    if not isinstance(value, np.ndarray | Tensor) or value.ndim == 0:
        raise DataError(f"data: {path.name}: {key!r} is not an array")
    return from_numpy(value) if isinstance(value, np.ndarray) else value

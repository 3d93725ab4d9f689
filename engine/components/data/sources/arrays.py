"""Samples that are arrays: the small datasets of scikit-learn, and files of the user's (.npz, .pt)."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchconsole.engine.components.data.datasets import InMemoryDataset, Splits
from torchconsole.engine.components.data.decoding import (
    CHANNELS,
    compact,
    from_numpy,
    plain_tensor,
)
from torchconsole.engine.components.data.types import TaskType
from torchconsole.engine.components.instantiate import call
from torchconsole.engine.config.data_location import data_file
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.events import ReportPhase
from torchconsole.engine.text import did_you_mean, first_line, printable

MAX_LISTED = 5
"""Number of arrays that a note names."""

DIGITS_MAX = 16
"""The pixels of the digits are counts from 0 to 16."""


def digits() -> Splits:
    """1,797 handwritten digits as images (1, 8, 8) from 0 to 1 (UCI ML hand-written digits, test part)."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images = torch.from_numpy(bunch.images).float().unsqueeze(1) / DIGITS_MAX
    dataset = InMemoryDataset(images, torch.from_numpy(bunch.target))
    return Splits(dataset, task="multiclass", class_names=[str(name) for name in bunch.target_names])


def iris() -> Splits:
    """150 flowers of 3 species, 4 lengths each (Fisher 1936)."""
    from sklearn.datasets import load_iris

    return _from_bunch(load_iris(), "multiclass")


def wine() -> Splits:
    """178 wines of 3 growers, 13 chemical measurements each (UCI)."""
    from sklearn.datasets import load_wine

    return _from_bunch(load_wine(), "multiclass")


def breast_cancer() -> Splits:
    """569 biopsies, malignant (0) or benign (1), 30 measurements each (UCI, Wisconsin diagnostic)."""
    from sklearn.datasets import load_breast_cancer

    return _from_bunch(load_breast_cancer(), "binary")


def diabetes() -> Splits:
    """442 patients, 10 measurements each, and the progression of the disease after a year, 25 to 346."""
    from sklearn.datasets import load_diabetes

    return _from_bunch(load_diabetes(), "regression")


EXACT = 2**53
"""Whole numbers below it are exact in float64."""


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
    path = data_file(config.name, config.root)
    content = _read(path)
    inputs = _array(content, keys.inputs, path, targets=False)
    targets = _array(content, keys.targets, path, targets=True)
    if inputs.ndim < 2 or len(inputs) != len(targets):
        raise DataError(
            f"data: {path.name}: {keys.inputs} {tuple(inputs.shape)} and {keys.targets} "
            f"{tuple(targets.shape)} must both have the samples along their first axis"
        )
    notes = [*_note_channels(keys.inputs, inputs), *_note_unread(content, keys)]
    inputs = _checked(inputs, config, f"{path.name}: {keys.inputs}")
    return Splits(InMemoryDataset(inputs, targets), notes=notes)


def array_names(config: DataConfig) -> NPZ:
    """Return what the arrays of a run are called; those of scikit-learn get the default names."""
    keys: NPZ = call("data", NPZ, {}, config.arguments if config.name in FILES else {})
    return keys


def read_inputs(path: Path, config: DataConfig, expected: str) -> Tensor:
    """Return the inputs (N, ...) of a file as `open_arrays` does, without targets.

    Raises DataError, which says what is `expected` if it is another kind of file.
    """
    keys = array_names(config)
    try:
        inputs = _named(path, keys.inputs, targets=False)
        if inputs.ndim < 2:
            raise DataError(f"array {keys.inputs!r} has shape {tuple(inputs.shape)}")
    except DataError as error:
        raise DataError(f"{error}; this run takes {expected}") from error
    converted = _checked(inputs, config, f"{path.name}: {keys.inputs}")
    return converted.float() if config.name in BUNDLED and converted.dtype != torch.uint8 else converted


def read_targets(path: Path, config: DataConfig) -> Tensor:
    """Return the targets (N,) or (N, K) of a file, as they are in it. Raises DataError."""
    return _named(path, array_names(config).targets, targets=True)


def _named(path: Path, key: str, *, targets: bool) -> Tensor:
    """Return an array of a file that is not the run's, whose arrays must be called as in the run."""
    content = _read(path)
    if key not in content:
        found = ", ".join(map(printable, list(content)[:MAX_LISTED])) or "no array"
        raise DataError(f"it has no array {key!r}, but {found}")
    return _array(content, key, path, targets=targets)


def _checked(inputs: Tensor, config: DataConfig, where: str) -> Tensor:
    """Convert the inputs. Raises DataError for values that are not finite."""
    inputs = _convert_inputs(inputs, config)
    if inputs.is_floating_point() and not torch.isfinite(inputs).all():
        raise DataError(f"data: {where} has nan or infinite values; replace them")
    return inputs


def _open_bundled(load: Callable[[], Splits], config: DataConfig, report: ReportPhase) -> Splits:
    splits: Splits = call("data", load, {}, config.arguments)
    return splits


BUNDLED = {
    load.__name__: partial(_open_bundled, load) for load in (digits, iris, wine, breast_cancer, diabetes)
}
"""The datasets that come with scikit-learn and need no download, by the names that scikit-learn uses."""

FILES = {"NPZ": open_arrays, "Tensors": open_arrays}
"""Files of arrays or tensors."""


def _from_bunch(bunch: Any, task: TaskType) -> Splits:
    dataset = InMemoryDataset(torch.from_numpy(bunch.data).float(), torch.from_numpy(bunch.target))
    names = [] if task == "regression" else [str(name) for name in bunch.target_names]
    return Splits(dataset, task=task, class_names=names)


def _convert_inputs(inputs: Tensor, config: DataConfig) -> Tensor:
    """Keep bytes as images; treat whole numbers as indices if nothing is normalized, else as amounts."""
    if inputs.dtype == torch.uint8:
        return compact(inputs, samples=True)
    is_whole = not inputs.is_floating_point() and inputs.dtype != torch.bool
    if is_whole and config.normalize == "none":
        return inputs.long()
    # Features keep their digits until they are normalized; see feature_scaling.py. So do series of them, but
    # not images, which would need twice the memory for nothing.
    precise = inputs.dtype not in (torch.float32, torch.float16, torch.bfloat16)
    found = inputs.double() if inputs.ndim == 2 or (precise and inputs.ndim == 3) else inputs.float()
    if is_whole and inputs.abs().max() >= EXACT and len(torch.unique(inputs)) > len(torch.unique(found)):
        raise DataError(
            "data.inputs: the array has whole numbers that 64-bit floats cannot tell apart: save smaller "
            'ones, or set data.normalize = "none" if they are indices'
        )
    return found


def _note_channels(key: str, inputs: Tensor) -> list[str]:
    """Return a note on inputs that look like images with their channels last, unless they are converted."""
    if inputs.dtype == torch.uint8 or inputs.ndim != 4:
        return []
    _, *shape = inputs.shape
    if shape[-1] not in CHANNELS or shape[0] in CHANNELS:
        return []
    return [
        f"{key} has the shape {tuple(inputs.shape)}: if these are images with their channels last, save "
        f"{key}.transpose(0, 3, 1, 2), or bytes (uint8)"
    ]


def _note_unread(content: dict[str, Any], keys: NPZ) -> list[str]:
    unread = [str(name) for name in content if name not in (keys.inputs, keys.targets)]
    if not unread:
        return []
    more = f" and {len(unread) - MAX_LISTED:,} more" if len(unread) > MAX_LISTED else ""
    return [f"arrays that are not read: {', '.join(map(printable, unread[:MAX_LISTED]))}{more}"]


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
        if isinstance(error, pickle.UnpicklingError):  # torch's text is about an option that nobody has here
            reason = "not a dictionary of tensors that torch.save has written"
        raise DataError(f"data.root: cannot read arrays from {path}: {reason}") from error
    if not isinstance(content, dict):
        raise DataError(
            f"data.root: {path} holds a {type(content).__name__}; save a dictionary of arrays or tensors"
        )
    return content


def _array(content: dict[str, Any], key: str, path: Path, *, targets: bool) -> Tensor:
    if key not in content:
        raise DataError(
            f"data: {path.name} has no array {key!r}; set data.inputs and data.targets to names of its arrays"
            f"{did_you_mean(key, map(str, content))}"
        )
    value = content[key]
    if not isinstance(value, np.ndarray | Tensor) or value.ndim == 0:
        raise DataError(f"data: {path.name}: {key!r} is not an array")
    try:
        if isinstance(value, Tensor):
            return plain_tensor(value, targets=targets)
        return from_numpy(value, targets=targets)
    except DataError as error:
        raise DataError(f"data: {path.name}: {key}: {str(error).removeprefix('data: ')}") from error

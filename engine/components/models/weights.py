"""Loads the weights that a model starts from: torchvision's published weights or a local file."""

from __future__ import annotations

import logging
import os
import re
import weakref
import zipfile
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlparse

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from torchconsole.engine.components.models.adapt_layers import (
    find_head,
    find_stem,
    replace_head,
    replace_stem,
)
from torchconsole.engine.components.models.state_dict_diff import diff_state_dict, rename_hint
from torchconsole.engine.components.shards import fill
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.files import open_regular
from torchconsole.engine.protocol.events import PhaseChanged, ReportPhase
from torchconsole.engine.run.checkpoints import verify
from torchconsole.engine.run.names import STATE_FILE
from torchconsole.engine.system_limits import is_memory_error
from torchconsole.engine.text import first_line
from torchconsole.engine.user_folders import cannot_write, expand_user, is_unwritable

log = logging.getLogger(__name__)

State = dict[str, Any]

WEIGHT_KEYS = ("state_dict", "model_state_dict", "model")
"""Keys under which training programs store a model's weights in a file with more content."""

AUXILIARY_HEADS = ("aux1.", "aux2.", "AuxLogits.")
"""Auxiliary heads of GoogLeNet and Inception: in the published files, but not in the models built here."""


def is_file_name(weights: str) -> bool:
    """Whether `weights` is a local file rather than torchvision's name for weights, such as DEFAULT."""
    return not weights.isidentifier()


def download_weights(url: str, report: ReportPhase) -> Path:
    """Return the file of `url` in torch's cache ($TORCH_HOME); download it and check its hash if necessary.

    If the cache cannot be written, warns and returns a file that this process removes at its end. Raises
    ComponentError if the file is not in the cache and cannot be downloaded.
    """
    name = Path(urlparse(url).path).name
    cache = expand_user(torch.hub.get_dir()) / "checkpoints"
    if os.path.exists(cache / name):  # noqa: PTH110 - Path.exists raises if the cache is closed to this user
        return cache / name
    report(PhaseChanged(phase="downloading weights", subject=name))
    try:
        try:
            return _download(url, cache / name)
        except OSError as error:
            if not is_unwritable(error):
                raise
            log.warning(cannot_write(cache, error, f"{name} is downloaded again at each start"))
        folder = TemporaryDirectory(prefix="torchconsole-weights-")
        weakref.finalize(torch.hub, folder.cleanup)  # at the end of the process
        return _download(url, Path(folder.name, name))
    except (OSError, HTTPException, RuntimeError) as error:
        raise ComponentError(
            f"model.weights: cannot download {url} ({first_line(error)}); if this machine has no network, "
            f"copy the file to {cache / name}"
        ) from error


def _download(url: str, path: Path) -> Path:
    digest = re.search(r"-([0-9a-f]{8,})\.", path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.hub.download_url_to_file(url, str(path), digest and digest.group(1), progress=False)
    return path


def read_state(path: Path) -> State:
    """Read the state dict in `path` onto the CPU.

    `path` may be a checkpoint folder of torchconsole (its sha256 is verified), a file written by torch.save
    (the state dict itself, or a dict with it under one of `WEIGHT_KEYS`), or a .safetensors file.

    Raises:
        ComponentError: if the file does not exist, cannot be read, or contains anything else.
        CheckpointError: if the checkpoint is damaged.
    """
    if path.is_dir():
        verify(path)
        path = path / STATE_FILE
    if not path.exists():
        raise ComponentError(f"model.weights: there is no file {str(path)!r}")
    try:
        open_regular(path).close()  # torch.load would wait for the writer of a FIFO
    except OSError as error:
        raise ComponentError(f"model.weights: {path} cannot be read: {error.strerror}") from error
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)


def weights_of(state: dict[str, Any], *, averaged: bool = True) -> State:
    """Return the weights in a checkpoint: those of the EMA if there are any, unless `averaged` is False."""
    chosen: State = state["ema"]["module"] if averaged and state.get("ema") else state["model"]
    return chosen


def load_state(model: nn.Module, state: State, source: str, *, strict: bool = True) -> set[str]:
    """Load `state` into `model` and return the names of the parameters that were loaded.

    If the number of classes differs, the model keeps its new head. If the number of input channels differs,
    the first convolution is adapted (see `replace_stem`). Everything else must match. If it does not, and
    with `strict`, ComponentError lists the missing, unexpected and mismatched names; `source` is the name of
    the weights in messages. Without `strict` the list is logged and the rest is loaded; it must not be empty.
    """
    _update_names(state, {name for name, _ in model.named_parameters()})
    total = len(state)
    head, stem = find_head(model), find_stem(model)
    outputs = head[1].weight.shape[0] if head else 0
    saved_outputs = _size(state, head[0], 0, outputs) if head else 0
    replace_head(model, saved_outputs)
    if stem is not None:
        replace_stem(model, _size(state, stem[0], 1, stem[1].in_channels), keep_weights=False)
    loaded = _load_matching(model, state, source, strict)
    if stem is not None:
        replace_stem(model, stem[1].in_channels, keep_weights=True)
    new = replace_head(model, outputs)
    note = f"; the head {head[0]} is new: {outputs} outputs, not {saved_outputs}" if head and new else ""
    log.info("%d of %d tensors loaded from %s%s", len(loaded - new), total, source, note)
    return loaded & {name for name, _ in model.named_parameters()} - new


def _load_matching(model: nn.Module, state: State, source: str, strict: bool) -> set[str]:
    """Load the tensors that match and return their names; mismatched ones are removed from `state`."""
    # torch raises an error for mismatched shapes even without strict, so they are removed first. The missing
    # names are torch's: it knows which ones older versions of a layer did not have.
    diff = diff_state_dict(model, state)
    for name in diff.mismatched:
        del state[name]
    missing_keys = model.load_state_dict(state, strict=False).missing_keys
    diff = replace(diff, missing=[name for name in missing_keys if name not in diff.mismatched])
    loaded = state.keys() - set(diff.unexpected)
    if not diff:
        return loaded
    message = f"{source} does not match {type(model).__name__}: {diff}"
    if strict or not loaded:
        hint = rename_hint(model, state) if diff.unexpected else ""
        remedy = "; set model.strict = false to load the rest" if loaded else ""
        raise ComponentError(f"model.weights: {message}{hint}{remedy}")
    log.warning("%s", message)
    return loaded


def _size(state: State, layer: str, dim: int, default: int) -> int:
    """Return the size of a layer's weight along `dim` in the state."""
    weight = state.get(f"{layer}.weight")
    return weight.shape[dim] if isinstance(weight, Tensor) and weight.ndim > dim else default


def _update_names(state: State, names: set[str]) -> None:
    """Convert outdated names as torchvision does when it loads its own files.

    This is done in place, because an attribute of the state dict holds the versions of its layers.
    """
    for key in list(state):
        if key.startswith(AUXILIARY_HEADS) and key not in names:
            del state[key]
        elif "denselayer" in key:
            # These files are older than torch's ban on dots in names: norm.1.weight is now norm1.weight.
            state[re.sub(r"\b(norm|conv)\.([12])\.", r"\1\2.", key)] = state.pop(key)


def _read_torch(path: Path) -> State:
    try:
        # Mapped, so that tensors take no more memory than the file has bytes. The oldest format cannot be.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_plain_archive(path))
    except Exception as error:  # torch.load raises nearly anything for a damaged file
        if is_memory_error(error):
            raise
        raise ComponentError(
            f"model.weights: {path} is not a file of plain tensors written by torch.save; save a state dict"
        ) from error
    if isinstance(content, dict) and "made_with" in content and "model" in content:
        fill(content, path.parent, lambda keys: keys[0] == ("ema" if content.get("ema") else "model"))
        content = weights_of(content)
    for key in WEIGHT_KEYS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not _is_state(content):
        raise ComponentError(f"model.weights: {path} contains no state dict (names and tensors)")
    state: State = content
    return state


def _is_plain_archive(path: Path) -> bool:
    """Return whether a file has the format of torch.save. Raises ValueError if it is compressed."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("it is compressed")
    return True


def _read_safetensors(path: Path) -> State:
    """Read a safetensors file. It stores a tied tensor once and lists its further names in the metadata."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            state: State = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata: dict[str, str] = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ComponentError(f"model.weights: {path} is not a valid safetensors file: {error}") from error
    tied = {name: kept for name, kept in metadata.items() if kept in state and name not in state}
    return state | {name: state[kept] for name, kept in tied.items()}


def _is_state(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and bool(content)
        and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
    )

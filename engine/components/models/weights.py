"""Weights that a model starts from: torchvision's published ones or a local file's."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
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
from torchconsole.engine.components.models.state_dict_diff import compare, prefix_hint
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.protocol.events import PhaseChanged, ReportPhase
from torchconsole.engine.run.manifest import STATE_FILE, verify
from torchconsole.engine.text import first_line

log = logging.getLogger(__name__)

State = dict[str, Any]

KEYS = ("state_dict", "model_state_dict", "model")
"""Where training programs keep a model's weights in a file that holds more than these."""

AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
"""Second heads of GoogLeNet and Inception, in published files but not in the models built here."""


def is_file_name(weights: str) -> bool:
    """Whether `weights` means a local file rather than torchvision's name of weights, such as DEFAULT."""
    return not weights.isidentifier()


def fetch(url: str, report: ReportPhase) -> Path:
    """The file behind `url` in torch's cache ($TORCH_HOME); downloaded, and its hash checked, if not there.

    Raises ComponentError when it can be neither found nor fetched.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    if path.exists():
        return path
    report(PhaseChanged(phase="downloading weights", subject=path.name))
    digest = re.search(r"-([0-9a-f]{8,})\.", path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), digest and digest.group(1), progress=False)
    except (OSError, HTTPException, RuntimeError) as error:
        raise ComponentError(
            f"model.weights: cannot fetch {url} ({first_line(error)}); without a network, copy it to {path}"
        ) from error
    return path


def read_state(path: Path) -> State:
    """The state dict in `path`, on the CPU whatever device it was saved from.

    `path` may be the folder of a checkpoint of ours, which is checked against its sha256, or a file: of
    torch.save, with the state dict by itself or under one of `KEYS`, or a .safetensors. Raises ComponentError
    for what cannot be read and for what holds anything else, CheckpointError for a damaged checkpoint.
    """
    if path.is_dir():
        verify(path)
        path = path / STATE_FILE
    if not path.exists():
        raise ComponentError(f"model.weights: there is no file {str(path)!r}")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)


def weights_of(state: dict[str, Any], *, averaged: bool = True) -> State:
    """The weights in a checkpoint of ours: the averaged ones, where it has them and `averaged` says so."""
    chosen: State = state["ema"]["module"] if averaged and state.get("ema") else state["model"]
    return chosen


def load_state(model: nn.Module, state: State, source: str, *, strict: bool = True) -> set[str]:
    """Load `state` into `model` and return the names of the parameters that come from it.

    A head for another number of classes stays as it is, fresh, and a first convolution for another number of
    channels is made to fit the model's (see `replace_stem`); everything else must be the same. Where it is
    not, ComponentError is raised that lists missing, unexpected and mismatched names and calls the weights
    `source`; without `strict` they are logged, and what fits is loaded. Some of it must.
    """
    _mend_names(state, {name for name, _ in model.named_parameters()})
    total = len(state)
    head, stem = find_head(model), find_stem(model)
    outputs = head[1].weight.shape[0] if head else 0
    theirs = _length(state, head[0], 0, outputs) if head else 0
    replace_head(model, theirs)
    if stem is not None:
        replace_stem(model, _length(state, stem[0], 1, stem[1].in_channels), keep_weights=False)
    loaded = _fill(model, state, source, strict)
    if stem is not None:
        replace_stem(model, stem[1].in_channels, keep_weights=True)
    fresh = replace_head(model, outputs)
    note = f"; the head {head[0]} is new: {outputs} outputs, not {theirs}" if head and fresh else ""
    log.info("%d of %d tensors come from %s%s", len(loaded - fresh), total, source, note)
    return loaded & {name for name, _ in model.named_parameters()} - fresh


def _fill(model: nn.Module, state: State, source: str, strict: bool) -> set[str]:
    """Load what fits, the rest is taken out of `state`; returns the names in both."""
    # torch tells of shapes only by an error, so they are compared first. Which names may be missing, because
    # older versions of a layer did not have them, it knows best.
    differences = compare(model, state)
    for name in differences.mismatched:
        del state[name]
    absent = model.load_state_dict(state, strict=False).missing_keys
    missing = [name for name in absent if name not in differences.mismatched]
    differences = replace(differences, missing=missing)
    loaded = state.keys() - set(differences.unexpected)
    if not differences:
        return loaded
    told = f"{source} does not fit {type(model).__name__}: {differences}"
    if strict or not loaded:
        hint = prefix_hint(model, state) if differences.unexpected else ""
        way_out = "; model.strict = false loads what fits" if loaded else ""
        raise ComponentError(f"model.weights: {told}{hint}{way_out}")
    log.warning("%s", told)
    return loaded


def _length(state: State, layer: str, dim: int, default: int) -> int:
    """How long the weight of `layer` is along `dim` in the state."""
    weight = state.get(f"{layer}.weight")
    return weight.shape[dim] if isinstance(weight, Tensor) and weight.ndim > dim else default


def _mend_names(state: State, names: set[str]) -> None:
    """Mend, in place, what torchvision mends when it loads its own files.

    In place, because a state dict carries the versions of its layers along in an attribute.
    """
    for key in list(state):
        if key.startswith(AUXILIARY) and key not in names:
            del state[key]
        elif "denselayer" in key:
            # Published before torch forbade dots in names: norm.1.weight is norm1.weight today.
            state[re.sub(r"\b(norm|conv)\.([12])\.", r"\1\2.", key)] = state.pop(key)


def _read_torch(path: Path) -> State:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises nearly anything for a damaged file
        raise ComponentError(
            f"model.weights: {path} is not a file of plain tensors that torch.save has written"
        ) from error
    if isinstance(content, dict) and "made_with" in content and "model" in content:
        content = weights_of(content)
    for key in KEYS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not _is_state(content):
        raise ComponentError(f"model.weights: {path} holds no state dict (names and tensors)")
    state: State = content
    return state


def _read_safetensors(path: Path) -> State:
    """A file has each tensor once: its metadata says which further names a tied one goes by."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            state: State = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata: dict[str, str] = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ComponentError(f"model.weights: {path} is not a whole safetensors file: {error}") from error
    tied = {name: kept for name, kept in metadata.items() if kept in state and name not in state}
    return state | {name: state[kept] for name, kept in tied.items()}


def _is_state(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and bool(content)
        and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
    )

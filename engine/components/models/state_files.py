"""Reads weights: a state dict of torch.save, a checkpoint of ours, safetensors; no code in them is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from torchconsole.engine.errors import ComponentError
from torchconsole.engine.run.manifest import STATE_FILE, verify

State = dict[str, Any]

KEYS = ("state_dict", "model_state_dict", "model")
"""Where training programs keep a model's weights in a file that holds more than these."""


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

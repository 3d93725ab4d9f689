"""Weights that a model starts from: torchvision's published ones or a local file, read as plain tensors."""

from __future__ import annotations

import re
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from torchconsole.engine.components.data.types import Say
from torchconsole.engine.components.instantiate import first_line
from torchconsole.engine.components.models.surgery import (
    find_head,
    find_stem,
    replace_head,
    replace_stem,
)
from torchconsole.engine.errors import ComponentError

State = dict[str, Any]

KEYS = ("state_dict", "model_state_dict", "model")
"""Where training programs keep a model's weights in a file that holds more than these."""

AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
"""Second heads of GoogLeNet and Inception, in published files but not in the models built here."""


def is_file_name(weights: str) -> bool:
    """Whether `weights` means a local file rather than torchvision's name of weights, such as DEFAULT."""
    return not weights.isidentifier()


def fetch(url: str, say: Say) -> Path:
    """The file behind `url` in torch's cache ($TORCH_HOME); downloaded, and its hash checked, if not there.

    Raises ComponentError when it can be neither found nor fetched.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    if path.exists():
        return path
    say(f"downloading {path.name}")
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
    """The state dict in a file of torch.save, by itself or under one of `KEYS`; no code in it is run.

    Raises ComponentError for a file that cannot be read and for one that holds anything else.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ComponentError(f"model.weights: there is no file {str(path)!r}") from error
    except Exception as error:  # torch.load raises nearly anything for a damaged file
        raise ComponentError(
            f"model.weights: {path} is not a file of plain tensors that torch.save has written"
        ) from error
    for key in KEYS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not _is_state(content):
        raise ComponentError(f"model.weights: {path} holds no state dict (names and tensors)")
    state: State = content
    return state


def load_state(model: nn.Module, state: State, source: str) -> set[str]:
    """Load `state` into `model` and return the names of the parameters that come from it.

    A head for another number of classes stays as it is, fresh, and a first convolution for another number of
    channels is made to fit the model's (see `replace_stem`); everything else must be the same. Raises
    ComponentError, which calls the weights `source`, where it is not.
    """
    _rename(state, {name for name, _ in model.named_parameters()})
    head, layer = find_head(model)
    outputs = layer.weight.shape[0]
    replace_head(model, _length(state, head, 0, outputs))
    stem = find_stem(model)
    if stem is not None:
        replace_stem(model, _length(state, stem[0], 1, stem[1].in_channels), keep_weights=False)
    try:
        model.load_state_dict(state)
    except (RuntimeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        differences = " ".join(lines[1:])
        raise ComponentError(
            f"model.weights: {source} does not fit {type(model).__name__}: {differences[:300]}"
        ) from error
    if stem is not None:
        replace_stem(model, stem[1].in_channels, keep_weights=True)
    return {name for name, _ in model.named_parameters()} - replace_head(model, outputs)


def _is_state(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and bool(content)
        and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
    )


def _length(state: State, layer: str, dim: int, default: int) -> int:
    """How long the weight of `layer` is along `dim` in the state."""
    weight = state.get(f"{layer}.weight")
    return weight.shape[dim] if isinstance(weight, Tensor) and weight.ndim > dim else default


def _rename(state: State, names: set[str]) -> None:
    """Mend, in place, what torchvision mends when it loads its own files.

    In place, because a state dict carries the versions of its layers along in an attribute.
    """
    for key in list(state):
        if key.startswith(AUXILIARY) and key not in names:
            del state[key]
        elif "denselayer" in key:
            # Published before torch forbade dots in names: norm.1.weight is norm1.weight today.
            state[re.sub(r"\b(norm|conv)\.([12])\.", r"\1\2.", key)] = state.pop(key)

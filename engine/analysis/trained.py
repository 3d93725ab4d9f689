"""What a run has learned, out of one of its checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from torchconsole.engine.components.models.state_files import State, weights_of
from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.run.manifest import offer
from torchconsole.engine.training.checkpoint import read_checkpoint

Weights = Literal["auto", "ema", "model"]
"""Which weights of a checkpoint: the averaged ones, the trained ones, or the first of them that are there."""


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

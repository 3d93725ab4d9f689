"""The checkpoints of a program that does not say what its state is: the state dicts of what it trains."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from torchconsole.engine.library.found_objects import find_models, name_optimizers
from torchconsole.engine.library.program_lr import ProgramLr
from torchconsole.engine.run.checkpoints import Manifest
from torchconsole.engine.session.event_queue import EventQueue
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter, Reason, SaveJob
from torchconsole.engine.training.command_handler import answer_saves
from torchconsole.engine.training.command_queue import Request
from torchconsole.engine.training.progress import Progress

log = logging.getLogger(__name__)


class Watched(Protocol):
    """A program's training."""

    progress: Progress
    learning_rate: ProgramLr


class ProgramCheckpoints:
    """Saves the state dicts of the models and optimizers that a program uses."""

    def __init__(self, run: Watched, folder: Path, events: EventQueue) -> None:
        self._run = run
        self._writer = AsyncCheckpointWriter(folder, -1, events.emit, events.flush, answer_saves(events.emit))
        self._writer.start()

    def save(self, reason: Reason, request: Request | None = None) -> None:
        """Copy the state to the host and write it in the background, if it was asked for or the run stops.

        The program itself saves its state when it wants to; a checkpoint of each change of the lr would not
        help it to resume. The host waits for the device here.
        """
        if reason not in ("command", "stop"):
            return
        progress = self._run.progress
        manifest = Manifest(
            step=progress.step,
            epoch=progress.epoch,
            revision=progress.revision,
            kept=reason == "command",
            metrics={},
            torch=str(torch.__version__),
        )
        state = _gathered(_state_of(self._run), keep=True)
        names = ", ".join([*state["models"], *state["optimizers"]]) or "nothing"
        log.info("step %s: saving the state dicts of %s", f"{progress.step:,}", names)
        self._writer.submit(SaveJob(state, manifest, reason, None, [request] if request else []))

    def flush(self) -> None:
        """Wait until everything is on disk."""
        self._writer.flush()

    def move_to(self, folder: Path) -> None:
        """Save to another folder from now on: the run's folder was renamed."""
        self._writer.move_to(folder)


class UnwrittenCheckpoints:
    """Does the part of a save that a sharded model needs of all processes; the leader writes."""

    def __init__(self, run: Watched) -> None:
        self._run = run

    def save(self, reason: Reason, request: Request | None = None) -> None:
        """Gather what the leader saves, and drop it."""
        if reason in ("command", "stop"):
            _gathered(_state_of(self._run), keep=False)

    def flush(self) -> None:
        """Return at once."""

    def move_to(self, folder: Path) -> None:
        """Do nothing."""


def _state_of(run: Watched) -> dict[str, Any]:
    stepping = run.learning_rate.optimizers
    return {
        "models": {name: model.state_dict() for name, model in find_models(stepping).items()},
        "optimizers": {name: each.state_dict() for name, each in name_optimizers(stepping).items()},
        "step": run.progress.step,
    }


def _gathered(state: Any, *, keep: bool) -> Any:
    """Return a deep copy of a state with every tensor on the CPU, and whole if it is sharded (FSDP2).

    All processes must call it, because they exchange their shards; one that does not `keep` the state copies
    nothing to the host. The host waits for the device here, once a save.
    """
    if isinstance(state, Tensor):
        tensors = sys.modules.get("torch.distributed.tensor")
        whole = state.full_tensor() if tensors and isinstance(state, tensors.DTensor) else state
        return whole.detach().to("cpu", copy=True) if keep else None
    if isinstance(state, dict):
        return {key: _gathered(value, keep=keep) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_gathered(value, keep=keep) for value in state)
    return state

"""Knows what the state of a training is made of: takes it for a checkpoint, and puts it back for a resume."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from torchconsole.engine.components.data import DataSpec
from torchconsole.engine.components.devices import DEVICE_ERRORS
from torchconsole.engine.components.models.state_dict_diff import compare, tied_names
from torchconsole.engine.components.optimizers import lay_out_state
from torchconsole.engine.config.loading import dump_preset
from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.protocol.info import Best, Metrics
from torchconsole.engine.run.manifest import Manifest
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter, Reason, SaveJob, to_host
from torchconsole.engine.training.command_queue import Request
from torchconsole.engine.training.early_stopping import EarlyStopping
from torchconsole.engine.training.meter import LossMeter
from torchconsole.engine.training.progress import Progress
from torchconsole.engine.training.randomness import random_state, restore_random_state
from torchconsole.engine.training.setup import TrainingSetup

LISTED = 20
"""Names that a message lists of each kind."""


class StateKeeper:
    """The parts of a training's state beside the task itself, and the way in and out of checkpoints."""

    def __init__(self, setup: TrainingSetup, saver: AsyncCheckpointWriter) -> None:
        self.progress = Progress()
        self.early_stopping = EarlyStopping(setup.preset.early_stopping)
        self.meter = LossMeter(leave_out=setup.preset.training.nonfinite == "skip")
        self._setup = setup
        self._saver = saver
        # Written out once: it takes longer than the copy of a small state.
        self._preset = dump_preset(setup.preset)
        self._metrics: Metrics = {}
        self._every_steps = setup.preset.checkpoint.save_every_steps
        self._interval = 60 * setup.preset.checkpoint.save_every_minutes
        self._next_save = time.monotonic() + self._interval
        self._saved_step = 0
        self._trained: dict[str, Any] | None = None

    @property
    def due(self) -> bool:
        """Whether the periodic checkpoint should be taken at this step boundary."""
        step = self.progress.step
        if self._every_steps and step % self._every_steps == 0 and step != self._saved_step:
            return True
        return time.monotonic() >= self._next_save

    def evaluated(self, metrics: Metrics) -> None:
        """Take in the metrics of the evaluation on schedule after this step."""
        self._metrics = metrics
        self.progress.evaluated = self.progress.step
        self.progress.revision += 1

    def save(self, reason: Reason, request: Request | None = None) -> None:
        """Copy the state to the host and hand it to the saver. At step boundaries only.

        A request that comes while another
        save by hand is being written is answered by that one.
        """
        if request and self._saver.join_save(request, self.progress.revision):
            return
        self._next_save = time.monotonic() + self._interval
        self._saved_step = self.progress.step
        best = self.early_stopping.best
        manifest = Manifest(
            step=self.progress.step,
            epoch=self.progress.epoch,
            revision=self.progress.revision,
            kept=reason == "command",
            metrics=self._metrics if self.progress.evaluated == self.progress.step else {},
            torch=str(torch.__version__),
            best_step=best.step if best else None,
        )
        self._saver.submit(
            SaveJob(
                state=to_host(self._state()),
                manifest=manifest,
                reason=reason,
                best=best,
                requests=[request] if request else [],
            )
        )

    def flush(self) -> str:
        """Wait until every checkpoint is on disk; returns why the newest is not, if so."""
        self._saver.flush()
        return self._saver.failure

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where a checkpoint was taken. Raises CheckpointError where it is of another model."""
        # Where a run has ended with its best weights, it goes on with those it had trained to.
        state = state | (state.get("trained") or {})
        load_weights(self._setup.model, state["model"])
        try:
            load_optimizer_state(self._setup.optimizer, state["optimizer"])
            self._restore_average(state)
            self._setup.learning_rate.load_state_dict(state["learning_rate"])
            self.progress.load_state_dict(state["progress"])
            self.early_stopping.load_state_dict(state["early_stopping"])
            self.meter.load_state_dict(state["meter"])
            self._metrics = state["metrics"]
            if self._setup.precision.scaler is not None and state["scaler"] is not None:
                self._setup.precision.scaler.load_state_dict(state["scaler"])
            restore_random_state(state["random"])
        except KeyError as error:
            raise CheckpointError(f"the checkpoint is not of a training: it has no {error}") from error
        except DEVICE_ERRORS:
            raise
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(f"the checkpoint does not fit the preset: {error}") from error

    def restore_best(self) -> Best | None:
        """Give the model the weights of its best evaluation, and say which; None where there was none.

        Waits until they are on disk. Raises CheckpointError where they cannot be read.
        """
        best = self.early_stopping.best
        if best is None or best.step == self.progress.step:
            return best
        self.flush()
        state = self._saver.read_best()
        ema = self._setup.ema.state_dict() if self._setup.ema else None
        self._trained = to_host({"model": self._setup.model.state_dict(), "ema": ema})
        self._setup.model.load_state_dict(state["model"])
        self._restore_average(state)
        self._metrics = state["metrics"]
        self.progress.revision += 1
        return best

    def _restore_average(self, state: dict[str, Any]) -> None:
        """Of a checkpoint from before there was an average, its weights begin one."""
        if self._setup.ema is not None:
            self._setup.ema.load_state_dict(state["ema"] or {"module": state["model"]})

    def _state(self) -> dict[str, Any]:
        return {
            "model": self._setup.model.state_dict(),
            "optimizer": self._setup.optimizer.state_dict(),
            "learning_rate": self._setup.learning_rate.state_dict(),
            "progress": self.progress.state_dict(),
            "early_stopping": self.early_stopping.state_dict(),
            "meter": self.meter.state_dict(),
            "metrics": self._metrics,
            "random": random_state(),
            "scaler": self._setup.precision.scaler.state_dict() if self._setup.precision.scaler else None,
            "ema": self._setup.ema.state_dict() if self._setup.ema else None,
            "trained": self._trained,
            "preset": self._preset,
            "data": _described(self._setup.data.spec),
            "tied": tied_names(self._setup.model),
            "made_with": environment(self._setup),
        }


def load_weights(model: nn.Module, weights: dict[str, Any]) -> None:
    """Load a checkpoint's weights. Raises CheckpointError that lists what does not fit the model."""
    if differences := compare(model, weights):
        raise CheckpointError(f"the checkpoint does not fit the preset's model: {differences}")
    model.load_state_dict(weights)


def load_optimizer_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Load a checkpoint's state, which may be of a run whose weights lay otherwise in memory."""
    optimizer.load_state_dict(state)
    lay_out_state(optimizer)


def _described(spec: DataSpec) -> dict[str, Any]:
    """What a model's inputs and outputs mean, for those who use it without the data."""
    return {"task": spec.task, "input_shape": list(spec.input_shape), "classes": list(spec.class_names)}


def environment(setup: TrainingSetup) -> dict[str, str]:
    """What must be the same for a resume to be exact to the last bit."""
    device = setup.device
    return {
        "torch": str(torch.__version__),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": str(torch.get_num_threads()),
        "precision": setup.precision.name,
        "compile": str(setup.preset.training.compile).lower(),
    }

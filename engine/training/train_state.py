"""The state of a training: one table of the entries of a checkpoint, each saved and restored."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from torchconsole.engine.components.data.order import RANK, stream_seed
from torchconsole.engine.components.devices import DEVICE_ERRORS
from torchconsole.engine.components.models.state_dict_diff import diff_state_dict, tied_names
from torchconsole.engine.components.optimizers import match_memory_layout
from torchconsole.engine.components.own_state import load, save
from torchconsole.engine.components.shards import Places
from torchconsole.engine.config.loading import dump_preset
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.protocol.info import Metrics
from torchconsole.engine.training.checkpoint_writer import to_host
from torchconsole.engine.training.divergence import DivergenceCheck
from torchconsole.engine.training.frozen_layers import FrozenLayers
from torchconsole.engine.training.meter import LossMeter
from torchconsole.engine.training.progress import Progress
from torchconsole.engine.training.randomness import random_state, restore_random_state, seed_everything
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.stopping import EarlyStopping

log = logging.getLogger(__name__)


class Entry(NamedTuple):
    """One entry of a checkpoint. Without `load` it is only written, for other readers."""

    state_dict: Callable[[], Any]
    load: Callable[[Any], object] | None = None


class UnreadParts(NamedTuple):
    """Sharded tensors in a checkpoint's folder, of which each process reads its own part."""

    folder: str
    places: Places


class TrainState:
    """What changes while a training runs. Each entry is registered once, in the order of restoring."""

    def __init__(self, setup: TrainingSetup) -> None:
        self.progress = Progress()
        self.early_stopping = EarlyStopping(setup.preset.early_stopping)
        self.meter = LossMeter(setup.preset.training.nonfinite == "skip", setup.ranks)
        self.frozen = FrozenLayers(setup)
        self.divergence = DivergenceCheck(setup, self.progress)
        self.metrics: Metrics = {}
        """The metrics of the last scheduled evaluation."""
        self.unread: UnreadParts | None = None
        """What the processes of a sharded training still have to read of the checkpoint they resume from."""
        self._setup = setup
        self._preset = dump_preset(setup.preset)
        self._trained: dict[str, Any] | None = None
        self._random: list[dict[str, Any]] | None = None
        """The states of all processes' random numbers at the last `gather_random`; None if there is one."""
        self._entries = self._register()

    def follow_preset(self, preset: Preset) -> None:
        """Stop early as the preset says from now on, and save it with the state."""
        self.early_stopping.follow(preset.early_stopping)
        self._preset = dump_preset(preset)

    def record_evaluation(self, metrics: Metrics) -> None:
        """Record the metrics of the scheduled evaluation after this step."""
        self.metrics = metrics
        self.progress.evaluated = self.progress.step
        self.progress.revision += 1

    @property
    def optimized(self) -> list[Tensor]:
        """The weights that the optimizer trains, in the order of its state."""
        return [weight for group in self._setup.optimizer.param_groups for weight in group["params"]]

    def gather_random(self) -> None:
        """Take the random states of all processes, for the next `state_dict`."""
        self._random = self._setup.ranks.gather(random_state())

    def state_dict(self) -> dict[str, Any]:
        """Return every entry; the tensors are those of the training itself, on its device."""
        return {name: entry.state_dict() for name, entry in self._entries.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a checkpoint. Raises CheckpointError if it does not fit the model or the preset."""
        # A run that ended with its best weights continues with those it had trained to.
        # Checkpoints of the first versions have no frozen layers.
        state = {"frozen": [], "in_loss": [], "ranks": None} | state | (state.get("trained") or {})
        try:
            load_weights(self._setup.model, state["model"])
            for name, entry in self._entries.items():
                if entry.load is not None:
                    entry.load(state[name])
        except KeyError as error:
            raise CheckpointError(f"the checkpoint is not of a training: no entry {error}") from error
        except DEVICE_ERRORS:
            raise
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(f"the checkpoint does not fit the preset: {error}") from error

    def take_weights(self, state: dict[str, Any]) -> None:
        """Give the model and its average the weights of another checkpoint of this training.

        Later checkpoints also hold the weights that it had until now, so that a resume continues with them.
        """
        ema = self._setup.ema.state_dict() if self._setup.ema else None
        self._trained = to_host({"model": self._setup.model.state_dict(), "ema": ema})
        self._setup.model.load_state_dict(state["model"])
        self._load_average(state["ema"])
        self.metrics = state["metrics"]
        self.progress.revision += 1

    def _register(self) -> dict[str, Entry]:
        setup = self._setup
        # Also for users of the model who do not have the data.
        data = setup.data.record.model_dump() | {"outputs": setup.loss_fn.outputs.form}
        scaler, ema = setup.precision.scaler, setup.ema
        return {
            "model": Entry(setup.model.state_dict),
            "optimizer": Entry(setup.optimizer.state_dict, partial(load_optimizer_state, setup.optimizer)),
            "ema": Entry(ema.state_dict, self._load_average) if ema else _absent(),
            "learning_rate": Entry(setup.learning_rate.state_dict, setup.learning_rate.load_state_dict),
            "progress": Entry(self.progress.state_dict, self.progress.load_state_dict),
            "early_stopping": Entry(self.early_stopping.state_dict, self.early_stopping.load_state_dict),
            "meter": Entry(self.meter.state_dict, self.meter.load_state_dict),
            "metrics": Entry(lambda: self.metrics, self._load_metrics),
            "scaler": Entry(scaler.state_dict, self._load_scaler) if scaler else _absent(),
            "frozen": Entry(self.frozen.state_dict, self.frozen.load_state_dict),
            "in_loss": Entry(self.frozen.in_loss, self.frozen.load_in_loss),
            "user_state": Entry(self._user_state, self._load_user_state),
            "random": Entry(random_state, restore_random_state),
            **({} if setup.ranks.is_alone else {"ranks": Entry(lambda: self._random, self._load_random)}),
            "trained": Entry(lambda: self._trained),
            "preset": Entry(lambda: self._preset),
            "data": Entry(lambda: data),
            "tied": Entry(lambda: tied_names(setup.model)),
            "made_with": Entry(lambda: environment(setup)),
        }

    def _load_average(self, saved: dict[str, Any] | None) -> None:
        """Start an average from the weights, which are loaded by now, if the checkpoint has none."""
        if self._setup.ema is not None:
            self._setup.ema.load_state_dict(saved or {"module": self._setup.model.state_dict()})

    def _load_scaler(self, saved: dict[str, Any] | None) -> None:
        """Load the scaler, which a checkpoint of a training in another precision does not have."""
        if self._setup.precision.scaler is not None and saved is not None:
            self._setup.precision.scaler.load_state_dict(saved)

    def _user_state(self) -> list[dict[str, Any]]:
        """Return the state that user code keeps outside of weights and buffers."""
        setup = self._setup
        return save(setup.state_roots, lambda member: member.path in setup.changing)

    def _load_user_state(self, saved: list[dict[str, Any]]) -> None:
        setup = self._setup
        if missing := load(setup.state_roots, saved, setup.device):
            log.warning("not bit-exact, the checkpoint's state cannot be restored: %s", ", ".join(missing))

    def _load_random(self, saved: list[dict[str, Any]] | None) -> None:
        """Load this process's random state; from a checkpoint of another number, start new random numbers."""
        ranks, seed = self._setup.ranks, self._setup.preset.training.seed
        self._random = saved if saved is not None and len(saved) == ranks.size else None
        if self._random is not None:
            restore_random_state(self._random[ranks.rank])
        elif not ranks.leads:
            seed_everything(stream_seed(seed, ranks.rank, RANK))

    def _load_metrics(self, saved: Metrics) -> None:
        self.metrics = saved


def _absent() -> Entry:
    """Return the entry of something that this training does not use."""
    return Entry(lambda: None)


def load_weights(model: nn.Module, weights: dict[str, Any]) -> None:
    """Load a checkpoint's weights. Raises CheckpointError that lists the differences from the model."""
    if diff := diff_state_dict(model, weights):
        raise CheckpointError(f"the checkpoint does not match the preset's model: {diff}")
    model.load_state_dict(weights)


def load_optimizer_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Load a checkpoint's state, which may come from a run with another memory format of the weights."""
    optimizer.state.clear()  # the device need not hold this and the new one at once
    optimizer.load_state_dict(state)
    match_memory_layout(optimizer)


def environment(setup: TrainingSetup) -> dict[str, str]:
    """Return what must be the same for a resume to be exact to the last bit."""
    device = setup.device
    return {
        "torch": str(torch.__version__),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": str(torch.get_num_threads()),
        "precision": setup.precision.name,
        "processes": str(setup.ranks.size),
        "compile": str(setup.preset.training.compile).lower(),
    }

"""The state of a program's own loop: what it keeps, where it is in its data, and all random numbers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader

from torchconsole.engine.components.object_walk import Member
from torchconsole.engine.components.own_state import load, pieces, save
from torchconsole.engine.components.torch_compat import has_begun_to_persist
from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.library.kept_objects import KeptObjects
from torchconsole.engine.library.program_lr import ProgramLr
from torchconsole.engine.protocol.info import Metrics
from torchconsole.engine.training.progress import Progress
from torchconsole.engine.training.randomness import random_state, restore_random_state
from torchconsole.engine.training.stopping import EarlyStopping

log = logging.getLogger(__name__)

MOST_ITEMS = 100
"""Items of a collection in which generators are searched: a list of files is data."""

CPU = torch.device("cpu")


@dataclass
class Position:
    """Where a program is: in its `loop`th loop over epochs, in the `passed`th loop over batches of an epoch.

    All count from 0; `batch` batches of that pass are done. Earlier loops had `before` epochs. `is_between`:
    no pass of the epoch has begun. `by_boundary`: the program has no such loops, and ends its steps itself.
    """

    loop: int = 0
    before: int = 0
    epoch: int = 0
    passed: int = 0
    batch: int = 0
    is_between: bool = True
    by_boundary: bool = False

    def begin_loop(self, number: int, before: int) -> None:
        """A loop over epochs begins."""
        self.loop, self.before = number, before
        self.begin_epoch(0)

    def begin_pass(self, number: int) -> None:
        """A loop over batches begins."""
        self.passed, self.batch, self.is_between = number, 0, False

    def begin_epoch(self, number: int) -> None:
        """An epoch begins, or the one before has ended."""
        self.epoch, self.passed, self.batch, self.is_between = number, 0, 0, True


class KeptState:
    """What a checkpoint of a program's own loop has. Satisfies `checkpoint_manager.SavedState`."""

    def __init__(self, progress: Progress, early_stopping: EarlyStopping, learning_rate: ProgramLr) -> None:
        self.progress = progress
        self.early_stopping = early_stopping
        self.metrics: Metrics = {}
        self.kept = KeptObjects({})
        self.position = Position()
        self.others: list[dict[str, Any]] | None = None
        """What `own_state` returns in the other processes at the same step, for the next checkpoint."""
        self.accumulates: set[str] = set()
        """Optimizers that have not stepped in the last step: their gradients are part of the state."""
        self._learning_rate = learning_rate
        self._sources: dict[str, dict[str, Any]] = {}
        """By the number of each pass in its epoch, where the random numbers of its data come from."""
        self._waiting: dict[str, list[dict[str, Any]]] = {}
        """What the checkpoint has of passes that have not begun since."""
        self._before_pass: dict[str, Any] | None = None
        self._pass_start: dict[str, Any] | None = None
        self._at_first: dict[str, dict[str, Any]] = {}

    def note_before_pass(self) -> None:
        """Note the random numbers from which the program gets ready for its next pass over the data.

        What it makes there, such as `enumerate(loader)`, may draw the order of the data.
        """
        self._before_pass = self._data_randomness()

    def restore_before_pass(self, state: Mapping[str, Any]) -> None:
        """Restore what `note_before_pass` noted of the interrupted pass."""
        self._before_pass = state["before_pass"]
        if self._before_pass is not None:
            self._restore(self._before_pass)

    def begin_pass(self, batches: object) -> None:
        """Note the random numbers from which a pass over the data begins. Call it before `iter(batches)`."""
        self._use(batches)
        self._pass_start = {
            **self._data_randomness(),
            "workers_persist": has_begun_to_persist(_loader(batches)),
        }

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Leave all random numbers, and the mode of the models, as they are now."""
        before = self._randomness()
        modes = [
            (module, module.training) for model in self.kept.models.values() for module in model.modules()
        ]
        try:
            yield
        finally:
            self._restore(before)
            for module, mode in modes:
                module.training = mode

    def end_pass(self) -> None:
        """Forget the pass: the next state is one between two passes."""
        self._pass_start = None

    def state_dict(self) -> dict[str, Any]:
        """Return a checkpoint. Raises RunError for what cannot be saved."""
        return {
            **self.kept.state_dict(),
            "gradients": self.kept.gradients(self.accumulates),
            "progress": self.progress.state_dict(),
            "early_stopping": self.early_stopping.state_dict(),
            "metrics": dict(self.metrics),
            "learning_rate": self._learning_rate.state_dict(),
            "position": list(astuple(self.position)),
            "before_pass": self._before_pass,
            "pass_start": self._pass_start,
            **self._randomness(),
            "made_with": environment(),
            **({} if self.others is None else {"other_processes": self.others}),
        }

    def own_state(self) -> dict[str, Any]:
        """Return what may differ between processes that train replicas of the same models together."""
        return {
            "others": self.kept.state_dict()["others"],
            "gradients": self.kept.gradients(self.accumulates),
            "buffers": self.kept.buffers(),
            "before_pass": self._before_pass,
            "pass_start": self._pass_start,
            **self._randomness(),
        }

    def own_randomness(self) -> dict[str, Any]:
        """Return this part of a checkpoint as it is at the begin of a process."""
        return {"before_pass": None, "pass_start": None, **self._randomness()}

    def load_counters(self, state: Mapping[str, Any]) -> None:
        """Restore what needs no objects of the program. Raises CheckpointError."""
        try:
            self.progress.load_state_dict(state["progress"])
            self._load_early_stopping(state["early_stopping"])
            self.metrics = state["metrics"]
            self._learning_rate.load_state_dict(state["learning_rate"])
            self.position = Position(*state["position"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise CheckpointError(
                f"the checkpoint is not of a program that uses torchconsole.run: {error}"
            ) from error

    def _load_early_stopping(self, state: dict[str, Any]) -> None:
        monitor, best = self.early_stopping.config.monitor, state["best"]
        if best and best["metric"] != monitor:
            log.warning(
                "the program monitors %s now, not %s: the search for the best begins anew",
                monitor,
                best["metric"],
            )
        else:
            self.early_stopping.load_state_dict(state)

    def begin_pass_again(self, state: Mapping[str, Any], batches: object) -> None:
        """Restore the random numbers from which the interrupted pass began."""
        self._use(batches)
        self._pass_start = state["pass_start"]
        if self._pass_start is None:
            return
        loader = _loader(batches)
        if self._pass_start["workers_persist"] and isinstance(loader, DataLoader):
            iter(loader)  # starts the workers: what comes next only resets them, as it did then
        self._restore(self._pass_start)

    def continue_from(self, state: Mapping[str, Any]) -> None:
        """Restore everything, at the point of the loop where the checkpoint was taken."""
        self.kept.load_state_dict(state)
        self.kept.restore_gradients(state["gradients"])
        self.kept.restore_buffers(state.get("buffers", {}))
        if self.position.batch or self.position.is_between:
            self._restore(state)  # else they are those after the begin of the pass

    def _randomness(self) -> dict[str, Any]:
        """Return the state of all generators: those of the process, of the data and of the models."""
        inside = save(self.kept.models, most_items=MOST_ITEMS)
        return {**self._data_randomness(), "inside_models": inside}

    def _data_randomness(self) -> dict[str, Any]:
        """Return the state of all generators but those in the models, which take long to find."""
        sources = {name: self._saved(name, roots) for name, roots in self._sources.items()}
        return {
            "random": random_state(),
            "sources": self._waiting | sources,
            "generators": self.kept.generators(),
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        for name, entries in state["sources"].items():
            if name in self._sources:
                load(self._sources[name], entries, CPU, MOST_ITEMS)
            else:
                self._waiting[name] = entries
        if inside := state.get("inside_models"):
            load(self.kept.models, inside, CPU, MOST_ITEMS)
        self.kept.restore_generators(state["generators"])
        restore_random_state(state["random"])

    def _use(self, batches: object) -> None:
        """Look for the sources of the batches of a pass, and note its counters before any has changed."""
        name, sources = str(self.position.passed), {"data": _sources(batches)}
        self._sources[name] = sources
        if name not in self._at_first:
            found = pieces(sources, _is_counter, MOST_ITEMS)
            self._at_first[name] = {
                piece.member.path: piece.member.value for piece in found if piece.kind == "value"
            }
        load(sources, self._waiting.pop(name, []), CPU, MOST_ITEMS)

    def _saved(self, name: str, sources: dict[str, Any]) -> list[dict[str, Any]]:
        at_first = self._at_first[name]

        def has_changed(member: Member) -> bool:
            """Whether this is a counter: a number that this training has changed, and no setting."""
            return _is_counter(member) and at_first.get(member.path) != member.value

        return save(sources, has_changed, MOST_ITEMS)


def _is_counter(member: Member) -> bool:
    """Whether this is a number in the data."""
    return type(member.value) in (int, float, bool) and member.path.startswith("data[")


def _loader(batches: object) -> object:
    """Return the loader of these batches, also in a progress bar of tqdm."""
    return getattr(batches, "iterable", batches)


def _sources(batches: object) -> dict[str, Any]:
    """Return where the random numbers of a data loader may come from."""
    names = ("dataset", "sampler", "batch_sampler", "collate_fn", "generator")
    found = {name: getattr(_loader(batches), name, None) for name in names}
    return {"batches": batches, **{name: value for name, value in found.items() if value is not None}}


def environment() -> dict[str, str]:
    """Return what must be the same for a resume to be exact to the last bit."""
    return {"torch": str(torch.__version__), "threads": str(torch.get_num_threads())}

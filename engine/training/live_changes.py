"""Changes keys of the preset of a run that trains, and has everything that has read them follow."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from torchconsole.engine.config.live_policy import change_live
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import CommandRejectedError, PresetError
from torchconsole.engine.protocol.events import EarlyStoppingUpdated
from torchconsole.engine.training.command_handler import Outcome
from torchconsole.engine.training.resolve import ResolvedPreset, usual_log_every
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.train_state import TrainState

log = logging.getLogger(__name__)


class Follower(Protocol):
    """Something that has read keys of the preset that may change in a live run."""

    def follow_preset(self, preset: Preset) -> None:
        """Take these keys from another preset from now on."""


class LivePreset:
    """The preset of a run that trains: `setup.preset`, which is replaced whenever a key changes.

    What reads the preset each time needs no more; `followers` have read it before.
    """

    def __init__(
        self, setup: TrainingSetup, state: TrainState, followers: Callable[[], Sequence[Follower]]
    ) -> None:
        self._setup = setup
        self._state = state
        self._followers = followers
        self._loading = setup.preset.data
        """How the samples of this epoch are loaded."""

    def change(self, setting: str) -> Outcome:
        """Apply `key=value`. Raises CommandRejectedError and then changes nothing."""
        setup = self._setup
        try:
            change = change_live(setup.preset, setting, self._decide)
        except PresetError as error:
            raise CommandRejectedError("; ".join(str(error).splitlines())) from error
        if change.preset.data != setup.preset.data:
            self._check_loading(change.preset)
        setup.settings_changed += 1
        setup.preset = ResolvedPreset(change.preset)
        for follower in (self._state, *self._followers()):
            follower.follow_preset(change.preset)
        stopping = self._state.early_stopping
        shown = stopping.stops and change.place.startswith("early_stopping")
        event = EarlyStoppingUpdated(step=self._state.progress.step, early_stopping=stopping.info())
        result = {"key": change.place, "before": change.before, "after": change.after}
        return Outcome(change.detail, result, event if shown else None)

    def begin_epoch(self) -> None:
        """Load samples as the preset says now. Only between two epochs: the workers so far end."""
        data = self._setup.preset.data
        if data != self._loading and self._setup.data.one_by_one is not None:
            self._setup.data.one_by_one.follow(data)
        self._loading = data

    def _decide(self, preset: Preset) -> Preset:
        """Fill in what a start decides. Raises PresetError for what cannot be decided later."""
        training, data, stopping = preset.training, preset.data, preset.early_stopping
        if data.num_workers == "auto":
            raise PresetError("data.num_workers: auto is decided at the start of a run; give a number")
        if training.log_every is None:
            log_every = usual_log_every(self._setup.steps_per_epoch)
            training = training.model_copy(update={"log_every": log_every})
        if stopping is not None and stopping.mode is None and stopping.monitor == "val/loss":
            stopping = stopping.model_copy(update={"mode": "min"})
        return preset.model_copy(update={"training": training, "early_stopping": stopping})

    def _check_loading(self, preset: Preset) -> None:
        """Warn, as a start does, of workers that may do harm. Raises CommandRejectedError without any use."""
        one_by_one = self._setup.data.one_by_one
        if one_by_one is None:
            raise CommandRejectedError("all samples are held in memory (data.in_memory): nothing loads them")
        if self._setup.ranks.leads:
            for warning in one_by_one.warnings(int(preset.data.num_workers)):
                log.warning("data: %s", warning)

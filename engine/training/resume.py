"""Restores a run from its newest checkpoint, and reports what has changed since then."""

from __future__ import annotations

import logging
import tomllib
import uuid
from pathlib import Path
from typing import Any

from torchconsole.engine.components.shards import SHARDS, everything
from torchconsole.engine.config.loading import validate
from torchconsole.engine.config.resume_policy import Changes, differences
from torchconsole.engine.errors import PresetError
from torchconsole.engine.protocol.commands import ChangePreset
from torchconsole.engine.protocol.events import CommandApplied, EarlyStoppingUpdated, RunResumed
from torchconsole.engine.run.checkpoints import folder_name, list_checkpoints
from torchconsole.engine.training.checkpoint import newest_valid, relink
from torchconsole.engine.training.event_sink import EventSink
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.train_state import TrainState, UnreadParts, environment

LENGTHS = {"training.epochs", "training.max_steps"}

log = logging.getLogger(__name__)


def resume_training(setup: TrainingSetup, state: TrainState, checkpoints: Path, events: EventSink) -> None:
    """Restore the newest intact checkpoint; do nothing if the run ended before its first checkpoint.

    Raises CheckpointError if none of the checkpoints is intact, if their folder is gone, and if the
    checkpoint does not fit the preset.
    """
    if checkpoints.is_dir() and not list_checkpoints(checkpoints):
        events.emit(RunResumed(step=0, epoch=0, checkpoint="the start"))
        log.info("starting from the beginning: the run ended before its first checkpoint")
        return
    # The state of an optimizer has twice the size of the weights, and no process needs all of it.
    folder, saved, problems = newest_valid(checkpoints, _is_not_parted if setup.shards else everything)
    for problem in problems:
        log.warning("skipped a damaged checkpoint: %s", problem)
    state.load_state_dict(saved)
    if setup.shards:
        places = {name: keys for name, keys in saved.get(SHARDS, {}).items() if not _is_not_parted(keys)}
        state.unread = UnreadParts(str(folder), places)
    progress, best = state.progress, state.early_stopping.best
    relink(checkpoints, folder, checkpoints / folder_name(best.step) if best else folder)
    log.info("resumed from %s on %s", folder.name, setup.device)
    events.emit(RunResumed(step=progress.step, epoch=progress.epoch, checkpoint=folder.name, best=best))
    if state.early_stopping.stops:
        events.emit(EarlyStoppingUpdated(step=progress.step, early_stopping=state.early_stopping.info()))
    if changes := preset_changes(saved["preset"], setup):
        events.emit(changes_applied(changes, progress.step))
    if changes.keys() & LENGTHS:
        _log_new_length(setup, saved, progress.step)
    _log_inexactness(setup, saved["made_with"])


def _is_not_parted(keys: list[str | int]) -> bool:
    return keys[0] != "optimizer"


def preset_changes(before: str, setup: TrainingSetup) -> Changes:
    """Return what has changed in the preset since the checkpoint was taken."""
    try:
        return differences(validate(tomllib.loads(before), "the checkpoint's preset"), setup.preset)
    except PresetError as error:
        log.warning("cannot tell what has changed since the checkpoint: %s", error)
        return {}


def changes_applied(changes: Changes, step: int, by: str = "resume") -> CommandApplied:
    """Return the event for the journal."""
    shown = [f"{key} {_shown(before)} -> {_shown(after)}" for key, (before, after) in changes.items()]
    return CommandApplied(
        id=uuid.uuid4().hex,
        command=ChangePreset(changes=changes),
        step=step,
        by=by,
        detail=", ".join(shown),
    )


def _shown(value: Any) -> str:
    return "unset" if value is None else str(value)


def _log_new_length(setup: TrainingSetup, state: dict[str, Any], step: int) -> None:
    before = state["optimizer"]["param_groups"][0]["lr"]
    after = setup.learning_rate.current
    lr = f"{before:.4g}" if before == after else f"{before:.4g} -> {after:.4g}"
    log.info(
        "the run is now %s steps long: %s; lr at step %s: %s",
        f"{setup.total_steps:,}",
        setup.learning_rate.describe_length_change(),
        f"{step:,}",
        lr,
    )


def _log_inexactness(setup: TrainingSetup, made_with: dict[str, str]) -> None:
    """Log, in one line each, why the losses will differ from those of a run that was never stopped."""
    if setup.device.type != "cpu" and not setup.preset.training.deterministic:
        log.info(
            "not bit-exact: %s sums in no fixed order (training.deterministic = true)",
            setup.device,
        )
    found = [
        f"{name} {made_with[name]} -> {now}"
        for name, now in environment(setup).items()
        if made_with.get(name, now) != now
    ]
    if found:
        log.warning("not bit-exact, changed since the checkpoint: %s", ", ".join(found))

"""Puts a run back where a checkpoint was taken, and says what is not as it was then."""

from __future__ import annotations

import logging
import tomllib
import uuid
from pathlib import Path
from typing import Any

from torchconsole.engine.components.models.weights import is_file_name
from torchconsole.engine.components.optimizers import can_choose_fused
from torchconsole.engine.config.loading import validate
from torchconsole.engine.config.resume_policy import Changes, differences
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import PresetError
from torchconsole.engine.protocol.commands import ChangePreset
from torchconsole.engine.protocol.events import CommandApplied, EarlyStoppingUpdated, RunResumed
from torchconsole.engine.run.manifest import folder_name, list_checkpoints
from torchconsole.engine.training.retention import newest_valid, relink
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.train_state import TrainState, environment
from torchconsole.engine.training.trainer import EventSink

LENGTHS = {"training.epochs", "training.max_steps"}

log = logging.getLogger(__name__)


def resume_training(setup: TrainingSetup, state: TrainState, checkpoints: Path, events: EventSink) -> None:
    """Restore the newest valid checkpoint; from the start where the run ended before there was one.

    Raises CheckpointError where there are some and none is valid, where their folder is gone, and for one
    that does not fit.
    """
    if checkpoints.is_dir() and not list_checkpoints(checkpoints):
        events.emit(RunResumed(step=0, epoch=0, checkpoint="the start"))
        log.info("starts again: it ended before its first checkpoint")
        return
    folder, saved, problems = newest_valid(checkpoints)
    for problem in problems:
        log.warning("passed over: %s", problem)
    state.load_state_dict(saved)
    progress, best = state.progress, state.early_stopping.best
    relink(checkpoints, folder, checkpoints / folder_name(best.step) if best else folder)
    log.info("resumed from %s on %s", folder.name, setup.device)
    events.emit(RunResumed(step=progress.step, epoch=progress.epoch, checkpoint=folder.name, best=best))
    if state.early_stopping.stops:
        events.emit(EarlyStoppingUpdated(step=progress.step, early_stopping=state.early_stopping.info()))
    if changes := _changes(saved["preset"], setup):
        events.emit(_applied(changes, progress.step))
    if changes.keys() & LENGTHS:
        _log_new_length(setup, saved, progress.step)
    _log_inexactness(setup, saved["made_with"])


def as_saved(preset: Preset) -> Preset:
    """The preset as a checkpoint's state needs it.

    The file that the weights came from may be gone by now, and where the run's record says nothing of a fused
    optimizer, it was trained without.
    """
    preset = _without_weight_file(preset)
    if not can_choose_fused(preset.optimizer):
        return preset
    return preset.model_copy(update={"optimizer": preset.optimizer.model_copy(update={"fused": None})})


def _without_weight_file(preset: Preset) -> Preset:
    weights = preset.model.weights
    if weights is None or not is_file_name(weights):
        return preset
    return preset.model_copy(
        update={"model": preset.model.model_copy(update={"weights": None, "rename": {}})}
    )


def _changes(before: str, setup: TrainingSetup) -> Changes:
    """What is different in the preset since the checkpoint was taken."""
    try:
        return differences(validate(tomllib.loads(before), "the checkpoint's preset"), setup.preset)
    except PresetError as error:
        log.warning("what has changed since the checkpoint is not known: %s", error)
        return {}


def _applied(changes: Changes, step: int) -> CommandApplied:
    """The line for the journal."""
    shown = [f"{key} {_shown(before)} -> {_shown(after)}" for key, (before, after) in changes.items()]
    return CommandApplied(
        id=uuid.uuid4().hex,
        command=ChangePreset(changes=changes),
        step=step,
        by="resume",
        detail=", ".join(shown),
    )


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value)


def _log_new_length(setup: TrainingSetup, state: dict[str, Any], step: int) -> None:
    before = state["optimizer"]["param_groups"][0]["lr"]
    after = setup.learning_rate.current
    lr = f"{before:.4g}" if before == after else f"{before:.4g} -> {after:.4g}"
    log.info(
        "the run is now %s steps long: %s; lr at step %s: %s",
        f"{setup.total_steps:,}",
        setup.learning_rate.on_new_length(),
        f"{step:,}",
        lr,
    )


def _log_inexactness(setup: TrainingSetup, made_with: dict[str, str]) -> None:
    """In one line, where the same numbers cannot be had."""
    if setup.device.type != "cpu" and not setup.preset.training.deterministic:
        log.info("not bit-exact: %s adds in no fixed order (training.deterministic = true)", setup.device)
    found = [
        f"{name} {made_with[name]} -> {now}"
        for name, now in environment(setup).items()
        if made_with.get(name, now) != now
    ]
    if found:
        log.warning("not bit-exact, since the checkpoint: %s", ", ".join(found))

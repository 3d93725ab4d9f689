"""Takes a live training back to one of its checkpoints, between two steps.

The checkpoint is read and checked before anything changes, and the present state is put back if it does not
fit. Then the later checkpoints are removed, newest first: whenever the process is killed, a resume continues
from a checkpoint that the training has passed on its present way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torchconsole.engine.components.devices import DEVICE_ERRORS
from torchconsole.engine.errors import CheckpointError, CommandRejectedError
from torchconsole.engine.files import exists
from torchconsole.engine.protocol.events import EarlyStoppingUpdated, Event, RunResumed
from torchconsole.engine.run.checkpoints import folder_name
from torchconsole.engine.text import first_line, os_error_summary
from torchconsole.engine.training.checkpoint_manager import CheckpointManager
from torchconsole.engine.training.checkpoint_writer import to_host
from torchconsole.engine.training.command_handler import Outcome
from torchconsole.engine.training.learning_rate import LearningRate
from torchconsole.engine.training.resume import changes_applied, preset_changes
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.stopping import Limits
from torchconsole.engine.training.train_state import TrainState

log = logging.getLogger(__name__)


def roll_back(
    setup: TrainingSetup,
    state: TrainState,
    checkpoints: CheckpointManager,
    emit: Callable[[Event], None],
    name: str | None,
) -> Outcome:
    """Restore the checkpoint that `RollBack` names, and report it. All processes must call this.

    Raises CommandRejectedError, and then nothing has changed in any process.
    """
    progress = state.progress
    left = progress.step
    try:
        folder, saved = checkpoints.read(name)
    except CheckpointError as error:
        raise CommandRejectedError(str(error)) from error
    kept = _replace_state(setup, state, checkpoints, folder, saved)
    state.divergence.restart()
    best = state.early_stopping.best
    emit(
        RunResumed(
            step=progress.step,
            epoch=progress.epoch,
            checkpoint=folder.name,
            best=best,
            active_seconds=progress.active_seconds,
            rolled_back_from=left,
        )
    )
    if state.early_stopping.stops:
        emit(EarlyStoppingUpdated(step=progress.step, early_stopping=state.early_stopping.info()))
    reported = {step: each for step, each in checkpoints.reported.items() if step <= progress.step}
    changes = preset_changes(saved["preset"], setup)
    if changes and changes != reported.get(progress.step):  # the journal keeps the lines up to this step
        emit(changes_applied(changes, progress.step, by="rollback"))
    checkpoints.reported = {**reported, progress.step: changes}
    if best and setup.ranks.leads and not exists(checkpoints.folder / folder_name(best.step)):
        log.warning(
            "the checkpoint of the best evaluation so far, step %s, is no longer there", f"{best.step:,}"
        )
    outcome = _outcome(setup.learning_rate, folder, left, progress.step, kept)
    # The preset's limits may have been lowered after the checkpoint.
    over = Limits(setup.preset, state.early_stopping, own_clock=False).reached(progress)
    return outcome._replace(detail=f"{outcome.detail}; the run ends here: {over}") if over else outcome


def _replace_state(
    setup: TrainingSetup,
    state: TrainState,
    checkpoints: CheckpointManager,
    folder: Path,
    saved: dict[str, Any],
) -> list[str]:
    """Load a checkpoint and abandon the later ones; return the new names of those that are kept.

    Raises CommandRejectedError, and then the state is in all processes what it was.
    """
    ranks, revision = setup.ranks, state.progress.revision
    state.meter.collect()
    state.gather_random()
    before = to_host(state.state_dict())
    kept: list[str] = []
    problem = ""
    try:
        state.load_state_dict(saved)
    except CheckpointError as error:
        problem = str(error)
    except DEVICE_ERRORS as error:
        problem = f"the checkpoint cannot be loaded: {first_line(error)}"
    problem = next(filter(None, ranks.gather(problem)), "")
    # No checkpoint that is saved from now on may be taken for one that was saved before.
    state.progress.revision = revision + 1
    if not problem:
        try:
            kept = checkpoints.roll_back(folder)
        except OSError as error:
            problem = f"the later checkpoints cannot be removed: {os_error_summary(error)}"
        problem = ranks.of_leader(problem)
    if problem:
        state.load_state_dict(before)
        raise CommandRejectedError(problem)
    return kept


def _outcome(rate: LearningRate, folder: Path, left: int, step: int, kept: list[str]) -> Outcome:
    held = " (held)" if rate.held is not None else ""
    also = f"; kept: {', '.join(kept)}" if kept else ""
    return Outcome(
        f"back at step {step:,} from step {left:,}, lr {rate.current:.4g}{held}{also}",
        {
            "checkpoint": folder.name,
            "from": left,
            "kept": kept,
            "lr": rate.current,
            "scale": rate.scale,
            "held": rate.held,
        },
    )

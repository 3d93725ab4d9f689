"""The half of the worker that needs torch: from a preset to a trainer that is ready to run."""

from __future__ import annotations

import logging

import torch

from torchconsole.engine.analysis.summary import summarize
from torchconsole.engine.components.devices import choose_device, describe_device
from torchconsole.engine.config.loading import dump_preset
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.files import write_atomically
from torchconsole.engine.protocol.events import (
    DeviceDescribed,
    ModelSummarized,
    PhaseChanged,
)
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.manifest import list_checkpoints
from torchconsole.engine.session.event_queue import EventQueue
from torchconsole.engine.training.checkpoint import clean_leftovers
from torchconsole.engine.training.checkpoint_manager import CheckpointManager
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter
from torchconsole.engine.training.command_handler import answer_saves
from torchconsole.engine.training.command_queue import CommandQueue
from torchconsole.engine.training.compiling import complaint_of_compiled
from torchconsole.engine.training.dry_run import dry_run, first_batch
from torchconsole.engine.training.failures import named_failures
from torchconsole.engine.training.layout import settle_layout
from torchconsole.engine.training.resume import as_saved, resume_training
from torchconsole.engine.training.setup import TrainingSetup, build_setup
from torchconsole.engine.training.threads import choose_threads
from torchconsole.engine.training.train_state import TrainState
from torchconsole.engine.training.trainer import Trainer

log = logging.getLogger(__name__)


@named_failures()
def prepare(
    preset: Preset, folder: RunFolder, commands: CommandQueue, event_queue: EventQueue, *, resume: bool
) -> Trainer:
    """Build all that `preset` names, ready to run; from the newest valid checkpoint where `resume` says so.

    Raises TorchconsoleError for what the user can mend: the preset, the data, the device, the checkpoint.
    """
    checkpoints = folder.checkpoints
    if preset.training.threads != "auto":
        torch.set_num_threads(preset.training.threads)
    device = choose_device(preset.training.device)
    event_queue.emit(DeviceDescribed(device=describe_device(device)))
    to_build = as_saved(preset) if resume and list_checkpoints(checkpoints) else preset
    setup = build_setup(to_build, device, event_queue.emit)
    setup.preset = setup.preset.model_copy(update={"model": preset.model})
    for note in setup.data.notes:
        log.info(note)
    event_queue.emit(ModelSummarized(summary=summarize(setup.model, setup.data.spec.input_shape)))
    event_queue.emit(PhaseChanged(phase="compiling" if preset.training.compile else "dry run"))
    batch = first_batch(setup)
    dry_run(setup, batch)
    settle_layout(setup, batch)
    if complaint := complaint_of_compiled(setup, batch):
        log.warning(complaint)
    if preset.training.threads == "auto" and (found := choose_threads(setup, batch)):
        log.info(found)
        event_queue.emit(DeviceDescribed(device=describe_device(device)))
    _settle(setup)
    clean_leftovers(checkpoints)
    writer = AsyncCheckpointWriter(
        checkpoints,
        preset.checkpoint.keep,
        event_queue.emit,
        event_queue.flush,
        answer_saves(event_queue.emit),
    )
    writer.start()
    state = TrainState(setup)
    if resume:
        resume_training(setup, state, checkpoints, event_queue)
    # Only now is the preset known to fit: a resume that is refused leaves the run as it was.
    write_atomically(folder.preset_file, dump_preset(setup.preset).encode())
    folder.wanted_preset_file.unlink(missing_ok=True)
    return Trainer(setup, state, CheckpointManager(setup, state, writer), commands, event_queue)


def _settle(setup: TrainingSetup) -> None:
    """Put what was left to the engine into the preset, so that a resume of the run does as this start did."""
    preset = setup.preset
    decided = {
        "threads": torch.get_num_threads(),
        "log_every": setup.log_every,
        "precision": setup.precision.name,
    }
    training = preset.training.model_copy(update=decided)
    data = preset.data.model_copy(update={"in_memory": setup.data.in_memory})
    setup.preset = preset.model_copy(update={"training": training, "data": data})

"""The half of the worker that needs torch: from a preset to a trainer that is ready to run."""

from __future__ import annotations

import logging

import torch

from torchconsole.engine.analysis.summary import summarize
from torchconsole.engine.components.devices import choose_device, describe_device
from torchconsole.engine.config.loading import dump_preset
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.files import write_atomically
from torchconsole.engine.manifest import list_checkpoints
from torchconsole.engine.protocol.events import (
    DeviceDescribed,
    ModelSummarized,
    PhaseChanged,
)
from torchconsole.engine.runtime.outbox import Outbox
from torchconsole.engine.runtime.run_folder import RunFolder
from torchconsole.engine.training.checkpoint import clean_leftovers
from torchconsole.engine.training.compiling import complaint_of_compiled
from torchconsole.engine.training.control import CommandQueue
from torchconsole.engine.training.failures import named_failures
from torchconsole.engine.training.keeper import StateKeeper
from torchconsole.engine.training.layout import settle_layout
from torchconsole.engine.training.rehearsal import first_batch, rehearse
from torchconsole.engine.training.resuming import as_saved, go_on
from torchconsole.engine.training.saver import CheckpointSaver
from torchconsole.engine.training.task import Task, build_task
from torchconsole.engine.training.threads import choose_threads
from torchconsole.engine.training.trainer import Trainer

log = logging.getLogger(__name__)


@named_failures()
def prepare(
    preset: Preset, folder: RunFolder, commands: CommandQueue, outbox: Outbox, *, resume: bool
) -> Trainer:
    """Build all that `preset` names, ready to run; from the newest valid checkpoint where `resume` says so.

    Raises TorchconsoleError for what the user can mend: the preset, the data, the device, the checkpoint.
    """
    checkpoints = folder.checkpoints
    if preset.training.threads != "auto":
        torch.set_num_threads(preset.training.threads)
    device = choose_device(preset.training.device)
    outbox.emit(DeviceDescribed(device=describe_device(device)))
    to_build = as_saved(preset) if resume and list_checkpoints(checkpoints) else preset
    task = build_task(to_build, device, lambda phase: outbox.emit(PhaseChanged(phase=phase)))
    task.preset = task.preset.model_copy(update={"model": preset.model})
    for note in task.data.notes:
        log.info(note)
    outbox.emit(ModelSummarized(summary=summarize(task.model, task.data.spec.input_shape)))
    outbox.emit(PhaseChanged(phase="compiling" if preset.training.compile else "checking"))
    batch = first_batch(task)
    rehearse(task, batch)
    settle_layout(task, batch)
    if complaint := complaint_of_compiled(task, batch):
        log.warning(complaint)
    if preset.training.threads == "auto" and (found := choose_threads(task, batch)):
        log.info(found)
        outbox.emit(DeviceDescribed(device=describe_device(device)))
    _settle(task)
    clean_leftovers(checkpoints)
    saver = CheckpointSaver(checkpoints, preset.checkpoint.keep, outbox.emit, outbox.settle)
    saver.start()
    keeper = StateKeeper(task, saver)
    if resume:
        go_on(task, keeper, checkpoints, outbox)
    # Only now is the preset known to fit: a resume that is refused leaves the run as it was.
    write_atomically(folder.preset_file, dump_preset(task.preset).encode())
    folder.wanted_preset_file.unlink(missing_ok=True)
    return Trainer(task, keeper, commands, outbox)


def _settle(task: Task) -> None:
    """Put what was left to the engine into the preset, so that a resume of the run does as this start did."""
    preset = task.preset
    decided = {
        "threads": torch.get_num_threads(),
        "log_every": task.log_every,
        "precision": task.precision.name,
    }
    training = preset.training.model_copy(update=decided)
    data = preset.data.model_copy(update={"in_memory": task.data.in_memory})
    task.preset = preset.model_copy(update={"training": training, "data": data})

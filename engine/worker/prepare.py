"""The half of the worker that needs torch: from a preset to a trainer that is ready to run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from torchconsole.engine.analysis.health import HealthMonitor
from torchconsole.engine.analysis.start_check import CheckedSetup, check_parts
from torchconsole.engine.analysis.weight_histograms import HistogramSink
from torchconsole.engine.components.data.input_description import describe_inputs, why_not_described
from torchconsole.engine.components.data.same_data import check_resumable
from torchconsole.engine.components.devices import choose_device, describe_device
from torchconsole.engine.components.ranks import ALONE
from torchconsole.engine.config.loading import dump_preset
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.config.user_code import user_files
from torchconsole.engine.errors import FindingsError, RunError
from torchconsole.engine.files import write_atomically
from torchconsole.engine.protocol.events import DeviceDescribed, ModelSummarized
from torchconsole.engine.protocol.reports import Finding
from torchconsole.engine.run.checkpoints import list_checkpoints
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.session.event_queue import EventQueue
from torchconsole.engine.session.run_place import RunPlace
from torchconsole.engine.session.tracking.trackers import Trackers
from torchconsole.engine.training.checkpoint import clean_leftovers, read_data_record
from torchconsole.engine.training.checkpoint_manager import CheckpointManager
from torchconsole.engine.training.checkpoint_writer import AsyncCheckpointWriter
from torchconsole.engine.training.command_handler import answer_saves
from torchconsole.engine.training.command_queue import CommandQueue
from torchconsole.engine.training.event_sink import EventSink
from torchconsole.engine.training.failures import named_failures
from torchconsole.engine.training.frozen_layers import count_trainable
from torchconsole.engine.training.parts import build_parts
from torchconsole.engine.training.resume import resume_training
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.train_state import TrainState
from torchconsole.engine.training.trainer import Trainer
from torchconsole.engine.worker.leading import by_processes, fit_batch_size, lead

if TYPE_CHECKING:
    from torchconsole.engine.distributed.job import Job

log = logging.getLogger(__name__)


@named_failures()
def prepare(
    preset: Preset,
    place: RunPlace,
    commands: CommandQueue,
    event_queue: EventQueue,
    trackers: Trackers,
    job: Job | None = None,
    *,
    resume: bool,
) -> Trainer:
    """Build what `preset` names, ready to run; from the newest intact checkpoint if `resume` is true.

    With a `job`, this process leads it.

    Raises TorchconsoleError for what the user can fix: the preset, the data, the device, the checkpoint, and
    FindingsError for findings that are errors, unless the run was started with --anyway.
    """
    trackers.open(preset.tracking, place)
    anyway, ranks = place.folder.load_record().anyway, job or ALONE
    saved = list_checkpoints(place.folder.checkpoints) if resume else []
    preset = by_processes(fit_batch_size(preset, saved, ranks.size), ranks)
    checked = _build(preset, event_queue, saved, job)
    folder = place.folder  # it may have been renamed meanwhile
    _report(checked.findings, anyway=anyway)
    setup = checked.setup
    clean_leftovers(folder.checkpoints)
    writer = _writer(folder, preset, event_queue, job)
    writer.start()
    state = TrainState(setup)
    if resume:
        resume_training(setup, state, folder.checkpoints, event_queue)
        if state.frozen.state_dict():
            event_queue.emit(ModelSummarized(summary=count_trainable(checked.summary, setup.model)))
    # Only now is the preset known to fit: a resume that is refused leaves the run as it was.
    _write_preset(place, setup)
    _write_input(place.folder, setup)
    sink: EventSink = event_queue
    if preset.tracking.tensorboard:
        if job is not None and preset.distributed.strategy == "fsdp":
            log.info("TensorBoard gets no histograms: each process has a part of every weight")
        else:
            sink = HistogramSink(event_queue, setup.model, trackers.add)
        if not resume:
            _write_start(place.folder, setup)
    monitor = HealthMonitor(sink, setup, from_start=not resume)
    if job is None:
        return Trainer(setup, state, CheckpointManager(preset.checkpoint, state, writer), commands, monitor)
    from torchconsole.engine.session.rank_reports import LoadMeter, SampledSteps, share_loads

    lead(job, checked, state, folder.path, event_queue.emit)
    channel = job.leader_queue(commands)
    checkpoints = _checkpoints(setup.preset, state, job, writer)
    trainer = Trainer(setup, state, checkpoints, commands, monitor, channel)
    channel.read_clock = trainer.read_clock
    steps = SampledSteps(trainer.phases, setup.effective_batch)
    share_loads(job, LoadMeter(job.rank, setup.device, steps), event_queue.emit)
    return trainer


def _writer(
    folder: RunFolder, preset: Preset, event_queue: EventQueue, job: Job | None
) -> AsyncCheckpointWriter:
    answer = answer_saves(event_queue.emit)
    arguments = folder.checkpoints, preset.checkpoint.keep, event_queue.emit, event_queue.flush, answer
    if job is None or preset.distributed.strategy != "fsdp":
        return AsyncCheckpointWriter(*arguments)
    from torchconsole.engine.distributed.sharded_checkpoints import ShardedWriter

    return ShardedWriter(job, *arguments)


def _checkpoints(
    preset: Preset, state: TrainState, job: Job, writer: AsyncCheckpointWriter
) -> CheckpointManager:
    """Return what all processes take checkpoints with."""
    from torchconsole.engine.distributed.checkpoints import JointCheckpoints
    from torchconsole.engine.distributed.sharded_checkpoints import ShardedCheckpoints, ShardedWriter

    if isinstance(writer, ShardedWriter):
        return ShardedCheckpoints(preset.checkpoint, state, job, writer)
    return JointCheckpoints(preset.checkpoint, state, writer, job)


def _write_preset(place: RunPlace, setup: TrainingSetup) -> None:
    """Replace the run's preset, and again whenever a command has changed it or it is missing.

    Raises RunError.
    """

    def write(folder: RunFolder) -> None:
        write_atomically(folder.preset_file, dump_preset(setup.preset).encode())

    def write_changed(folder: RunFolder, changes: int) -> None:
        preset = setup.preset
        if setup.settings_changed == changes:  # else it has a change that is not in the journal yet
            write_atomically(folder.preset_file, dump_preset(preset).encode())

    def restore(folder: RunFolder) -> None:
        if not folder.preset_file.exists():
            write(folder)

    folder = place.folder
    try:
        write(folder)
        folder.wanted_preset_file.unlink(missing_ok=True)
    except FileNotFoundError:
        log.debug("the preset is written once the run's folder is back")
    except OSError as error:
        raise RunError(f"{folder.preset_file}: cannot be written: {error.strerror}") from error
    place.write_preset = write_changed
    place.follow_with(restore)


def _write_input(folder: RunFolder, setup: TrainingSetup) -> None:
    """Write how inputs are read and prepared; nothing for data of the user's code. Raises RunError."""
    if why_not_described(setup.preset.data):
        return
    described = describe_inputs(setup.preset.data, setup.data.record).model_dump_json(indent=2)
    try:
        write_atomically(folder.input_file, described.encode())
    except FileNotFoundError:
        log.debug("the run's folder is gone; checkpoints have what input.json says")
    except OSError as error:
        raise RunError(f"{folder.input_file}: cannot be written: {error.strerror}") from error


def _write_start(folder: RunFolder, setup: TrainingSetup) -> None:
    """Write what TensorBoard shows of a run besides its values."""
    from torchconsole.engine.session.tracking.tensorboard_start import write_start  # needs its extra

    write_start(folder.tensorboard, setup)


def _build(
    preset: Preset, event_queue: EventQueue, checkpoints: Sequence[Path], job: Job | None
) -> CheckedSetup:
    """Build and check the setup, and report device and model; the run resumes from one of `checkpoints`.

    Raises DataError if the data is not that of the run.
    """
    device = choose_device(preset.training.device)
    if job is not None:
        device = job.device_for(device)
    sources = [file.content for file in user_files(preset.model_dump())]
    event_queue.emit(DeviceDescribed(device=describe_device(device, sources)))
    threads = torch.get_num_threads()
    record = next(filter(None, map(read_data_record, checkpoints)), None)
    parts = build_parts(
        preset,
        device,
        event_queue.emit,
        from_checkpoint=bool(checkpoints),
        record=record,
        ranks=job or ALONE,
    )
    for change in check_resumable(record, parts.data.record) if record else []:
        log.warning("data: %s", change)
    for note in parts.data.notes:
        log.info(note)
    checked = check_parts(parts, event_queue.emit)
    event_queue.emit(ModelSummarized(summary=checked.summary))
    if torch.get_num_threads() != threads:
        # `resolve` or the preset has changed the number of threads that is shown.
        event_queue.emit(DeviceDescribed(device=describe_device(device, sources)))
    return checked


def _report(findings: Sequence[Finding], *, anyway: bool) -> None:
    """Log the findings. Raises FindingsError if there are errors, unless the run starts `anyway`."""
    errors = [finding.line for finding in findings if finding.level == "error"]
    if errors and not anyway:
        raise FindingsError(*errors)
    for finding in findings:
        level = logging.INFO if finding.level == "hint" else logging.WARNING
        log.log(level, "%s", finding.line)

"""Starts workers, each as a process in its own session, which outlives the process that starts it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from torchconsole.engine.client.new_records import (
    count_processes,
    effective_batch,
    new_record,
    origin_of,
)
from torchconsole.engine.client.processes import ONE, Processes, choose_processes
from torchconsole.engine.config.data_location import with_absolute_files
from torchconsole.engine.config.import_path import worker_environment
from torchconsole.engine.config.loading import dump_preset, read_preset, write_preset
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.config.script import Script, write_script
from torchconsole.engine.config.script_presets import with_agreed_content
from torchconsole.engine.errors import PresetError, RunError
from torchconsole.engine.files import open_own, write_atomically
from torchconsole.engine.run.checkpoints import read_manifest
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import (
    HANDLED_SIGNALS,
    WorkerLock,
    exit_reason,
    lock_holder,
    note_launch,
)
from torchconsole.engine.run.membership import JOINS, own_launch
from torchconsole.engine.run.memory_kills import read_counters
from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.run.refusal import RefusalPipe
from torchconsole.engine.run.registry import register
from torchconsole.engine.run.resume_checks import Spent, check_resumable, check_unfinished, inherit
from torchconsole.engine.run.script_runs import refuse_script, script_of
from torchconsole.engine.run.slurm import own_job
from torchconsole.engine.run.trained_batch import trained_batch
from torchconsole.engine.system_limits import explain_limit

KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(1 << 30), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}
"""Default environment: glibc keeps up to 1 GiB of memory freed by a step for the next one (mallopt(3)).

Without it, a convolutional network on the CPU spends up to a tenth of its time in page faults. 32 MiB is the
highest threshold that every glibc accepts.
"""

WORKER = "torchconsole.engine.worker.main"
PARENT = "torchconsole.engine.worker.parent"
"""Runs a worker and the other processes that train with it."""

RELAY = "torchconsole.engine.worker.relay"
"""Runs a worker on a terminal of its own, for a program of the user's own."""

ENDING_SECONDS = 10.0


@dataclass(frozen=True)
class Before:
    """The state of a run before it was resumed. A resume that starts training adds to the metrics file."""

    record: RunRecord
    metrics_bytes: int


@dataclass
class StartedRun:
    """A run with the process that was started for it."""

    folder: RunFolder
    process: subprocess.Popen[bytes]
    before: Before | None = None
    """None for a new run."""
    pipe: RefusalPipe | None = None
    """Receives the reason if the worker refuses a new run."""
    can_start_anyway: bool = False
    """Whether only findings refused the start, so that `anyway` overrules them; known after `refusal`."""
    note: str = ""
    """What the user should know about how it was started; empty if nothing."""
    _reason: str | None = None

    def refusal(self) -> str | None:
        """Return why the worker refused to start because of the user's mistake; None if it did not.

        A new run has been removed by its worker then. A resumed run gets back the record that it had before.
        Waits for the end of a worker that refuses. Raises RunError if the run cannot be read, OSError if its
        record cannot be written.
        """
        if self._reason is None:
            self._reason = self._find_refusal()
        return self._reason

    def _find_refusal(self) -> str | None:
        if (reason := self._reported_reason()) is not None:
            return reason
        try:
            record = self.folder.read_record()
        except RunError:
            # The worker has just removed the run, or somebody else has.
            if (reason := self._reported_reason()) is not None or not self.folder.path.exists():
                return reason
            raise
        if not (record.status == "failed" and record.user_error):
            return None
        self.process.wait()
        if self.before is None:
            return self._reported_reason()
        if self.folder.metrics_bytes() != self.before.metrics_bytes:
            return None
        self.can_start_anyway = record.can_start_anyway
        self.folder.write_record(self.before.record)
        return record.reason

    def _reported_reason(self) -> str | None:
        reason = self.pipe.read() if self.pipe else None
        if reason is not None and self.pipe is not None:
            self.can_start_anyway = self.pipe.can_start_anyway
            self.process.wait()
        return reason

    def exit_reason(self) -> str | None:
        """Describe how the worker's process ended, as `killed by SIGKILL`; None while it is running."""
        status = self.process.poll()
        return None if status is None else exit_reason(status)


def start_run(
    preset: Preset,
    preset_name: str,
    runs_dir: Path,
    name: str = "",
    *,
    anyway: bool = False,
) -> StartedRun:
    """Start a new run in a new folder in `runs_dir`, in spite of findings if `anyway`.

    It is called `name`, or else like its preset, with date and time. Raises RunError, and DeviceError if no
    GPU is free for the processes that the preset asks for.
    """
    processes = choose_processes(preset)
    folder = RunFolder.create(runs_dir, preset_name, name)
    with _start_errors(folder):
        write_preset(with_absolute_files(preset), folder.preset_file)
        count = count_processes(processes)
        details = {"processes": count, "batch_size": effective_batch(preset, count)}
        epochs = preset.training.epochs
        folder.write_record(new_record(folder, preset.title, preset_name, epochs, details, anyway=anyway))
        register(folder)
        return _launch_new(folder, processes=processes)


def start_script(script: Script, runs_dir: Path, name: str = "", *, preset_name: str = "") -> StartedRun:
    """Start a program of the user's own as a new run, in a new folder in `runs_dir`. Raises RunError.

    It is called `name`, or else like its preset or the program, with date and time.
    """
    folder = new_script_run(script, runs_dir, preset_name or script.name, name=name)
    with _start_errors(folder):
        return _launch(folder, *_sizes(script), module=RELAY)


def _sizes(script: Script) -> list[str]:
    """Return the option of the relay that starts several processes, unless a launcher has started them."""
    return [f"--processes={script.processes}"] if script.processes > 1 and JOINS not in os.environ else []


def new_script_run(script: Script, runs_dir: Path, preset: str, stem: str = "", name: str = "") -> RunFolder:
    """Make the folder of a new run of a program: `name`, or else `stem` or the preset with date and time.

    Raises RunError.
    """
    folder = RunFolder.create(runs_dir, stem or preset, name)
    with _start_errors(folder):
        write_script(script, folder.preset_file)
        details = {"processes": script.processes}
        folder.write_record(new_record(folder, script.title, preset, None, details))
        register(folder)
    return folder


def resume_run(
    folder: RunFolder, preset: Preset | None = None, *, anyway: bool = False, takes_fewer: bool = True
) -> StartedRun:
    """Continue an ended run, with another `preset` if one is given.

    Findings do not refuse it if `anyway`, or if the run was started so. As many processes as before train it,
    or, if it `takes_fewer`, fewer where too few GPUs are free.

    Raises RunError if the run is live, or if it is finished and has nothing left to do, and DeviceError.
    """
    written, has_lock = folder.load_record(), folder.lock_file.exists()
    record = check_resumable(folder, preset)
    script = script_of(folder)
    processes = ONE
    _await_end(folder)  # until then, it holds memory and GPUs
    if script is None:
        with suppress(PresetError):  # the worker says what is wrong with the preset
            current = preset or read_preset(folder.preset_file)
            trained = trained_batch(record, folder)
            processes = choose_processes(current, resumes=takes_fewer, trained=trained)
    before = Before(record, folder.metrics_bytes())
    fresh = replace(
        record,
        status="starting",
        reason="",
        problem="",
        user_error=False,
        can_start_anyway=False,
        anyway=record.anyway or anyway,
        pid=None,
        socket="",
        host=socket.gethostname(),
        updated=time.time(),
        memory_kills=read_counters(),
        slurm=own_job(),
        launch=own_launch(os.environ),
        details={**record.details, "processes": script.processes if script else count_processes(processes)},
    )
    with _start_errors(folder):
        with _unchanged(folder, written, has_lock) as lock:
            lock.forget_launch()
            if script is not None:
                write_script(_agreed(script), folder.preset_file)
            folder.wanted_preset_file.unlink(missing_ok=True)
            if preset is not None:
                wanted = dump_preset(with_absolute_files(preset))
                write_atomically(folder.wanted_preset_file, wanted.encode())
            folder.write_record(fresh)
            register(folder)
        module = RELAY if script else WORKER
        options = ["--resume", *(_sizes(script) if script else [])]
        return replace(_launch(folder, *options, module=module, processes=processes), before=before)


def branch_script(parent: RunFolder, checkpoint: Path, script: Script) -> StartedRun:
    """Start a program anew, in a folder beside `parent`, from one of its older checkpoints.

    Raises as `branch_run` does.
    """
    refuse_script(parent, "resume")
    manifest = read_manifest(checkpoint)
    before = parent.load_record()
    folder = RunFolder.create(parent.path.parent, before.preset)
    with _start_errors(folder):
        inherit(parent, checkpoint, folder)
        write_script(_agreed(script), folder.preset_file)
        record = new_record(folder, script.title, before.preset, None, {"processes": script.processes})
        origin = origin_of(parent, checkpoint, manifest.step)
        folder.write_record(replace(record, step=manifest.step, epoch=manifest.epoch, parent=origin))
        register(folder)
        return _launch(folder, "--resume", *_sizes(script), module=RELAY)


def branch_run(
    parent: RunFolder, checkpoint: Path, preset: Preset, *, anyway: bool = False, takes_fewer: bool = True
) -> StartedRun:
    """Start a new run, in a folder beside `parent`, that continues from one of its older checkpoints.

    It inherits the parent's history up to the checkpoint. `takes_fewer` as in `resume_run`. Raises RunError,
    DeviceError, and CheckpointError if the checkpoint cannot be read.
    """
    trained = trained_batch(parent.load_record(), parent)
    processes = choose_processes(preset, resumes=takes_fewer, trained=trained)
    manifest = read_manifest(checkpoint)
    check_unfinished(f"{parent.name}@{manifest.step}", preset, Spent(manifest.epoch, manifest.step))
    before = parent.load_record()
    folder = RunFolder.create(parent.path.parent, before.preset)
    origin = origin_of(parent, checkpoint, manifest.step)
    with _start_errors(folder):
        inherit(parent, checkpoint, folder)
        write_preset(with_absolute_files(preset), folder.preset_file)
        epochs, details = preset.training.epochs, {"processes": count_processes(processes)}
        anyway = anyway or before.anyway
        record = new_record(folder, preset.title, before.preset, epochs, details, anyway=anyway)
        folder.write_record(replace(record, step=manifest.step, epoch=manifest.epoch, parent=origin))
        register(folder)
        return _launch_new(folder, "--resume", processes=processes)


def _agreed(script: Script) -> Script:
    """Return a program as a resume runs it. Raises TrustError for one from the menu that has changed."""
    return with_agreed_content(script) if script.sha256 else script


def _await_end(folder: RunFolder) -> None:
    """Wait for the last worker, which may hold its lock a moment longer.

    Raises RunError if it stays, or if the lock is another user's.
    """
    deadline = time.monotonic() + ENDING_SECONDS
    try:
        while (holder := lock_holder(folder.lock_file)) is not None:
            if time.monotonic() > deadline:
                raise RunError(
                    f"{folder.name}: its last worker (pid {holder}) is still exiting; try again later"
                )
            time.sleep(0.02)
    except PermissionError as error:
        raise RunError(
            f"{folder.name}: the run belongs to another user, and only that user can resume it; to start a "
            f"run of your own from one of its older checkpoints: torchconsole resume {folder.name}@STEP"
        ) from error


@contextmanager
def _unchanged(folder: RunFolder, written: RunRecord, has_lock: bool) -> Iterator[WorkerLock]:
    """Hold the lock of an ended run, so that nobody resumes, renames or deletes it meanwhile.

    Raises RunError if somebody has done so since its record was `written`.
    """
    lock = WorkerLock(folder.lock_file)
    lock.acquire(create=not has_lock)
    try:
        if folder.load_record() != written:
            raise RunError(f"{folder.name} has just been started; see `torchconsole runs`")
        yield lock
    finally:
        lock.release()


@contextmanager
def _start_errors(folder: RunFolder) -> Iterator[None]:
    """Turn OSError into RunError with the run's folder. Raises RunError for a folder that is gone."""
    try:
        yield
    except (OSError, RunError) as error:
        if not folder.path.exists():
            raise RunError(f"{folder.name}: cannot start, the run's folder was just removed") from error
        if isinstance(error, RunError):
            raise
        raise RunError(f"{folder.path}: cannot start the run: {explain_limit(error) or error}") from error


def _launch_new(folder: RunFolder, *options: str, processes: Processes) -> StartedRun:
    """Launch the worker of a new run, which removes the run if it refuses to start."""
    pipe = RefusalPipe()
    try:
        options = (*options, f"--new={pipe.writer}")
        started = _launch(folder, *options, inherited=[pipe.writer], processes=processes)
    finally:
        pipe.close_writer()
    return replace(started, pipe=pipe)


def _launch(
    folder: RunFolder,
    *options: str,
    inherited: Collection[int] = (),
    module: str = WORKER,
    processes: Processes = ONE,
) -> StartedRun:
    """Launch a worker in its own session. -P: the working folder may contain a torch.py of the user."""
    if processes.count > 1:
        module, options = PARENT, (f"--processes={processes.count}", *options)
    command = [sys.executable, "-P", "-m", module, str(folder.path), *options]
    output = open_own(folder.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with os.fdopen(output, "ab") as log, _blocked(HANDLED_SIGNALS):
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=KEEP_MEMORY | worker_environment() | dict(processes.environment),
            start_new_session=True,
            pass_fds=inherited,
        )
    note_launch(folder.lock_file, process.pid)
    return StartedRun(folder, process, note=processes.note)


@contextmanager
def _blocked(signals: Collection[signal.Signals]) -> Iterator[None]:
    """Block signals for processes that start in this context; they unblock them once they are ready."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

"""The worker, the process of one run: first lock, signals and socket, then torch, then training.

`python -P -m torchconsole.engine.worker.main FOLDER [--resume] [--new=FD]`, with the resolved preset in
FOLDER. With --new the worker removes the run if the user's mistake keeps it from its first step, and writes
the reason to the file descriptor FD.
Exit status: 0 if the run finished or was stopped by a command, 1 if it failed, 2 if the preset or the data is
wrong, 130 or 143 if it was saved and stopped because of SIGINT or SIGTERM.
"""

from __future__ import annotations

import faulthandler
import gc
import io
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from torchconsole.engine.config.loading import read_preset
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.config.script import Script, read_script
from torchconsole.engine.errors import (
    DeviceLostError,
    FindingsError,
    JobError,
    RunError,
    TorchconsoleError,
    TrainingError,
)
from torchconsole.engine.protocol.commands import StopRun
from torchconsole.engine.protocol.events import LogWritten, PhaseChanged, RunFailed, RunFinished
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import WorkerLock
from torchconsole.engine.run.membership import JOINS, RESTARTED, read_membership
from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.run.refusal import withdraw
from torchconsole.engine.run.sockets import close_inherited_sockets
from torchconsole.engine.session.ending import end, end_at_once
from torchconsole.engine.session.event_queue import configure_logging, report_error
from torchconsole.engine.session.initial_state import initial_state
from torchconsole.engine.session.output_follower import STANDARD_OUTPUT
from torchconsole.engine.session.server import ServerThread
from torchconsole.engine.session.signals import Signals, logout_warning
from torchconsole.engine.session.stop_watch import StopWatch
from torchconsole.engine.session.tracking.trackers import Trackers
from torchconsole.engine.system_limits import explain_limit, raise_file_limit
from torchconsole.engine.text import error_summary, os_error_summary
from torchconsole.engine.training.command_queue import CommandQueue, Terminated
from torchconsole.engine.user_folders import name_user
from torchconsole.engine.worker.lost_process import telling_loss_from_stop, why_lost

if TYPE_CHECKING:
    from torchconsole.engine.distributed.job import Job
    from torchconsole.engine.training.trainer import Trainer

log = logging.getLogger("torchconsole.engine.worker.main")

FLUSH_SECONDS = 60.0
"""How long to wait for the checkpoint of a program that waits for a process which has failed."""

MAX_TRACEBACK = 50_000
"""Characters of a traceback that are reported, from its end; worker.log has all of it."""


def main(arguments: list[str]) -> int:
    """Run the worker of the folder in `arguments`; return the exit status."""
    # If native code crashes, its Python traceback is written to worker.log.
    faulthandler.enable()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # what user code prints is seen at once
    name_user()
    raise_file_limit()
    folder = RunFolder(Path(arguments[0]))
    commands = CommandQueue()
    signals = Signals(commands)
    os.register_at_fork(after_in_child=close_inherited_sockets)
    lock = WorkerLock(folder.lock_file)
    try:
        lock.acquire()
        record = folder.load_record()
    except RunError as error:
        report_error(str(error))
        return 2
    except OSError as error:
        report_error(f"the run cannot be locked: {os_error_summary(error)}")
        return 1
    try:
        script = read_script(folder.preset_file)
        output = folder.log_file if script else STANDARD_OUTPUT
        server = ServerThread(folder, _initial_state(folder, record, script), commands, output)
        server.start()
    except TorchconsoleError as error:
        report_error(str(error))
        folder.write_record(replace(record, status="failed", reason=str(error), user_error=True))
        _withdraw_if_refused(folder, lock, arguments)
        return 2
    except Exception as error:
        folder.write_record(replace(record, status="failed", reason=_summary(error)))
        raise
    configure_logging(server.event_queue, only_own=script is not None)
    if restarted := os.environ.get(RESTARTED):
        log.warning(restarted)
    if warning := logout_warning():
        log.warning(warning)
    server.place.end = signals.end
    server.place.follow_with(lambda folder: lock.follow(folder.lock_file))
    training = _Training(folder, server, commands, signals, script)
    StopWatch(signals, commands, training.end_stopped).start()
    try:
        status = training.run(resume="--resume" in arguments)
    except DeviceLostError:
        # A normal exit would access the device once more, and might hang or abort.
        server.close()
        training.trackers.close()
        os._exit(1)
    finally:
        signals.ignore()
        server.close()
        training.trackers.close()
    if not training.has_made_a_step:
        _withdraw_if_refused(server.place.folder, lock, arguments)
    return status


def _withdraw_if_refused(folder: RunFolder, lock: WorkerLock, options: list[str]) -> None:
    """Remove a new run that the user's mistake has kept from its first step."""
    writer = next((option.removeprefix("--new=") for option in options if option.startswith("--new=")), None)
    if writer is None or not folder.run_file.exists():
        return
    record = folder.load_record()
    if record.status == "failed" and record.user_error:
        withdraw(folder, record.reason, lock, int(writer), can_start_anyway=record.can_start_anyway)


class _Training:
    """The training of a run, from its preparation to its end."""

    def __init__(
        self,
        folder: RunFolder,
        server: ServerThread,
        commands: CommandQueue,
        signals: Signals,
        script: Script | None,
    ) -> None:
        self.has_made_a_step = False
        self.trackers = Trackers()
        server.subscribe(self.trackers.receive)
        self._script = script
        self._folder = folder
        self._server = server
        self._place = server.place
        self._event_queue = server.event_queue
        self._commands = commands
        self._signals = signals
        signals.find_loss = why_lost
        self._own_name = ""
        """What begins the reason why this process fails if it is one of several that train together."""
        self._flush: Callable[[], object] = lambda: None
        """Waits until all checkpoints are written, as soon as there may be some."""

    def run(self, *, resume: bool) -> int:
        """Train, and report how that ended; return the exit status. Raises what no message explains."""
        event_queue = self._event_queue
        try:
            outcome = (
                self._run_script(self._script, resume=resume) if self._script else self._train(resume=resume)
            )
        except Terminated as termination:
            outcome = RunFinished(status="stopped", reason=str(termination))
        except TrainingError as error:
            reason = str(error) if isinstance(error, JobError) else f"{self._own_name}{error}"
            report_error(reason)
            event_queue.emit(RunFailed(reason=reason))
            if isinstance(error, DeviceLostError):
                raise
            return 1
        except TorchconsoleError as error:
            report_error(str(error))
            overridable = isinstance(error, FindingsError)
            event_queue.emit(RunFailed(reason=str(error), user_error=True, can_start_anyway=overridable))
            return 2
        except SystemExit as error:
            from torchconsole.engine.components.user_code import describe_exit

            reason = f"the user code ends the program: {describe_exit(error)}"
            report_error(reason)
            event_queue.emit(RunFailed(reason=reason, user_error=True))
            return 2
        except BaseException as error:
            # Python prints it to worker.log at the very end, when nobody is connected any more.
            text = "".join(traceback.format_exception(error))[-MAX_TRACEBACK:].rstrip()
            event_queue.emit(LogWritten(level="output", message=text))
            event_queue.emit(RunFailed(reason=f"{self._own_name}{_summary(error)}"))
            raise
        event_queue.emit(outcome)
        return self._signals.exit_status

    def _train(self, *, resume: bool) -> RunFinished:
        with telling_loss_from_stop(self._signals), self._signals.ending_preparation():
            preset = _preset_of(self._folder)
            self._event_queue.emit(PhaseChanged(phase="importing torch"))
            with _limits_of_import():
                from torchconsole.engine.training.failures import within_memory
                from torchconsole.engine.worker.prepare import prepare

            job = self._join(preset.distributed.timeout)
            parts = preset, self._place, self._commands, self._event_queue, self.trackers, job
            with _sharing_failures(job):
                trainer = within_memory(lambda: prepare(*parts, resume=resume), preset.data)
        self._server.step_times = lambda: trainer.phases.times
        self._place.follow_with(lambda folder: trainer.checkpoints.move_to(folder.checkpoints))
        self._flush = trainer.checkpoints.flush
        _freeze_garbage_collection()
        begin = trainer.state.progress.step
        try:
            if job is not None:
                self._begin_together(job, trainer)
            with _sharing_failures(job):
                outcome = within_memory(trainer.run, preset.data)
        finally:
            # The record does not tell: it is written for logged steps only.
            self.has_made_a_step = trainer.state.progress.step > begin
            # A run that fails may be resumed from the checkpoint that is being written.
            trainer.checkpoints.flush()
        if job is not None:
            job.leave()
        return outcome

    def _join(self, minutes: float) -> Job | None:
        """Meet the other processes if a launcher started several. Raises RunError, TrainingError.

        All watch over each other from now on; one that hangs for so many minutes ends the run.
        """
        membership = read_membership(os.environ) if JOINS in os.environ else None
        if membership is None:
            return None
        from torchconsole.engine.distributed.job import Job

        def stop(reason: str) -> None:
            if self._commands.stop_requested:  # all processes of a job may get the same signal
                return
            if self._signals.ends_preparation:
                os.kill(os.getpid(), signal.Signals[reason])
            else:
                self._commands.put(f"rank-{reason}", StopRun(reason=reason), by=reason)

        job = Job(membership)
        self._signals.find_loss = partial(why_lost, failures=job.failures)
        job.watch_for_stop(stop)
        job.watch(lambda reason: self._end_at_once(reason, 60 * minutes), minutes)
        return job

    def _begin_together(self, job: Job, trainer: Trainer) -> None:
        """Watch how far the training is; a reason why this process fails names it from now on."""
        from torchconsole.engine.distributed.failures import own_name

        self._own_name = f"{own_name(job.rank)}: "
        job.watch_training(trainer.state.progress, self._commands)

    def end_stopped(self, reason: str, number: int) -> None:
        """End this process from another thread after a stop: the training thread waits in native code.

        `number` is that of the signal; 0 if it was a command. The launcher then ends the other processes.
        """
        if loss := self._signals.find_loss(reason):
            self._end_at_once(loss, FLUSH_SECONDS)
        log.warning("%s: the main thread waits in native code, and is not waited for", reason)
        self._event_queue.emit(RunFinished(status="stopped", reason=reason))
        self._close_at_once(FLUSH_SECONDS, 128 + number if number else 1)

    def _end_at_once(self, reason: str, seconds: float) -> NoReturn:
        """End this process from another thread: the training thread hangs, and nothing can be raised in it.

        A checkpoint that is being written is waited for so many seconds: it may be the disk that hangs.
        """
        report_error(reason)
        self._event_queue.emit(RunFailed(reason=reason))
        self._close_at_once(seconds, 1)

    def _close_at_once(self, seconds: float, status: int) -> NoReturn:
        flushing = threading.Thread(target=self._flush, name="flush", daemon=True)
        flushing.start()
        flushing.join(seconds)
        self._server.close()
        self.trackers.close()
        end_at_once(status)

    def _run_script(self, script: Script, *, resume: bool) -> RunFinished:
        self._event_queue.emit(PhaseChanged(phase="importing torch"))
        with _limits_of_import():
            from torchconsole.engine.worker.script import run_script

        with telling_loss_from_stop(self._signals):
            return run_script(
                script,
                self._place,
                self._commands,
                self._event_queue,
                self._signals,
                resume=resume,
                end=self._end_program,
            )

    def _end_program(self, reason: str, flush: Callable[[], object]) -> None:
        """End this process, as `_end_at_once` does; `flush` waits until all checkpoints are written."""
        self._flush = flush
        self._end_at_once(reason, FLUSH_SECONDS)


def _summary(error: BaseException) -> str:
    """Return one line about an error whose traceback goes to worker.log, with the line of the user's code."""
    if reason := explain_limit(error):
        return reason
    from torchconsole.engine.components.user_errors import place_in_user_code

    place = place_in_user_code(error)
    return f"{error_summary(error)} ({place})" if place else error_summary(error)


def _sharing_failures(job: Job | None) -> AbstractContextManager[None]:
    return nullcontext() if job is None else job.failures.shared()


@contextmanager
def _limits_of_import() -> Iterator[None]:
    """Name the limit of memory, threads or files that keeps torch from being imported.

    Raises TrainingError.
    """
    try:
        yield
    except (ImportError, MemoryError, OSError, RuntimeError) as error:
        if (reason := explain_limit(error)) is None:
            raise
        raise TrainingError(f"torch cannot be imported: {reason}") from error


def _freeze_garbage_collection() -> None:
    """Exclude all present objects from garbage collection; they live as long as the process.

    Without the many objects of the libraries, a full collection takes no time, and Python runs it often
    enough that the remains of closed connections do not accumulate.
    """
    gc.collect()
    gc.freeze()


def _initial_state(folder: RunFolder, record: RunRecord, script: Script | None) -> RunState:
    """Build the state that is known before torch is loaded."""
    if script:
        return initial_state(record, folder, script.title, {"script": script.settings})
    preset = _preset_of(folder)
    return initial_state(record, folder, preset.title, preset.model_dump(mode="json", exclude_none=True))


def _preset_of(folder: RunFolder) -> Preset:
    """Read the preset, with the changes that a resume asks for."""
    wanted = folder.wanted_preset_file
    return read_preset(wanted if wanted.exists() else folder.preset_file)


if __name__ == "__main__":
    end(main(sys.argv[1:]))

"""The half of the worker that needs torch, for a program of the user's own."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from torchconsole.engine.components.torchvision_compat import prepare_torchvision_on_import
from torchconsole.engine.config.script import Script
from torchconsole.engine.config.script_presets import check_agreed_content
from torchconsole.engine.distributed.program_job import ALONE, NoJob, ProgramJob
from torchconsole.engine.errors import JobError, RunError, TrainingError
from torchconsole.engine.library.foreign_loggers import ForeignLoggers
from torchconsole.engine.library.framework_loop import FrameworkLoop
from torchconsole.engine.library.instruments import Instruments
from torchconsole.engine.library.own_host import set_worker
from torchconsole.engine.library.own_outcome import lost_process
from torchconsole.engine.library.program import before_immediate_exit, run_program, watch_for_steps
from torchconsole.engine.library.watched_run import WatchedRun
from torchconsole.engine.protocol.commands import StopRun
from torchconsole.engine.protocol.events import PhaseChanged, RunFailed, RunFinished
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.membership import JOINS, read_membership
from torchconsole.engine.session.event_queue import EventQueue
from torchconsole.engine.session.run_place import RunPlace
from torchconsole.engine.session.signals import Signals
from torchconsole.engine.training.command_queue import CommandQueue, Terminated
from torchconsole.engine.worker.lost_process import why_lost
from torchconsole.engine.worker.relay import describe_immediate_exit

log = logging.getLogger(__name__)

ENDED = "the program has ended"
"""Answer to commands that come too late."""


@dataclass
class WorkerHost:
    """The worker as what a program's own loop runs in. Satisfies own_host.Host."""

    commands: CommandQueue
    events: EventQueue
    resumes: bool
    begin_training: Callable[[], object]
    run: WatchedRun
    """What counts the steps now."""
    instruments: Instruments
    place: RunPlace
    signals: Signals
    job: NoJob
    """The processes that run the program together."""
    ends_with_loop: bool = False
    outcome: RunFinished | None = None
    """How the program's own loop has ended."""
    is_adopted: bool = False

    @property
    def folder(self) -> RunFolder:
        """The run's folder, wherever it is now."""
        return self.place.folder

    @property
    def exit_status(self) -> int:
        """The exit status after a stop by a signal."""
        return self.signals.exit_status

    def adopt(self, loop: WatchedRun) -> None:
        """Watch the program no longer, since it says itself what it does. Raises RunError the second time."""
        if self.is_adopted:
            raise RunError(
                "torchconsole.run for the second time: `torchconsole run` makes one run of a program; for "
                "more than one, start it with `python`"
            )
        self.is_adopted = True
        self.instruments.retire()
        self.run = loop

    def close(self, outcome: RunFinished | RunFailed) -> None:
        """Note how the loop ended. The run ends with the program; the worker reports errors itself."""
        if isinstance(outcome, RunFinished):
            self.outcome = outcome

    def end_program(self) -> None:
        """Do nothing: the exception ends the program."""


def run_script(
    script: Script,
    place: RunPlace,
    commands: CommandQueue,
    events: EventQueue,
    signals: Signals,
    *,
    resume: bool,
    end: Callable[[str, Callable[[], object]], object],
) -> RunFinished:
    """Run the program to its end; return how it ended.

    If a launcher has started several processes, this is the first of those that run the program. `end` ends
    this process from another thread, with the reason, after its checkpoints are written by the function.

    Raises TrainingError if it fails, Terminated if a signal ends it before its first step, PresetError if its
    file is no longer the one that the user has agreed to.
    """
    check_agreed_content(script)
    with ExitStack() as preparation:
        preparation.enter_context(signals.ending_preparation())
        job = _join(commands, signals)
        run = WatchedRun(events, commands, place.folder.checkpoints, preparation.close, job)
        instruments = Instruments(run, commands)
        instruments.install()
        host = WorkerHost(commands, events, resume, preparation.close, run, instruments, place, signals, job)
        place.follow_with(lambda folder: host.run.checkpoints.move_to(folder.checkpoints))
        set_worker(host)
        job.watch(
            lambda: host.run.progress,
            commands,
            lambda reason: end(reason, lambda: host.run.checkpoints.flush()),
        )

        _copy_metrics(host, run)
        events.emit(PhaseChanged(phase="starting the program"))
        before_immediate_exit(partial(_finish_at_once, host))
        watch_for_steps(lambda: host.run.has_begun, log.warning)
        prepare_torchvision_on_import()
        try:
            with commands.running_user_code:
                outcome = run_program(script, lambda: host.run.has_begun)
        except TrainingError as error:
            if not (host.run.ended and isinstance(error.__cause__, SystemExit)):
                raise TrainingError(job.explain(str(error), error.__cause__)) from error
            outcome = _stopped(host)
        except Terminated as termination:
            loss = signals.find_loss(str(termination))
            job.report_stop()
            job.close()
            if loss or job.failure:
                raise JobError(loss or job.failure) from termination
            raise
        finally:
            host.run.finish(ENDED)
    if failure := lost_process(job, host.run):
        raise JobError(failure)
    if host.outcome is None and host.run.ended:  # the program has caught the exception that stopped it
        return _stopped(host)
    return host.outcome or outcome


def _copy_metrics(host: WorkerHost, run: WatchedRun) -> None:
    """Copy the metrics that a program gives other loggers.

    Not those that a callback reports itself, and not those beside `torchconsole.run`.
    """

    def drives() -> bool:
        return isinstance(host.run, FrameworkLoop)

    ForeignLoggers(lambda metrics: (host.run if drives() else run).add_metrics(metrics), drives).install()


def _join(commands: CommandQueue, signals: Signals) -> NoJob:
    """Meet the other processes if a launcher started several. Raises RunError, TrainingError."""
    membership = read_membership(os.environ) if os.environ.pop(JOINS, None) else None
    if membership is None:
        return ALONE

    def stop(reason: str) -> None:
        if commands.stop_requested:  # all processes of a job may get the same signal
            return
        if signals.ends_preparation:
            os.kill(os.getpid(), signal.Signals[reason])
        else:
            commands.put(f"rank-{reason}", StopRun(reason=reason), by=reason)

    job = ProgramJob(membership)
    signals.find_loss = partial(why_lost, failures=job.failures)
    job.watch_for_stop(stop)
    return job


def _stopped(host: WorkerHost) -> RunFinished:
    return RunFinished(status="stopped", reason=host.run.stop_reason)


def _finish_at_once(host: WorkerHost, status: int) -> None:
    """Report the end of a program that is about to call os._exit."""
    host.run.finish(ENDED)
    reason = describe_immediate_exit(status)
    if host.run.ended:
        host.events.emit(_stopped(host))
    elif status:
        host.events.emit(RunFailed(reason=reason))
    else:
        host.events.emit(RunFinished(status="finished", reason=reason))
    host.events.flush()

"""How the loop of a program ended, for its run."""

from __future__ import annotations

import signal
from typing import Literal, Protocol

from torchconsole.engine.components.user_errors import place_in_user_code
from torchconsole.engine.distributed.program_job import ALONE, NoJob
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.library.watched_run import ProgramStopped
from torchconsole.engine.protocol.events import RunFailed, RunFinished
from torchconsole.engine.text import error_summary
from torchconsole.engine.training.command_queue import Terminated
from torchconsole.engine.training.progress import Progress

INTERRUPTED = "interrupted within a step, which is not saved; resume from the last checkpoint"


class Stopped(Protocol):
    """What a command may have ended, and why."""

    @property
    def ended(self) -> bool: ...
    @property
    def stop_reason(self) -> str: ...


class Loop(Stopped, Protocol):
    """A loop that has ended."""

    progress: Progress
    problem: str

    @property
    def limit(self) -> str | None: ...


def lost_process(job: NoJob, loop: Stopped) -> str:
    """Return which other process has failed, unless somebody has stopped the run.

    A launcher ends the rest by a signal then, as somebody might who stops the run.
    """
    is_by_signal = loop.stop_reason in signal.Signals.__members__
    return job.failure if is_by_signal or not loop.ended else ""


def outcome_of(loop: Loop, error: BaseException | None, job: NoJob = ALONE) -> RunFinished | RunFailed:
    """Return how the run ended, by what has left its `with`, or what another process of the job has said."""
    if failure := lost_process(job, loop):
        return RunFailed(reason=failure)
    if loop.ended or isinstance(error, Terminated):
        return _finished(loop, "stopped", str(error) or loop.stop_reason)
    if error is None or isinstance(error, ProgramStopped):
        return _finished(loop, "finished", loop.limit or "the loop has ended")
    if isinstance(error, KeyboardInterrupt):
        return _finished(loop, "stopped", INTERRUPTED)
    if isinstance(error, SystemExit):
        if error.code in (None, 0):
            return _finished(loop, "finished", "the program has ended")
        return RunFailed(reason=job.explain(f"the program ended with exit status {error.code}", None))
    place = place_in_user_code(error)
    reason = f"{error_summary(error)} ({place})" if place else error_summary(error)
    return RunFailed(reason=job.explain(reason, error), user_error=isinstance(error, TorchconsoleError))


def _finished(loop: Loop, status: Literal["finished", "stopped"], reason: str) -> RunFinished:
    progress = loop.progress
    return RunFinished(
        status=status, reason=reason, problem=loop.problem, step=progress.step, epoch=progress.epoch
    )

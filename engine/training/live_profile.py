"""Profiles some steps of a live training on command, and writes a trace into the run's folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from torchconsole.engine.errors import CommandRejectedError
from torchconsole.engine.protocol.events import CommandApplied, CommandRejected, Event
from torchconsole.engine.protocol.profile_report import ProfileReport
from torchconsole.engine.text import os_error_summary
from torchconsole.engine.training.command_queue import Request
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.step_profile import StepProfile

STEPS = 10


class _Current(NamedTuple):
    profile: StepProfile
    request: Request
    first_step: int


class LiveProfile:
    """Profiles STEPS steps, or those until an evaluation, a pause or the run's end if that comes first.

    `file` returns where the trace goes: the run's folder may be renamed.
    """

    def __init__(self, setup: TrainingSetup, emit: Callable[[Event], None], file: Callable[[], Path]) -> None:
        self.steps_left = 0
        """Steps that are still to be profiled; 0 while none are."""
        self._setup = setup
        self._emit = emit
        self._file = file
        self._current: _Current | None = None

    def begin(self, request: Request, step: int) -> None:
        """Profile the steps after `step`. Raises CommandRejectedError if steps are being profiled already."""
        if self._current is not None:
            raise CommandRejectedError("steps are being profiled already")
        self._current = _Current(StepProfile(self._setup), request, step + 1)
        self.steps_left = STEPS
        self._current.profile.start()

    def end(self) -> None:
        """Write the trace and answer the command, if steps are being profiled. Waits for a GPU."""
        if self._current is None:
            return
        profile, request, first_step = self._current
        self._current = None
        steps, self.steps_left = STEPS - self.steps_left, 0
        profile.stop()
        if not steps:
            self._emit(CommandRejected(id=request.id, reason="no step was made after it"))
            return
        file = self._file()
        try:
            report = profile.report(first_step, steps, file)
        except OSError as error:
            reason = f"the trace cannot be written: {os_error_summary(error)}"
            self._emit(CommandRejected(id=request.id, reason=reason))
            return
        self._emit(
            CommandApplied(
                id=request.id,
                command=request.command,
                step=first_step + steps - 1,
                by=request.by,
                detail=describe(report, file.name),
                result={"trace": str(file), "steps": steps},
            )
        )


def describe(report: ProfileReport, file: str) -> str:
    """Return the longest operation and layer of a profile in words, and the name of its trace."""
    longest = [f"{each.name} {100 * each.share:.0f} %" for each in report.operations[:1]]
    longest += [f"layer {each.name} {100 * each.share:.0f} %" for each in report.layers[:1] if each.name]
    steps = f"{report.steps} step{'s' * (report.steps != 1)}"
    return f"profiled {steps}, {1000 * report.step_seconds:.3g} ms each: {', '.join(longest)}; {file}"

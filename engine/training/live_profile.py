"""Profiles some steps of a live training on command, and writes a trace into the run's folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from torchconsole.engine.errors import CommandRejectedError, TorchconsoleError
from torchconsole.engine.protocol.events import CommandApplied, CommandRejected, Event
from torchconsole.engine.protocol.profile_report import ProfileReport
from torchconsole.engine.text import error_summary, os_error_summary
from torchconsole.engine.training.command_queue import Request
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.step_profile import COMMUNICATION, StepProfile

STEPS = 10
"""Steps of one batch each. Steps of several batches are fewer, since each batch adds to the trace."""


class _Current(NamedTuple):
    profile: StepProfile
    request: Request
    first_step: int
    steps: int


class LiveProfile:
    """Profiles STEPS steps, or those until an evaluation, a pause or the run's end if that comes first.

    With gradient accumulation, it is as many steps as have at most STEPS batches, but at least one.
    If a profile fails, its command is rejected and the run continues; a device that fails ends the run.
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
        """Profile the steps after `step`.

        Raises CommandRejectedError if steps are being profiled already, or the profiler cannot start.
        """
        if self._current is not None:
            raise CommandRejectedError("steps are being profiled already")
        try:
            profile = StepProfile(self._setup)
            profile.start()
        except torch.AcceleratorError:
            raise
        except Exception as error:
            raise CommandRejectedError(_reason(error)) from error
        steps = max(1, STEPS // self._setup.preset.training.grad_accum_steps)
        self._current = _Current(profile, request, step + 1, steps)
        self.steps_left = steps

    def end_step(self) -> None:
        """Note that one of the steps has ended."""
        if self._current is not None:
            self._current.profile.end_step()
            self.steps_left -= 1

    def end(self, step: int) -> None:
        """Write the trace and answer the command after `step`, if steps are being profiled. Waits for a GPU.

        Steps that the scaler of fp16 has skipped are profiled too, but have no number.
        """
        if self._current is None:
            return
        profile, request, first_step, planned = self._current
        self._current = None
        steps, self.steps_left = planned - self.steps_left, 0
        file = self._file()
        try:
            profile.stop()
            report = profile.report(first_step, file) if steps else None
        except torch.AcceleratorError:
            raise
        except Exception as error:  # noqa: BLE001 - torch's profiler may raise anything, and must not end the run
            self._emit(CommandRejected(id=request.id, reason=_reason(error)))
            return
        if report is None:
            self._emit(CommandRejected(id=request.id, reason="no step was made after it"))
            return
        self._emit(
            CommandApplied(
                id=request.id,
                command=request.command,
                step=step,
                by=request.by,
                detail=describe(report, file.name),
                result={"trace": str(file), "steps": steps},
            )
        )


def _reason(error: Exception) -> str:
    if isinstance(error, TorchconsoleError):
        return str(error)
    if isinstance(error, OSError):
        return f"the trace cannot be written: {os_error_summary(error)}"
    return f"the steps cannot be profiled: {error_summary(error)}"


def describe(report: ProfileReport, file: str) -> str:
    """Return the longest operation and layer of a profile in words, and the name of its trace."""
    longest = [f"{each.name} {100 * each.share:.0f} %" for each in report.operations[:1]]
    longest += [f"layer {each.name} {100 * each.share:.0f} %" for each in report.layers[:1] if each.name]
    steps = f"{report.steps} step{'s' * (report.steps != 1)}"
    if report.processes > 1:
        steps += f" of process 0 (of {report.processes})"
        shared = sum(each.share for each in report.operations if each.name.startswith(COMMUNICATION))
        longest += [f"communication {100 * shared:.0f} %"] if shared else []
    slow = ""
    if report.left_out:
        slow = f" ({report.left_out} slower step{'s' * (report.left_out != 1)} left out)"
    return f"profiled {steps}, {1000 * report.step_seconds:.3g} ms each{slow}: {', '.join(longest)}; {file}"

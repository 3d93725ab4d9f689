"""Profiles some steps of a preset's training, or of a run from its checkpoint."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from pathlib import Path

from torch import Tensor

from torchconsole.engine.analysis.check_report import print_phase
from torchconsole.engine.analysis.trial_setup import build_trial
from torchconsole.engine.components.parameters import enter_train_mode
from torchconsole.engine.components.phase_progress import PhaseProgress
from torchconsole.engine.config.loading import read_preset
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.protocol.info import StepTimes
from torchconsole.engine.protocol.profile_report import ProfileReport
from torchconsole.engine.text import os_error_summary
from torchconsole.engine.training.meter import LossMeter
from torchconsole.engine.training.progress import Progress
from torchconsole.engine.training.randomness import seed_everything
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.step import TrainingStep
from torchconsole.engine.training.step_phases import StepPhases
from torchconsole.engine.training.step_profile import StepProfile

WARM_UP, TIMED = 3, 5
"""Steps that are made before, and that are timed without the profiler."""


def profile_report(preset_file: str, steps: str, trace: str, checkpoint: str | None = None) -> ProfileReport:
    """Build what the preset names and profile `steps` steps, with the weights of `checkpoint` if given.

    Write the trace to the file `trace` unless that is empty. Raises ComponentError and DataError, which name
    the key to change, TrustError, CheckpointError, and TorchconsoleError for a file that cannot be written
    and for user code that runs a profiler.
    """
    setup, start, frozen = build_trial(
        read_preset(Path(preset_file)), Path(checkpoint) if checkpoint else None
    )
    seed_everything(setup.preset.training.seed)
    try:
        return profile_steps(setup, int(steps), start.epoch, Path(trace) if trace else None, frozen)
    except OSError as error:
        raise TorchconsoleError(f"{trace}: cannot be written: {os_error_summary(error)}") from error


def profile_steps(
    setup: TrainingSetup,
    steps: int,
    epoch: int = 0,
    trace: Path | None = None,
    frozen: Collection[str] = (),
) -> ProfileReport:
    """Train: some steps to warm up, some to time their parts, and `steps` that are profiled.

    The weights of `setup` change, without the parameters named in `frozen`. `epoch` is that of the data, from
    0. Raises OSError, and TorchconsoleError if the user's code runs a profiler.
    """
    phases = StepPhases(setup.device, setup.log_every, is_compiled=setup.preset.training.compile)
    progress = PhaseProgress(
        print_phase, "training", WARM_UP + TIMED + steps, subject="profiling", unit="steps"
    )
    training = _Steps(setup, epoch, phases, frozen, progress)
    for _ in range(WARM_UP):
        training.make()
    times = training.timed(TIMED)
    profile = StepProfile(setup)
    profile.start()
    for _ in range(steps):
        training.make()
        profile.end_step()
    profile.stop()
    report = profile.report(WARM_UP + TIMED + 1, trace)
    return report.model_copy(update={"times": times})


class _Steps:
    """Makes steps, epoch after epoch."""

    def __init__(
        self,
        setup: TrainingSetup,
        epoch: int,
        phases: StepPhases,
        frozen: Collection[str],
        phase: PhaseProgress,
    ) -> None:
        self._phase = phase
        self._setup, self._phases, self._frozen = setup, phases, frozen
        self._progress, self._meter = Progress(epoch=epoch), LossMeter()
        self._step = TrainingStep(setup, self._progress, self._meter, phases)
        self._batches = self._all_batches()
        self._waited = 0.0

    def make(self) -> None:
        """Make one step."""
        completes = False
        while not completes:
            begin = time.perf_counter()
            inputs, targets = next(self._batches)
            self._waited += time.perf_counter() - begin
            completes = self._step(inputs, targets)
        self._phase.advance()

    def timed(self, steps: int) -> StepTimes | None:
        """Make steps and return how long their parts took; None on a device that cannot be measured.

        The host waits for the device after each step.
        """
        phases = self._phases
        begin, self._waited = time.perf_counter(), 0.0
        for _ in range(steps):
            phases.turn(0.0)
            self.make()
            self._setup.learning_rate.step()
            if phases.is_open:
                phases.close()
            self._meter.read()
            spent = time.perf_counter() - begin
            phases.turn(self._waited / spent)
        return phases.times

    def _all_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        setup, progress = self._setup, self._progress
        while True:
            progress.batch = 0
            self._step.begin_epoch()
            enter_train_mode(setup.model, setup.preset.model, progress.epoch, self._frozen)
            yield from setup.data.train.epoch(progress.epoch)
            progress.epoch += 1

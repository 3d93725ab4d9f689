"""Reports as JSON for the console, which never imports torch.

`python -P -m torchconsole.engine.analysis.report summary|check|lr PRESET_FILE`, or `device`, or `catalogue`,
or `evaluate CHECKPOINT PART WEIGHTS [DEVICE]`, or `export CHECKPOINT FILE FORMAT WEIGHTS`.
The report is the last line on stdout; slow phases are printed before it as PhaseChanged events.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import BaseModel

from torchconsole.engine.analysis.checkpoint_reports import (
    Format,
    Part,
    Weights,
    evaluate_checkpoint,
    export,
)
from torchconsole.engine.analysis.summary import summarize
from torchconsole.engine.components.data import open_data
from torchconsole.engine.components.devices import choose_device, describe_device
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.components.models import build_model
from torchconsole.engine.components.parameters import freeze
from torchconsole.engine.config.loading import read_preset
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.protocol.events import PhaseChanged, ReportPhase
from torchconsole.engine.protocol.reports import CheckReport, LearningRateCurve
from torchconsole.engine.training.dry_run import dry_run, first_batch
from torchconsole.engine.training.failures import named_failures
from torchconsole.engine.training.lr_forecast import forecast_lr
from torchconsole.engine.training.setup import TrainingSetup, build_optimization, build_setup


def summary_report(preset_file: str) -> BaseModel:
    """The layer table of the preset's model."""
    setup = _build(preset_file, "cpu")
    return summarize(setup.model, setup.data.spec.input_shape)


def check_report(preset_file: str) -> BaseModel:
    """What one batch forward and backward says of the preset."""
    phases = Phases()
    setup = _build(preset_file, report=phases)
    phases(PhaseChanged(phase="dry run"))
    loss = dry_run(setup, first_batch(setup))
    phases.end()
    spec = setup.data.spec
    return CheckReport(
        device=str(setup.device),
        task=spec.task,
        input_shape=list(spec.input_shape),
        outputs=spec.num_outputs,
        train_samples=setup.data.train.samples_per_epoch,
        val_samples=setup.data.val.samples,
        steps_per_epoch=setup.steps_per_epoch,
        params=sum(p.numel() for p in setup.model.parameters()),
        trainable=sum(p.numel() for p in setup.model.parameters() if p.requires_grad),
        loss=loss,
        seconds=phases.seconds,
        notes=setup.data.notes,
    )


def lr_report(preset_file: str) -> BaseModel:
    """What the preset's schedule makes of the lr."""
    return lr_curve(read_preset(Path(preset_file)))


def lr_curve(preset: Preset) -> LearningRateCurve:
    """The lr of each parameter group at some hundreds of the run's steps.

    The data is opened for its size and the model built for its groups of parameters, without weights. Raises
    ComponentError, DataError and TrustError as the start of a run does.
    """
    own = UserCode()
    opened = open_data(preset.data, preset.training, lambda phase: None, own)
    spec, batches = opened.spec, opened.order.batches_per_epoch
    model = build_model(preset.model.model_copy(update={"weights": None, "init": []}), spec, own)
    freeze(model, preset.model.freeze)
    _, learning_rate = build_optimization(preset, model, batches, own)
    schedule = learning_rate.copy_schedule()
    ahead = forecast_lr(schedule)
    return LearningRateCurve(
        steps_per_epoch=schedule.steps_per_epoch,
        total_steps=schedule.total_steps,
        steps=ahead.steps.tolist(),
        lrs=ahead.lrs.tolist(),
        metric=ahead.metric,
    )


def device_report() -> BaseModel:
    """What this machine has, whatever a run would use of it."""
    best = "cuda" if torch.cuda.is_available() else "cpu"
    return describe_device(torch.device(best))


def catalogue_report() -> BaseModel:
    """What torch offers; see engine.config.catalogue."""
    from torchconsole.engine.analysis.catalogue_builder import build_catalogue

    return build_catalogue()


def evaluation_report(checkpoint: str, part: Part, weights: Weights, device: str | None = None) -> BaseModel:
    """How good a checkpoint is on a part of its data."""
    return evaluate_checkpoint(Path(checkpoint), part, weights, device)


def export_report(checkpoint: str, file: str, form: Format, weights: Weights) -> BaseModel:
    """What was written of a checkpoint's weights."""
    return export(Path(checkpoint), Path(file), form, weights)


def print_phase(phase: PhaseChanged) -> None:
    """Print a phase that is slow: a download, or one that has reported progress."""
    if phase.done is not None or phase.phase.startswith("downloading"):
        print(phase.model_dump_json(), flush=True)


def _build(preset_file: str, device: str | None = None, report: ReportPhase = print_phase) -> TrainingSetup:
    preset = read_preset(Path(preset_file))
    return build_setup(preset, choose_device(device or preset.training.device), report)


class Phases:
    """Prints slow phases and measures the `seconds` that each phase takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._phase = ""
        self._since = 0.0

    def __call__(self, phase: PhaseChanged) -> None:
        self.end()
        self._phase, self._since = phase.phase, time.perf_counter()
        print_phase(phase)

    def end(self) -> None:
        """Add the time of the last phase."""
        if self._phase:
            spent = time.perf_counter() - self._since
            self.seconds[self._phase] = self.seconds.get(self._phase, 0.0) + spent


REPORTS: dict[str, Callable[..., BaseModel]] = {
    "summary": summary_report,
    "check": check_report,
    "lr": lr_report,
    "device": device_report,
    "catalogue": catalogue_report,
    "evaluate": evaluation_report,
    "export": export_report,
}


def main(arguments: list[str]) -> int:
    """Print the report asked for; 2 and a line on stderr where the user's input is wrong."""
    try:
        # Each line on stderr is told as a mistake: of a driver that is too old, torch warns before we say it.
        with warnings.catch_warnings(action="ignore"), named_failures():
            report = REPORTS[arguments[0]](*arguments[1:])
    except TorchconsoleError as error:
        print(error, file=sys.stderr)
        return 2
    print(report.model_dump_json())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

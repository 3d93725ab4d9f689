"""The report of `torchconsole check`: what the dry run of a preset saw, and the findings."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch
from torch import Tensor

from torchconsole.engine.analysis.findings import find_in_data
from torchconsole.engine.analysis.overfit import overfit
from torchconsole.engine.analysis.report_channel import write_line
from torchconsole.engine.analysis.start_check import CheckedSetup, check_parts
from torchconsole.engine.components.data import DataModule
from torchconsole.engine.components.devices import choose_device
from torchconsole.engine.components.ranks import planned_ranks
from torchconsole.engine.config.loading import read_preset
from torchconsole.engine.protocol.events import PhaseChanged
from torchconsole.engine.protocol.json_text import dump_json
from torchconsole.engine.protocol.reports import CheckReport, ClassCount
from torchconsole.engine.training.lr_forecast import describe_units, preview_lr
from torchconsole.engine.training.parts import build_parts
from torchconsole.engine.training.setup import lr_factor


def check_report(preset_file: str, *options: str) -> CheckReport:
    """Build all that the preset names, make the dry run of a start, and look for pitfalls in the data too.

    With the option "overfit" also train on the dry run's batch.

    Raises ComponentError and DataError, which name the key to change, and TrustError.
    """
    phases = Phases()
    preset = read_preset(Path(preset_file))
    preset.tracking.require_packages()
    ranks = planned_ranks(preset.distributed)
    if not ranks.is_alone and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)  # as the parent of several processes has it
    parts = build_parts(preset, choose_device(preset.training.device), phases, ranks=ranks)
    checked = check_parts(parts, phases, with_test=True)
    phases(PhaseChanged(phase="comparing samples"))
    in_data = find_in_data(checked.setup)
    phases.end()
    return _report(checked).model_copy(
        update={
            "findings": [*checked.findings, *in_data],
            "seconds": phases.seconds,
            "overfit": overfit(checked.setup, checked.dry_run.batch) if "overfit" in options else None,
        }
    )


def _report(checked: CheckedSetup) -> CheckReport:
    """Describe the training and what its dry run saw."""
    setup, seen = checked.setup, checked.dry_run
    data, parameters, schedule = (
        setup.data,
        list(setup.model.parameters()),
        setup.learning_rate.copy_schedule(),
    )
    return CheckReport(
        device=str(setup.device),
        precision=setup.precision.name,
        task=data.spec.task,
        input_shape=list(seen.batch[0].shape[1:]),
        input_type=_type_name(seen.batch[0]),
        output_shape=list(seen.outputs.shape[1:]) if isinstance(seen.outputs, Tensor) else [],
        train_samples=data.train.samples_per_epoch,
        val_samples=data.val_samples,
        test_samples=None if data.test is None else data.test.samples,
        classes=_classes(data),
        columns=data.columns,
        batch_size=setup.preset.data.batch_size,
        processes=setup.ranks.size,
        effective_batch=setup.effective_batch,
        lr_factor=lr_factor(setup.preset.distributed, setup.ranks.size),
        threads=torch.get_num_threads(),
        steps_per_epoch=setup.steps_per_epoch,
        params=sum(parameter.numel() for parameter in parameters),
        trainable=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        memory=seen.memory_bytes,
        memory_parts=seen.memory_parts,
        loss=seen.loss,
        loss_unit=data.spec.loss_unit,
        step_seconds=seen.step_seconds,
        batch_seconds=seen.batch_seconds,
        num_workers=setup.data.one_by_one.num_workers if setup.data.one_by_one else None,
        lr_unit=describe_units(schedule.parts),
        lrs=preview_lr(schedule)[1],
        seconds={},
        notes=data.notes,
    )


def _classes(data: DataModule) -> list[ClassCount]:
    """Return the classes, with their training samples if each sample has one."""
    names, counts = data.spec.class_names, data.class_counts
    if counts is None or len(counts) != len(names):
        return [ClassCount(name=name) for name in names]
    return [ClassCount(name=name, samples=count) for name, count in zip(names, counts.tolist(), strict=True)]


def _type_name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def print_phase(phase: PhaseChanged) -> None:
    """Print a slow phase: a download, or any phase with progress."""
    if phase.done is not None or phase.phase.startswith("downloading"):
        write_line(dump_json(phase))


class Phases:
    """Prints slow phases and measures how many `seconds` each phase takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._phase = ""
        self._since = 0.0

    def __call__(self, phase: PhaseChanged) -> None:
        self.end()
        self._phase, self._since = phase.phase, time.perf_counter()
        print_phase(phase)

    def end(self) -> None:
        """End the current phase and add its time."""
        if self._phase:
            spent = time.perf_counter() - self._since
            self.seconds[self._phase] = self.seconds.get(self._phase, 0.0) + spent

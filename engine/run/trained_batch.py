"""The samples of a step that a run was trained with, which another number of processes has to keep."""

from __future__ import annotations

from typing import NamedTuple

from torchconsole.engine.config.loading import read_preset
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import RunError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.record import RunRecord


class TrainedBatch(NamedTuple):
    """The samples of a step, gradients that are accumulated aside."""

    size: int
    """Samples of one process."""
    processes: int

    def divided(self, preset: Preset, processes: int) -> int:
        """Return the samples of each of another number of processes. Raises RunError if that cannot be."""
        together = self.size * self.processes
        if processes == self.processes:
            return self.size
        before = named_processes(self.processes)
        counts = f"the run was trained by {before}, and would be resumed by {named_processes(processes)}"
        if preset.distributed.lr_scaling != "none":
            raise RunError(
                f"distributed.lr_scaling: {counts}, which would change the lr; resume with {before}"
            )
        if together % processes:
            raise RunError(
                f"data.batch_size: {counts}, but its {together} samples cannot be divided by {processes}; "
                f"resume with {before}, or another number that divides {together}"
            )
        return together // processes


def trained_batch(record: RunRecord, folder: RunFolder) -> TrainedBatch | None:
    """Return what a run's record says of it; None if it does not. Raises PresetError.

    The worker asks the checkpoint, which takes torch.
    """
    preset = read_preset(folder.preset_file)
    processes, samples = record.detail("processes", int) or 1, record.detail("batch_size", int)
    if not samples or samples % (each := processes * preset.training.grad_accum_steps):
        return None
    return TrainedBatch(samples // each, processes)


def named_processes(count: int) -> str:
    """Return a number of processes in words."""
    return f"{count} process{'es' * (count != 1)}"

"""The batch sizes that fit into memory, and how fast a training is with each.

A size fits if the dry run of a start passes with it: a whole optimizer step, with the preset's accumulation
and precision, and an evaluation. The samples are those of the first batch, again and again, so that nothing
is loaded again; the time is that of the step alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from torchconsole.engine.analysis import host_memory
from torchconsole.engine.analysis.check_report import print_phase
from torchconsole.engine.analysis.find_lr import with_all_threads
from torchconsole.engine.analysis.step_timing import repeated, step_seconds
from torchconsole.engine.components.data.builder import EVAL_BATCH_FACTOR
from torchconsole.engine.components.data.loader_worker import prefetched_bytes
from torchconsole.engine.components.devices import choose_device
from torchconsole.engine.components.ranks import planned_ranks
from torchconsole.engine.config.loading import read_preset
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import TorchconsoleError, TrainingError
from torchconsole.engine.protocol.events import PhaseChanged, ReportPhase
from torchconsole.engine.protocol.finder_reports import ENOUGH, BatchSizeSearch, BatchSizeTrial, Limit
from torchconsole.engine.training.dry_run import dry_run
from torchconsole.engine.training.failures import is_out_of_memory
from torchconsole.engine.training.parts import build_parts
from torchconsole.engine.training.resolve import ResolvedPreset
from torchconsole.engine.training.setup import TrainingSetup, build_setup
from torchconsole.engine.training.trial import Batch, first_batch

SMALLEST = 8
"""The search begins here, or at a smaller size of the preset; with less only if that does not fit."""

MOST_STEP_SECONDS = 5.0
"""Sizes above the preset's whose step is likely to take longer are not tried."""

NO_PRIMITIVE = "could not create a primitive"
"""What oneDNN, which computes convolutions on the CPU, says without memory."""

REFINED = 3
"""How often the range between the largest size that fits and the smallest that does not is halved."""


def batch_search_report(preset_file: str) -> BatchSizeSearch:
    """Build what the preset names, and try batch sizes within most of the free memory.

    Of several processes it is the batch size of each. On the CPU they share the memory.

    Raises ComponentError and DataError, which name the key to change, TrustError, and TrainingError if not
    even one sample fits.
    """
    preset = with_all_threads(all_trained(read_preset(Path(preset_file))))
    processes = planned_ranks(preset.distributed).size
    with host_memory.limited_memory(processes) as most:
        return find_batch(_built(preset), preset.data.batch_size, most, print_phase, processes)


def all_trained(preset: Preset) -> Preset:
    """Train all layers from the first step if the preset unfreezes some later: only then they take memory."""
    if preset.model.unfreeze_at_epoch is None:
        return preset
    model = preset.model.model_copy(update={"freeze": [], "unfreeze_at_epoch": None})
    return preset.model_copy(update={"model": model})


def _built(preset: Preset) -> TrainingSetup:
    """Build the training with the preset's batch size, or with the first half of it that fits."""
    size = preset.data.batch_size
    while True:
        config = preset.data.model_copy(update={"batch_size": size})
        try:
            parts = build_parts(
                preset.model_copy(update={"data": config}), choose_device(preset.training.device), print_phase
            )
            return build_setup(parts, print_phase)
        except (RuntimeError, MemoryError, OSError) as error:
            if not is_out_of_memory(error) or size == 1:
                raise
        size //= 2  # outside of `except`, where the error no longer keeps the tensors of the step alive
        _release_memory()


def _release_memory(model: nn.Module | None = None) -> None:
    """Give back what a step that did not fit has left."""
    if model is not None:
        model.zero_grad()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def find_batch(
    setup: TrainingSetup,
    batch_size: int,
    most: int,
    report: ReportPhase = lambda phase: None,
    processes: int = 1,
) -> BatchSizeSearch:
    """Try batch sizes that double, up to the number of training samples; then those up to what does not fit.

    `batch_size` is the preset's, which is among those tried. `most` is the memory that the process may have
    on the CPU (bytes). So many `processes` share the samples. The training's state is as before afterwards.
    Raises TrainingError if nothing fits.
    """
    trials = _Trials(setup, most, report, processes)
    first = trials.first(batch_size)
    largest, limit = trials.double(first)
    if limit == "memory":
        largest = trials.refine(largest)
    tried = trials.in_order()
    knee = find_knee({trial.batch_size: trial.samples_per_second or 0.0 for trial in tried if trial.fits})
    return BatchSizeSearch(
        device=str(setup.device),
        precision=setup.precision.name,
        batch_size=batch_size,
        grad_accum_steps=setup.preset.training.grad_accum_steps,
        processes=processes,
        train_samples=trials.samples,
        trials=tried,
        largest=largest,
        limit=limit,
        knee=knee,
        settings=[f"data.batch_size={knee}"],
    )


def find_knee(throughput: Mapping[int, float]) -> int:
    """Return the smallest number with at least ENOUGH of the best throughput."""
    best = max(throughput.values())
    return min(number for number, reached in throughput.items() if reached >= ENOUGH * best)


class _Trials:
    """Tries batch sizes and keeps what came out."""

    def __init__(self, setup: TrainingSetup, most: int, report: ReportPhase, processes: int) -> None:
        self.samples = max(1, setup.data.train.samples_per_epoch // processes)
        self._setup = setup
        self._most = most
        self._report = report
        self._tried: dict[int, BatchSizeTrial] = {}
        self._planned: list[int] = []
        self._batch = first_batch(setup)
        self._eval_batch = next(iter(setup.data.val))

    def in_order(self) -> list[BatchSizeTrial]:
        """Return the trials from the smallest size to the largest."""
        return [self._tried[size] for size in sorted(self._tried)]

    def first(self, batch_size: int) -> int:
        """Return the first size of the search. Raises TrainingError if not even one sample fits."""
        size = min(batch_size, self.samples)
        self._planned = [size]
        while size >= 2 * SMALLEST:
            size //= 2
            self._planned.insert(0, size)
        while not self._fits(size):
            if size == 1:
                raise TrainingError("out of memory: not even a batch of one sample fits; use a smaller model")
            size //= 2
        return size

    def double(self, size: int) -> tuple[int, Limit]:
        """Double a size that fits while it does. Return the last one, and what keeps it from being larger."""
        while size < self.samples:
            planned = next((one for one in self._planned if one > size), 2 * size)
            following = min(planned, self.samples)
            seconds = self._tried[size].step_seconds or 0.0
            if following in self._tried:
                return size, "memory"
            if following not in self._planned and seconds * following / size > MOST_STEP_SECONDS:
                return size, "time"
            if not self._fits(following):
                return size, "memory"
            size = following
        return size, "samples"

    def refine(self, largest: int) -> int:
        """Return the largest size that fits, found by halving the range up to the smallest that does not."""
        for _ in range(REFINED):
            too_large = min(size for size, trial in self._tried.items() if not trial.fits)
            size = (largest + too_large) // 2
            if size == largest:
                break
            if self._fits(size):
                largest = size
        return largest

    def _fits(self, size: int) -> bool:
        """Try a size, unless the sizes before say that it cannot fit."""
        self._report(
            PhaseChanged(phase="trying batch sizes", subject=f"{size:,}", done=len(self._tried), unit="tried")
        )
        trial: BatchSizeTrial | None = None
        try:
            if self._predicted(size) <= self._most:
                trial = self._measured(size)
        except (RuntimeError, MemoryError, OSError, TorchconsoleError) as error:
            if not (is_out_of_memory(error) or NO_PRIMITIVE in str(error)):
                raise
        # Outside of `except`, where the error no longer keeps the tensors of the step alive.
        if trial is None:
            _release_memory(self._setup.model)
        self._tried[size] = trial or BatchSizeTrial(batch_size=size, fits=False)
        return self._tried[size].fits

    def _predicted(self, size: int) -> int:
        """Return the memory that a size takes on the CPU, by a line through the largest two that fit (bytes).

        Data loader workers add the batches that they prepare. 0 on other devices, which refuse what is too
        much.
        """
        known = [(trial.batch_size, trial.memory) for trial in self.in_order() if trial.memory is not None]
        if self._setup.device.type != "cpu" or not known:
            return 0
        (small, low), (large, high) = known[max(0, len(known) - 2)], known[-1]
        growth = max(0, high - low) / max(1, large - small)
        return int(high + growth * (size - large)) + self._prefetched(size)

    def _prefetched(self, size: int) -> int:
        loaded = self._setup.data.one_by_one
        if loaded is None or not loaded.num_workers:
            return 0
        return prefetched_bytes(loaded.batch_bytes * size // loaded.batch_size, loaded.num_workers)

    def _measured(self, size: int) -> BatchSizeTrial:
        """Make the dry run of a start and time a step. Raises what torch raises if memory runs out."""
        setup, batch = self._sized(size), repeated(self._batch, size)
        if setup.preset.training.compile:
            torch.compiler.reset()  # or it would stop to compile after a few shapes
        host_memory.reset_peak()
        dry_run(setup, batch)
        memory = _peak(setup.device)
        seconds = step_seconds(setup, batch)
        group = min(setup.preset.training.grad_accum_steps, setup.data.train.batches_per_epoch)
        return BatchSizeTrial(
            batch_size=size,
            fits=True,
            step_seconds=seconds,
            samples_per_second=size * group / seconds,
            memory=memory,
        )

    def _sized(self, size: int) -> TrainingSetup:
        """Return the training with another batch size; nothing is loaded."""
        setup = self._setup
        config = setup.preset.data.model_copy(update={"batch_size": size})
        evaluated = min(config.eval_batch_size or EVAL_BATCH_FACTOR * size, setup.data.val.samples)
        data = dataclasses.replace(
            setup.data,
            train=_FullBatches(self._batch, size, self.samples),
            val=_FullBatches(self._eval_batch, evaluated, setup.data.val.samples),
            test=None,
            one_by_one=None,
        )
        preset = ResolvedPreset(setup.preset.model_copy(update={"data": config}))
        return dataclasses.replace(setup, data=data, preset=preset)


@dataclass(frozen=True)
class _FullBatches:
    """A set of at most `most` samples in full batches of `size`, made of the samples of one batch."""

    batch: Batch
    size: int
    most: int

    @property
    def batches_per_epoch(self) -> int:
        """See `TrainBatches`."""
        return self.most // self.size

    @property
    def samples_per_epoch(self) -> int:
        """See `TrainBatches`."""
        return self.batches_per_epoch * self.size

    samples = samples_per_epoch
    """See `EvalBatches`."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """See `TrainBatches.epoch`."""
        for _ in range(start, self.batches_per_epoch):
            yield repeated(self.batch, self.size)

    def __iter__(self) -> Iterator[Batch]:
        return self.epoch(0)


def _peak(device: torch.device) -> int | None:
    """Return the peak of the memory on a GPU since the dry run began, or that of the process (bytes)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return host_memory.peak() if device.type == "cpu" else None

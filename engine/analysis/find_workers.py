"""How fast data loader workers load the training set, and how fast a training is with each number of them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from torchconsole.engine.analysis.check_report import print_phase
from torchconsole.engine.analysis.find_batch import find_knee
from torchconsole.engine.analysis.find_lr import with_all_threads
from torchconsole.engine.analysis.step_timing import step_seconds, trial_step
from torchconsole.engine.components.data.loader import LoaderTrainBatches
from torchconsole.engine.components.data.loader_worker import PREFETCH_FACTOR
from torchconsole.engine.components.devices import choose_device
from torchconsole.engine.components.ranks import planned_ranks
from torchconsole.engine.config.loading import read_preset
from torchconsole.engine.protocol.events import PhaseChanged, ReportPhase
from torchconsole.engine.protocol.finder_reports import ENOUGH, LoaderSearch, LoaderTrial
from torchconsole.engine.run.cgroups import usable_cores
from torchconsole.engine.training.meter import LossMeter
from torchconsole.engine.training.parts import build_parts
from torchconsole.engine.training.progress import Progress
from torchconsole.engine.training.setup import TrainingSetup, build_setup
from torchconsole.engine.training.step import TrainingStep
from torchconsole.engine.training.trial import Batch, first_batch

SECONDS = 3.0
"""How long loading, and training on what is loaded, are measured with each number of workers."""


def loader_search_report(preset_file: str) -> LoaderSearch:
    """Build what the preset names, and try numbers of data loader workers.

    Of several processes it is the number of workers of each; they share the cores.

    Raises ComponentError and DataError, which name the key to change, and TrustError.
    """
    preset = with_all_threads(read_preset(Path(preset_file)))
    parts = build_parts(preset, choose_device(preset.training.device), print_phase)
    processes = planned_ranks(preset.distributed).size
    cores = max(1, usable_cores() // processes)
    found = find_workers(build_setup(parts, print_phase), cores, print_phase)
    return found.model_copy(update={"processes": processes})


def find_workers(
    setup: TrainingSetup, cores: int, report: ReportPhase = lambda phase: None, seconds: float = SECONDS
) -> LoaderSearch:
    """Try 0, 1, 2, 4 and so on workers, up to one for each of the `cores`; each for about twice `seconds`.

    The training's state is as before afterwards, and so is the number of workers.
    """
    training, batch = setup.preset.training, first_batch(setup)
    group = min(training.grad_accum_steps, setup.data.train.batches_per_epoch)
    found = LoaderSearch(
        device=str(setup.device),
        precision=setup.precision.name,
        batch_size=setup.preset.data.batch_size,
        num_workers=0,
        cores=cores,
        computed=group * len(batch[1]) / step_seconds(setup, batch),
    )
    loaded = setup.data.one_by_one
    if loaded is None or not any(isinstance(each, LoaderTrainBatches) for each in loaded.batches):
        return found
    before, limit = loaded.num_workers, loaded.workers_on(cores)
    trials: list[LoaderTrial] = []
    counts = _counts(limit.count)
    for count in counts:
        report(
            PhaseChanged(
                phase="trying data loader workers", subject=str(count), done=len(trials), total=len(counts)
            )
        )
        loaded.use_workers(count)
        trials.append(_tried(setup, count, seconds))
        if not count and trials[0].loaded * (1 - ENOUGH) >= found.computed:
            break  # loading takes a tenth of the time at most, so that workers would gain no more
    loaded.use_workers(before)
    knee = find_knee({trial.num_workers: trial.trained for trial in trials})
    at_knee = next(trial for trial in trials if trial.num_workers == knee)
    return found.model_copy(
        update={
            "num_workers": before,
            "trials": trials,
            "knee": knee,
            "bound": "data" if at_knee.loaded < ENOUGH * found.computed else "computation",
            "advice": limit.advice,
            "settings": [f"data.num_workers={knee}"],
        }
    )


def _counts(most: int) -> list[int]:
    """Return 0, 1, 2, 4 and so on, and `most`."""
    doubled = itertools.takewhile(lambda count: count < most, (2**power for power in itertools.count()))
    return sorted({0, *doubled, most})


def _tried(setup: TrainingSetup, count: int, seconds: float) -> LoaderTrial:
    """Measure the loader alone, then a training on what it loads (samples per second)."""
    with trial_step(setup) as (step, progress, meter):
        batches = _endless(setup, step, progress)
        # Each worker has prepared some batches when the first one is there: they come without waiting.
        for _ in range(1 + PREFETCH_FACTOR * count):
            next(batches)
        loaded = _rate(batches, seconds, lambda batch: None)
        trained = _rate(batches, seconds, lambda batch: step(*batch), meter)
    return LoaderTrial(num_workers=count, loaded=loaded, trained=trained)


def _endless(setup: TrainingSetup, step: TrainingStep, progress: Progress) -> Iterator[Batch]:
    """Yield the training batches of epoch after epoch."""
    for epoch in itertools.count():
        progress.batch = 0
        step.begin_epoch()
        yield from setup.data.train.epoch(epoch)


def _rate(
    batches: Iterator[Batch], seconds: float, use: Callable[[Batch], object], meter: LossMeter | None = None
) -> float:
    """Return the samples per second of reading batches and using them; the `meter` waits for the device."""
    samples, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        batch = next(batches)
        use(batch)
        samples += len(batch[1])
    if meter is not None:
        meter.read()
    return samples / (time.perf_counter() - begin)

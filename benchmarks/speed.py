"""Measures one workload: every variant in turn, round after round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean

from benchmarks.live import live_run
from benchmarks.paired_stats import interleave
from benchmarks.variants import TrainingResult, Variant, build, in_process_variants
from benchmarks.workloads import Workload
from torchconsole.engine.components.torchvision_compat import prepare_torchvision


@dataclass(frozen=True)
class Effort:
    """How much to measure: rounds, and seconds of each window of a live run."""

    rounds: int
    window: float


FULL, QUICK = Effort(rounds=5, window=3.0), Effort(rounds=3, window=1.5)
HAS_LIGHTNING = find_spec("lightning") is not None


@dataclass(frozen=True)
class Speeds:
    """The results of a workload; `rates` and `losses` hold one value a round for each variant."""

    workload: str
    label: str
    device: str
    threads: int
    cores: int
    batch_size: int
    samples_per_epoch: int
    epochs: int
    rates: dict[str, list[float]]
    """Samples per second."""
    losses: dict[str, list[float]]
    """Training loss, averaged over all epochs."""
    updates: dict[str, int]
    """Optimizer steps of each variant that trains from the first step; they should all be equal."""
    console: dict[str, list[float]] = field(default_factory=dict)


def measure(workload: Workload, cores: int, runs_dir: Path, effort: Effort) -> Speeds:
    """Warm up, then measure. The seed is the number of the round, so it is the same for all variants."""
    example = build(workload, 1, 0)
    for train in _variants(workload, 1).values():
        train(0)
    turns = [_as_turn(name, train) for name, train in _variants(workload, workload.epochs).items()]
    with live_run(workload, runs_dir, example, effort.window) as live:
        results = interleave([*turns, live.turn], effort.rounds * workload.repeats)
    from_first_step = {name: trained for name, trained in results.items() if trained[0].losses}
    return Speeds(
        workload=workload.name,
        label=workload.label,
        device=workload.device,
        threads=workload.threads,
        cores=cores,
        batch_size=example.preset.data.batch_size,
        samples_per_epoch=example.data.train.samples_per_epoch,
        epochs=workload.epochs,
        rates={name: [one.rate for one in trained] for name, trained in results.items()},
        losses={name: [fmean(one.losses) for one in trained] for name, trained in from_first_step.items()},
        updates={name: trained[0].updates for name, trained in from_first_step.items()},
        console=vars(live.console_costs),
    )


def _variants(workload: Workload, epochs: int) -> dict[str, Variant]:
    variants = in_process_variants(workload, epochs)
    # The overhead of Lightning's loop shows on a CPU; on a GPU it would not use the others' precision.
    if HAS_LIGHTNING and workload.device == "cpu":
        prepare_torchvision()  # Lightning imports torchmetrics, which imports torchvision
        from benchmarks.lightning_variants import lightning_variants

        variants |= lightning_variants(workload, epochs)
    return variants


def _as_turn(name: str, train: Variant) -> Callable[[int], dict[str, TrainingResult]]:
    return lambda number: {name: train(number)}

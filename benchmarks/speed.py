"""Measures one workload: every arm in turn, round after round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean

from benchmarks.live import live_run
from benchmarks.paired_stats import interleaved
from benchmarks.variants import Arm, Trained, arms_of, build
from benchmarks.workloads import Workload
from torchconsole.engine.components.torchvision_compat import prepare_torchvision


@dataclass(frozen=True)
class Effort:
    """How much is measured: rounds, and seconds of each window on a live run."""

    rounds: int
    window: float


FULL, QUICK = Effort(rounds=5, window=3.0), Effort(rounds=3, window=1.5)
HAS_LIGHTNING = find_spec("lightning") is not None


@dataclass(frozen=True)
class Speeds:
    """What came of a workload. By arm, round after round: samples per second, mean loss over all epochs."""

    workload: str
    label: str
    device: str
    threads: int
    cores: int
    batch_size: int
    samples_per_epoch: int
    epochs: int
    rates: dict[str, list[float]]
    losses: dict[str, list[float]]
    updates: dict[str, int]
    """Optimizer steps of each arm that trains from the first step, the same number for all of them."""
    console: dict[str, list[float]] = field(default_factory=dict)


def measure(workload: Workload, cores: int, runs_dir: Path, effort: Effort) -> Speeds:
    """Warm up, then measure. The seed is the round's number, for all arms alike."""
    example = build(workload, 1, 0)
    for arm in _arms(workload, 1).values():
        arm(0)
    turns = [_as_turn(name, arm) for name, arm in _arms(workload, workload.epochs).items()]
    with live_run(workload, runs_dir, example, effort.window) as live:
        results = interleaved([*turns, live.turn], effort.rounds * workload.repeats)
    whole = {name: trained for name, trained in results.items() if trained[0].losses}
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
        losses={name: [fmean(one.losses) for one in trained] for name, trained in whole.items()},
        updates={name: trained[0].updates for name, trained in whole.items()},
        console=vars(live.watched),
    )


def _arms(workload: Workload, epochs: int) -> dict[str, Arm]:
    arms = arms_of(workload, epochs)
    # What Lightning's loop costs shows on a CPU, and it would not compute in the precision of the others.
    if HAS_LIGHTNING and workload.device == "cpu":
        prepare_torchvision()  # Lightning imports torchmetrics, which imports it
        from benchmarks.lightning_variants import lightning_arms

        arms |= lightning_arms(workload, epochs)
    return arms


def _as_turn(name: str, arm: Arm) -> Callable[[int], dict[str, Trained]]:
    return lambda number: {name: arm(number)}

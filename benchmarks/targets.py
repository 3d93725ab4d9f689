"""What the project wants to reach, and what was reached."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.figures import Figure
from benchmarks.paired_stats import Ratio, fastest, paired, summed_up
from benchmarks.speed import Speeds
from benchmarks.variants import ATTACHED, PLAIN, RICH, TUTORIAL, UNATTENDED

BEST_PLAIN = "best plain"

AIMS = (
    ("cpu", "digits-mlp", ATTACHED, TUTORIAL, 2.0),
    ("cpu", "digits-mlp", ATTACHED, BEST_PLAIN, 0.9),
    ("cpu", "digits-mlp", ATTACHED, RICH, 8.0),
    ("cpu", "digits-cnn", UNATTENDED, TUTORIAL, 1.3),
    ("cpu", "SimpleCNNv3", UNATTENDED, TUTORIAL, 1.0),
    ("cpu", "SimpleCNNv3", UNATTENDED, BEST_PLAIN, 0.97),
    ("cuda", "SimpleCNNv3", UNATTENDED, TUTORIAL, 5.0),
    ("cuda", "ResNet9", UNATTENDED, TUTORIAL, 5.0),
)
"""Device, workload, our arm, the arm it is compared with, and the median of paired ratios to reach."""

CORE_FREE, ALL_BUSY = 0.99, 0.95
"""Of attached to unattended, over all workloads that leave a core free, and over those that take them all."""


@dataclass(frozen=True)
class Reached:
    """A figure beside its aim: at least `aim`, or at most where `is_limit`."""

    what: str
    value: float
    aim: float
    is_limit: bool = False

    @property
    def met(self) -> bool:
        """Whether it is as good as wanted."""
        return self.value <= self.aim if self.is_limit else self.value >= self.aim


def compared(speeds: Speeds, arm: str, other: str) -> Ratio | None:
    """Samples per second of one arm to those of another, by round; None where one was not measured."""
    name = fastest(speeds.rates, PLAIN) if other == BEST_PLAIN else other
    if arm not in speeds.rates or name not in speeds.rates:
        return None
    return paired(speeds.rates[arm], speeds.rates[name])


def reached(all_speeds: Sequence[Speeds], figures: Iterable[Figure]) -> list[Reached]:
    """Every aim that something was measured for, workload by workload."""
    results = []
    for device, name, arm, other, aim in AIMS:
        for speeds in all_speeds:
            is_meant = speeds.device == device and speeds.workload.startswith(name)
            ratio = compared(speeds, arm, other) if is_meant else None
            if ratio is not None:
                results.append(Reached(f"{speeds.label}: {arm} / {other}", ratio.median, aim))
    results += _attendance(all_speeds)
    results += [Reached(figure.name, figure.value, figure.most, True) for figure in figures if figure.most]
    return results


def _attendance(all_speeds: Sequence[Speeds]) -> list[Reached]:
    results = []
    for busy, what, aim in ((False, "a core free", CORE_FREE), (True, "all cores busy", ALL_BUSY)):
        ratios = [
            attached / unattended
            for speeds in all_speeds
            if (speeds.device == "cpu" and speeds.threads >= speeds.cores) == busy
            for attached, unattended in zip(
                speeds.rates.get(ATTACHED, []), speeds.rates.get(UNATTENDED, []), strict=True
            )
        ]
        if ratios:
            results.append(Reached(f"attached / unattended, {what}", summed_up(ratios).median, aim))
    return results

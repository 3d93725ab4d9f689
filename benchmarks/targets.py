"""The project's performance targets, and whether the measurements meet them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.figures import Figure
from benchmarks.paired_stats import Ratio, fastest, paired_ratio, summarize
from benchmarks.speed import Speeds
from benchmarks.variants import ATTACHED, PLAIN, RICH, TUTORIAL, UNATTENDED

BEST_PLAIN = "best plain"

TARGETS = (
    ("cpu", "digits-mlp", ATTACHED, TUTORIAL, 2.0),
    ("cpu", "digits-mlp", ATTACHED, BEST_PLAIN, 0.9),
    ("cpu", "digits-mlp", ATTACHED, RICH, 8.0),
    ("cpu", "digits-cnn", UNATTENDED, TUTORIAL, 1.3),
    ("cpu", "SimpleCNNv3Wide", UNATTENDED, TUTORIAL, 1.0),
    ("cpu", "SimpleCNNv3Wide", UNATTENDED, BEST_PLAIN, 0.97),
    ("cuda", "SimpleCNNv3Wide", UNATTENDED, TUTORIAL, 5.0),
    ("cuda", "ResNet9", UNATTENDED, TUTORIAL, 5.0),
)
"""Device, prefix of the workload's name, variant, baseline variant, and the smallest median ratio wanted."""

CORE_FREE_TARGET, ALL_BUSY_TARGET = 0.99, 0.95
"""Targets for attached / unattended: over the workloads that leave a core free, and over the others."""


@dataclass(frozen=True)
class TargetResult:
    """A measured value and its target: a lower bound, or an upper bound if `is_limit`."""

    what: str
    value: float
    target: float
    is_limit: bool = False

    @property
    def met(self) -> bool:
        """Whether the value meets the target."""
        return self.value <= self.target if self.is_limit else self.value >= self.target


def compare_variants(speeds: Speeds, variant: str, baseline: str) -> Ratio | None:
    """Paired ratio of two variants' samples per second; None if one of them was not measured."""
    name = fastest(speeds.rates, PLAIN) if baseline == BEST_PLAIN else baseline
    if variant not in speeds.rates or name not in speeds.rates:
        return None
    return paired_ratio(speeds.rates[variant], speeds.rates[name])


def check_targets(all_speeds: Sequence[Speeds], figures: Iterable[Figure]) -> list[TargetResult]:
    """Check each target that was measured, workload by workload."""
    results = []
    for device, prefix, variant, baseline, target in TARGETS:
        for speeds in all_speeds:
            applies = speeds.device == device and speeds.workload.startswith(prefix)
            ratio = compare_variants(speeds, variant, baseline) if applies else None
            if ratio is not None:
                what = f"{speeds.label}: {variant} / {baseline}"
                results.append(TargetResult(what, ratio.median, target))
    results += _check_console_cost(all_speeds)
    results += [
        TargetResult(figure.name, figure.value, figure.most, is_limit=True)
        for figure in figures
        if figure.most
    ]
    return results


def _check_console_cost(all_speeds: Sequence[Speeds]) -> list[TargetResult]:
    """How much an attached console slows the training down, over all workloads on the CPU."""
    results = []
    for busy, what, target in (
        (False, "a core free", CORE_FREE_TARGET),
        (True, "all cores busy", ALL_BUSY_TARGET),
    ):
        ratios = [
            attached / unattended
            for speeds in all_speeds
            if (speeds.device == "cpu" and speeds.threads >= speeds.cores) == busy
            for attached, unattended in zip(
                speeds.rates.get(ATTACHED, []), speeds.rates.get(UNATTENDED, []), strict=True
            )
        ]
        if ratios:
            results.append(TargetResult(f"attached / unattended, {what}", summarize(ratios).median, target))
    return results

"""Runs side by side: their metrics, the settings that differ, and runs that differ in the seed alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from torchconsole.engine.config.comparison import SEED, Settings, differing_keys, flatten, seed_groups
from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol.run_state import History, RunState
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.imported import SECTION
from torchconsole.engine.run.recorded_history import read_run_patiently
from torchconsole.tui.metric_direction import is_higher_better, monitored_metric
from torchconsole.tui.metric_values import best_row

if TYPE_CHECKING:
    from torchconsole.engine.protocol.series import Series
    from torchconsole.engine.run.record import RunRecord

MEASURED = ("data.normalize", "data.scale_target", "data.vocabulary")
"""Keys that a run measures on its training samples, which the seed chooses."""

MOST_RUNS = 6
"""Runs that can be compared at a time: there are as many colors."""


@dataclass(frozen=True)
class ComparedRun:
    """A run with its history. `problem` says why it cannot be read."""

    record: RunRecord
    state: RunState | None = None
    history: History = field(default_factory=dict)
    settings: Settings = field(default_factory=dict)
    problem: str = ""

    @property
    def is_imported(self) -> bool:
        """Whether it was imported from another tool."""
        return any(key.startswith(f"{SECTION}.") for key in self.settings)

    @property
    def counts_epochs(self) -> bool:
        """Whether its steps are epochs, as of a table that has no other step."""
        return self.is_imported and self.state is not None and self.state.steps_per_epoch == 1

    def series(self, metric: str) -> Series | None:
        """Return the history of a metric; None without any value."""
        found = self.history.get(metric)
        return found if found is not None and len(found) else None

    def final(self, metric: str) -> float | None:
        """Return the latest value of a metric."""
        series = self.series(metric)
        return None if series is None else float(series.values[-1])

    def best(self, metric: str) -> tuple[int, float] | None:
        """Return the step and the best finite value; of a thinned history, the step of its bucket.

        None for what has no split, such as the lr: no value of it is better than another.
        """
        if "/" not in metric:
            return None
        best = self.record.best
        if best and best["metric"] == metric:
            return best["step"], best["value"]
        series = self.series(metric)
        if series is None:
            return None
        return best_row(series.rows, higher=is_higher_better(self.record, metric))

    def value_at(self, metric: str, step: float) -> float | None:
        """Return the last value at or before a step; None before the first and after the last one."""
        series = self.series(metric)
        if series is None or step > series.steps[-1]:
            return None
        index = int(np.searchsorted(series.steps, step, side="right")) - 1
        return None if index < 0 else float(series.values[index])


@dataclass(frozen=True)
class SeedGroup:
    """Runs that differ in the seed alone, by their index."""

    members: Sequence[int]

    def statistics(self, values: Sequence[float | None]) -> tuple[float, float, float] | None:
        """Return mean, minimum and maximum of the finite ones among all runs' values; None without one."""
        found = [
            value for index in self.members if (value := values[index]) is not None and math.isfinite(value)
        ]
        return (sum(found) / len(found), min(found), max(found)) if found else None


@dataclass(frozen=True)
class Comparison:
    """Runs that are compared, in the order in which they were named."""

    runs: Sequence[ComparedRun]

    @property
    def metrics(self) -> list[str]:
        """All metrics: those of most runs first; then those that decide the best, evaluations, the rest."""
        monitored = dict.fromkeys(monitored_metric(run.record) for run in self.runs if not run.problem)
        logged = Counter(name for run in self.runs for name in run.history)
        rest = sorted(logged, key=lambda name: (not name.startswith("val/"), not name.startswith("train/")))
        names = [name for name in dict.fromkeys([*monitored, *rest]) if name in logged]
        return sorted(names, key=lambda name: -logged[name])

    @property
    def differing(self) -> list[str]:
        """The settings that differ between the runs that can be read, without what follows from the seed.

        Those of another tool have other names, so that they are compared among imported runs alone, and all
        shown beside runs of torchconsole.
        """
        imported = [run.settings for run in self.runs if run.is_imported]
        own = [run.settings for run in self.runs if run.settings and not run.is_imported]
        keys = differing_keys([*imported, {}] if own and imported else imported)
        keys += differing_keys(own)
        return [key for key in keys if SEED not in keys or not key.startswith(MEASURED)]

    @property
    def groups(self) -> list[SeedGroup]:
        """The runs that differ in the seed alone."""
        readable = [index for index, run in enumerate(self.runs) if run.settings]
        found = seed_groups([self.runs[index].settings for index in readable])
        return [SeedGroup([readable[each] for each in group]) for group in found]


def read_compared(record: RunRecord) -> ComparedRun:
    """Read a run from its files. Never raises for what is in them."""
    folder = RunFolder(Path(record.folder))
    try:
        state, history = read_run_patiently(folder)
        return ComparedRun(folder.read_record(), state, history, flatten(state.config))
    except (RunError, OSError) as error:
        return ComparedRun(record, problem=str(error))


def to_json(comparison: Comparison, metrics: Sequence[str]) -> dict[str, Any]:
    """Return the comparison for scripts. Values that are not finite are null."""
    runs = comparison.runs
    return {
        "runs": [_run_json(run, metrics) for run in runs],
        "settings": {
            key: {run.record.name: run.settings.get(key) for run in runs} for key in comparison.differing
        },
        "same_but_seed": [
            {
                "runs": [runs[index].record.name for index in group.members],
                "seeds": [runs[index].settings.get(SEED) for index in group.members],
                "metrics": {name: _group_json(comparison, group, name) for name in metrics},
            }
            for group in comparison.groups
        ],
    }


def _run_json(run: ComparedRun, metrics: Sequence[str]) -> dict[str, Any]:
    return {
        "name": run.record.name,
        "folder": run.record.folder,
        "preset": run.record.preset,
        "status": run.record.status,
        "step": run.record.step,
        "epoch": run.record.epoch,
        "seconds": None if run.state is None else run.state.active_seconds,
        "tags": run.record.tags,
        "problem": run.problem,
        "metrics": {name: _metric_json(run, name) for name in metrics if run.series(name) is not None},
    }


def _metric_json(run: ComparedRun, metric: str) -> dict[str, Any]:
    best = run.best(metric)
    higher = is_higher_better(run.record, metric)
    return {
        "best": None if best is None else best[1],
        "best_step": None if best is None else best[0],
        "final": finite_or_none(run.final(metric)),
        "mode": "max" if higher else "min",
    }


def _group_json(comparison: Comparison, group: SeedGroup, metric: str) -> dict[str, Any]:
    bests = [best[1] if (best := run.best(metric)) else None for run in comparison.runs]
    finals = [run.final(metric) for run in comparison.runs]
    named = ("mean", "min", "max")
    return {
        kind: None if found is None else dict(zip(named, found, strict=True))
        for kind, found in (("best", group.statistics(bests)), ("final", group.statistics(finals)))
    }


def finite_or_none(value: float | None) -> float | None:
    """Return a finite number, else None."""
    return value if value is not None and math.isfinite(value) else None

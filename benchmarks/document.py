"""The document that a measurement comes to, benchmarks/results.json: tables are made from it alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure
from benchmarks.paired_stats import alike, fastest, paired
from benchmarks.speed import Speeds
from benchmarks.targets import reached
from benchmarks.variants import OURS, PLAIN, TUTORIAL

RESULTS = Path(__file__).with_name("results.json")

Document = dict[str, Any]


def compose(about: Document, all_speeds: Sequence[Speeds], figures: Sequence[Figure]) -> Document:
    """Everything measured, with what it comes to; `about` says where, when and how."""
    return {
        **about,
        "workloads": [_workload(speeds) for speeds in all_speeds],
        "figures": [asdict(figure) for figure in figures],
        "reach": [asdict(result) | {"met": result.met} for result in reached(all_speeds, figures)],
    }


def write(document: Document, path: Path = RESULTS) -> None:
    """Write it down."""
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def read(path: Path = RESULTS) -> Document:
    """What `write` has written."""
    document: Document = json.loads(path.read_text(encoding="utf-8"))
    return document


def _workload(speeds: Speeds) -> Document:
    best = fastest(speeds.rates, PLAIN)
    return {
        **asdict(speeds),
        "ratios": {arm: asdict(paired(rates, speeds.rates[TUTORIAL])) for arm, rates in speeds.rates.items()},
        "best_plain": best,
        "to_best_plain": {
            arm: asdict(paired(rates, speeds.rates[best])) for arm, rates in speeds.rates.items()
        },
        "equal_updates": len(set(speeds.updates.values())) == 1,
        "equal_losses": alike(speeds.losses[OURS], speeds.losses[PLAIN[0]]),
    }

"""The results document, benchmarks/results.json; the printed tables and docs/figures.md are made from it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.figures import Figure
from benchmarks.paired_stats import fastest, losses_match, paired_ratio
from benchmarks.speed import Speeds
from benchmarks.targets import check_targets
from benchmarks.variants import OURS, PLAIN, TUTORIAL

RESULTS = Path(__file__).with_name("results.json")
PACKAGES = ("torch", "textual", "rich", "numpy", "lightning")

Document = dict[str, Any]


def compose(metadata: Document, all_speeds: Sequence[Speeds], figures: Sequence[Figure]) -> Document:
    """Combine all measurements with their ratios and target checks.

    `metadata` says where, when and how they were measured.
    """
    return {
        **metadata,
        "workloads": [_workload(speeds) for speeds in all_speeds],
        "figures": [asdict(figure) for figure in figures],
        "targets": [asdict(result) | {"met": result.met} for result in check_targets(all_speeds, figures)],
    }


def write(document: Document, path: Path = RESULTS) -> None:
    """Write the document as JSON."""
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def read(path: Path = RESULTS) -> Document:
    """Read a document that `write` wrote."""
    document: Document = json.loads(path.read_text(encoding="utf-8"))
    return document


def environment() -> Document:
    """Collect what is recorded with every result: date, commit, machine and versions."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": _commit(),
        "machine": _machine(),
        "versions": _versions(),
    }


def _workload(speeds: Speeds) -> Document:
    best = fastest(speeds.rates, PLAIN)
    tutorial = speeds.rates[TUTORIAL]
    return {
        **asdict(speeds),
        "ratios": {name: asdict(paired_ratio(rates, tutorial)) for name, rates in speeds.rates.items()},
        "best_plain": best,
        "to_best_plain": {
            name: asdict(paired_ratio(rates, speeds.rates[best])) for name, rates in speeds.rates.items()
        },
        "equal_updates": len(set(speeds.updates.values())) == 1,
        "equal_losses": losses_match(speeds.losses[OURS], speeds.losses[PLAIN[0]]),
    }


def _machine() -> dict[str, str | int | float]:
    """Processor, cores, memory, system, GPU, and the load average before the measurement."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "load_before": round(os.getloadavg()[0], 2),
    }


def _versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that the figures depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    """The checkout's commit, marked `-dirty` if files differ from it; empty outside a git checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()

"""Several processes in words: their batch, their lr, and which of them the others wait for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len

from torchconsole.engine.protocol.events import RanksMeasured
from torchconsole.engine.protocol.rank_loads import RankLoad, Straggler, find_straggler
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_lr, format_number

MOST_NAMED = 8
"""Silent processes that are listed."""

SILENT_SECONDS = 7.0
"""A process measures every two seconds; after this time without news its age is shown."""


def describe_batch(run: RunState) -> str:
    """Return the samples of a step and what they are the product of: `256 = 4 x 32 x 2`.

    The factors are the processes, `data.batch_size` and `training.grad_accum_steps`. A program of the user's
    has no such keys: what its processes have lately read for a step is measured. Empty if unknown.
    """
    if run.batch_size is None:
        samples = _samples_of_all(run)
        return "" if samples is None else f"{samples:,.0f}"
    size, steps = _number(run, "data", "batch_size"), _number(run, "training", "grad_accum_steps") or 1
    if size is None or run.processes * size * steps != run.batch_size:
        return f"{run.batch_size:,}"
    factors = [run.processes, int(size), *([int(steps)] if steps > 1 else [])]
    return f"{run.batch_size:,} = {' x '.join(f'{factor:,}' for factor in factors)}"


def speed_of_all(run: RunState) -> float | None:
    """Return the samples that all processes train on per second; None if unknown."""
    if (speed := run.metrics.get("samples_per_sec")) is not None:
        return speed
    samples = _samples_of_all(run)
    seconds = [load.step_seconds for load in run.ranks.ranks if load.step_seconds] if run.ranks else []
    return samples * len(seconds) / sum(seconds) if samples and seconds else None


def _samples_of_all(run: RunState) -> float | None:
    """Return the samples of a step, as all processes have measured theirs; None unless all have."""
    counts = [load.samples for load in run.ranks.ranks] if run.ranks else []
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == run.processes else None


def describe_lr(run: RunState) -> str:
    """Return how `distributed.lr_scaling` has changed the lr: `0.2 = 0.1 x 2 (linear)`; or nothing."""
    scaling, lr = _value(run, "distributed", "lr_scaling"), _number(run, "optimizer", "lr")
    if lr is None or run.processes < 2 or scaling not in ("linear", "sqrt"):
        return ""
    factor = run.processes if scaling == "linear" else math.sqrt(run.processes)
    return f"{format_lr(lr * factor)} = {format_lr(lr)} x {format_lr(factor)} ({scaling})"


def describe_straggler(found: Straggler, width: int | None = None) -> str:
    """Say which process the others wait for, how long, and why; in at most `width` cells if that can be."""
    load, behind = found.load, format_milliseconds(found.behind)
    where = f"rank {load.rank} ({printable(load.host)}, {load.device})"
    does = cause_of(found)
    texts = (
        f"{where} {does}: the others wait {behind} of each step for it",
        f"{where} {does}: others wait {behind} a step",
        f"rank {load.rank} {does}: others wait {behind} a step",
        f"rank {load.rank} {does}: +{behind}",
    )
    return next((text for text in texts if width is None or cell_len(text) <= width), texts[-1])


def cause_of(found: Straggler) -> str:
    """Return what a straggler does longer than the others."""
    return "waits for data" if found.cause == "data" else "computes slowly"


def describe_silence(loads: Sequence[RankLoad], now: float, width: int) -> str:
    """Say which processes have not been heard from, and how long."""
    seconds = f"{now - min(load.heard for load in loads):.0f} s"
    word = "ranks" if len(loads) > 1 else "rank"
    more = f" and {len(loads) - MOST_NAMED} more" if len(loads) > MOST_NAMED else ""
    named = ", ".join(f"{load.rank} ({printable(load.host)})" for load in loads[:MOST_NAMED])
    text = f"no news from {word} {named}{more} for {seconds}"
    if cell_len(text) <= width:
        return text
    return f"no news from {word} {', '.join(f'{load.rank}' for load in loads[:MOST_NAMED])}{more}: {seconds}"


def why_no_straggler(ranks: RanksMeasured, run: RunState) -> str:
    """Say why no process is named as the straggler."""
    if run.status == "paused":
        return "paused: the times are those of the last steps"
    processes = run.processes
    missing = processes - len(ranks.ranks)
    if missing > 0:
        return f"not heard from {missing} of {processes} processes yet"
    if any(load.step_seconds is None for load in ranks.ranks):
        return "steps are not measured yet"
    if any(load.communication_seconds is None for load in ranks.ranks):
        return "waits for other processes are measured with DistributedDataParallel only"
    return "no straggler: no process needs 10 % longer for its own part of a step than the others"


def straggler_of(run: RunState) -> Straggler | None:
    """Return the process that the others wait for, if there is one. In a pause, none waits for another."""
    return find_straggler(run.ranks.ranks) if run.ranks and run.status != "paused" else None


def silence_of(load: RankLoad, ranks: RanksMeasured) -> str:
    """Return how long a process has not been heard from; empty while it is."""
    age = ranks.time - load.heard
    return f"last heard {age:.0f} s ago" if age >= SILENT_SECONDS else ""


def format_milliseconds(seconds: float) -> str:
    """Format the time of a step: `0.85 ms`, `52.1 ms`, `1.5 s`."""
    return f"{format_number(seconds)} s" if seconds >= 1 else f"{format_number(1000 * seconds)} ms"


def _value(run: RunState, section: str, key: str) -> Any:
    values = run.config.get(section)
    return values.get(key) if isinstance(values, dict) else None


def _number(run: RunState, section: str, key: str) -> float | None:
    value = _value(run, section, key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None

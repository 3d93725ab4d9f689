"""What `torchconsole.run` costs a step of a program's own loop, beside the bare loop, without a client.

The model is tiny, so that the cost shows, and all loops run by turns in one process with one thread. What is
measured is the time of the processor, that of the server's thread included: on a shared machine, the time
by the clock tells more about the other programs. What a step takes longer is the difference of the times
outside of the forward and backward pass, whose time varies by more from turn to turn.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from statistics import median

import torch
from torch import Tensor, nn

import torchconsole
from benchmarks.figures import Figure
from benchmarks.paired_stats import interleave, paired_ratio

STEPS, QUICK_STEPS = 20_000, 10_000
"""Steps of a loop in a round."""

Log = Callable[[Tensor], object]


def figures(*, quick: bool) -> list[Figure]:
    """The microseconds that a step takes longer, and the ratio; the same with TORCHCONSOLE=off."""
    steps = QUICK_STEPS if quick else STEPS
    rounds = 3 if quick else 7
    turns = [partial(_bare, steps), partial(_own, steps, "on"), partial(_own, steps, "off")]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with _temporary_runs():
        interleave(turns, 1)
        times = interleave(turns, rounds)
    torch.set_num_threads(threads)
    added = {name: _added(times[f"{name}, outside"], times["bare, outside"]) for name in ("on", "off")}
    ratio = {name: paired_ratio(times[name], times["bare"]).median for name in added}
    return [
        Figure("a step with torchconsole.run, more than the bare loop", added["on"], "us", most=30.0),
        Figure("a step with torchconsole.run / a step of the bare loop", ratio["on"], ""),
        Figure("a step with TORCHCONSOLE=off, more than the bare loop", added["off"], "us"),
        Figure("a step with TORCHCONSOLE=off / a step of the bare loop", ratio["off"], ""),
    ]


def _added(times: list[float], bare: list[float]) -> float:
    """Return the median of what a step takes longer, in microseconds."""
    return 1e6 * median(one - other for one, other in zip(times, bare, strict=True))


def _bare(steps: int, _number: int) -> dict[str, float]:
    model, optimizer, batches = _parts(steps)
    return _train("bare", model, optimizer, batches, None)


def _own(steps: int, mode: str, _number: int) -> dict[str, float]:
    os.environ["TORCHCONSOLE"] = mode
    model, optimizer, batches = _parts(steps)
    with torchconsole.run("cost") as run:
        run.keep(model=model, optimizer=optimizer)
        for _ in run.epochs(1):
            times = _train(mode, model, optimizer, run.steps(batches), lambda loss: run.log(loss=loss))
    return times


def _train(
    name: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[tuple[Tensor, Tensor]],
    log: Log | None,
) -> dict[str, float]:
    """Train; return the seconds of a step, and those of them outside of the forward and backward pass."""
    count, begin, inside = 0, 0.0, 0.0
    for x, y in batches:
        begin = begin or time.process_time()
        own = time.thread_time()
        loss = (model(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        inside += time.thread_time() - own
        optimizer.step()
        if log is not None:
            log(loss)
        count += 1
    seconds = time.process_time() - begin
    return {name: seconds / count, f"{name}, outside": (seconds - inside) / count}


def _parts(steps: int) -> tuple[nn.Module, torch.optim.Optimizer, list[tuple[Tensor, Tensor]]]:
    model = nn.Linear(16, 1)
    batch = torch.randn(8, 16), torch.randn(8, 1)
    return model, torch.optim.SGD(model.parameters(), lr=0.01), [batch] * steps


@contextmanager
def _temporary_runs() -> Iterator[None]:
    names: Mapping[str, str] = {"TORCHCONSOLE_RUNS": "runs", "XDG_STATE_HOME": "state"}
    before = {name: os.environ.get(name) for name in (*names, "TORCHCONSOLE")}
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {name: f"{folder}/{part}" for name, part in names.items()}
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

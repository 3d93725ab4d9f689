"""What the finders say about their results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchconsole.engine.text import counted
from torchconsole.tui.formatting import format_bytes, format_lr, format_number

if TYPE_CHECKING:
    from torchconsole.engine.protocol.finder_reports import BatchSizeSearch, LoaderSearch, Search
    from torchconsole.engine.protocol.reports import LearningRateSearch


def describe_search(search: Search) -> list[str]:
    """Describe what a finder has found, the suggestion included."""
    from torchconsole.engine.protocol.finder_reports import BatchSizeSearch, LoaderSearch

    if isinstance(search, BatchSizeSearch):
        return describe_batch_search(search)
    if isinstance(search, LoaderSearch):
        return describe_loader_search(search)
    return describe_lr_search(search, is_run=search.step is not None)


def describe_lr_search(search: LearningRateSearch, *, is_run: bool) -> list[str]:
    """Say how the range test ended, where the marks are, and which lr to use."""
    count, reached = len(search.losses), format_lr(search.lrs[-1]) if search.lrs else "the first lr"
    end = (
        f"diverged after {counted(count, 'step')}, at"
        if search.diverged
        else f"did not diverge in {counted(count, 'step')}, up to"
    )
    where = f"on {search.device} in {search.precision}"
    begin = "" if search.step is None else f", from the weights of step {search.step:,}"
    lines = [f"smoothed training loss over optimizer.lr, {where}{begin}: it {end} {reached}"]
    if search.suggestion is None or search.steepest is None or search.tenth is None:
        return [*lines, f"no lr to suggest: the loss does not fall at any lr{_advice(is_run)}"]
    return [
        *lines,
        f"steepest (★) at {format_number(search.steepest, 2)}; a tenth of the minimum's lr (○) is "
        f"{format_number(search.tenth, 2)}",
        f"suggested: {format_lr(search.suggestion)} (the preset has {format_lr(search.lr)})",
    ]


def _advice(is_run: bool) -> str:
    if is_run:
        return "; the weights of this run may be trained already"
    return "; `torchconsole check --overfit` tells whether the model can learn one batch"


def describe_batch_search(search: BatchSizeSearch) -> list[str]:
    """Say how large a batch can be, where the knee is, and what it means for the lr."""
    fastest = max(
        (trial for trial in search.trials if trial.fits), key=lambda trial: trial.samples_per_second or 0.0
    )
    lines = [
        f"samples per second of a training step over data.batch_size, on {search.device} in "
        f"{search.precision}{_accumulated(search.grad_accum_steps)}",
        _largest(search),
        f"fastest: {fastest.batch_size:,} ({_rate(fastest.samples_per_second)})",
        f"suggested (★): {search.knee:,}, the smallest with at least 90 % of the best "
        f"(the preset has {search.batch_size:,})",
    ]
    if search.processes > 1:
        lines.append(_of_all(search))
    return [*lines, *_of_lr(search)]


def _of_all(search: BatchSizeSearch) -> str:
    """Say how many samples a step of all processes has: the search measures one of them alone."""
    together = search.knee * search.processes * search.grad_accum_steps
    steps = f" x {search.grad_accum_steps} batches" if search.grad_accum_steps > 1 else ""
    shared = ", and they share the memory" if search.device == "cpu" else ""
    return (
        f"this is the batch of each of {search.processes} processes, measured alone{shared}: a step of all "
        f"has {together:,} samples = {search.processes} x {search.knee:,}{steps}"
    )


def _accumulated(batches: int) -> str:
    return f", {batches} batches a step" if batches > 1 else ""


def _largest(search: BatchSizeSearch) -> str:
    found = f"largest batch that fits, by a whole step and an evaluation: {search.largest:,}"
    if search.limit == "samples":
        shared = f", shared by {search.processes} processes" if search.processes > 1 else ""
        return f"{found} (all training samples{shared})"
    if search.limit == "time":
        return f"{found}; larger ones were not tried, since a step would take more than 5 s"
    too_large = min(trial.batch_size for trial in search.trials if not trial.fits)
    return f"{found}; {too_large:,} does not. If only the evaluation does not fit, set data.eval_batch_size"


def _of_lr(search: BatchSizeSearch) -> list[str]:
    """Return a hint about the lr if the suggestion is not the preset's size."""
    factor = search.knee / search.batch_size
    if factor == 1:
        return []
    size, lr = ("larger", "higher") if factor > 1 else ("smaller", "lower")
    linear, root = format_number(factor), format_number(factor**0.5)
    return [
        f"hint: the lr is not changed, but a {size} batch often takes a {lr} one: {linear} times the "
        f"lr with SGD, {root} times with Adam; find-lr with this size measures it"
    ]


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f} samples/s" if value >= 10 else f"{value:.2g} samples/s"


def batch_rows(search: BatchSizeSearch) -> list[tuple[str, str, str, str]]:
    """Return a row for each size: the size, samples per second, milliseconds of a step, memory."""
    return [
        (
            f"{trial.batch_size:,}",
            f"{trial.samples_per_second:,.0f}" if trial.samples_per_second is not None else "does not fit",
            f"{1000 * trial.step_seconds:.3g}" if trial.step_seconds is not None else "",
            format_bytes(trial.memory) if trial.memory is not None else "",
        )
        for trial in search.trials
    ]


def describe_loader_search(search: LoaderSearch) -> list[str]:
    """Say how many data loader workers are worth their cores, and what bounds the training."""
    where = f"on {search.device} in {search.precision}, batches of {search.batch_size:,}"
    if not search.trials:
        return [
            "all training samples are held in memory, so data loader workers are not needed",
            f"a training step computes {_rate(search.computed)}, {where}",
        ]
    at_knee = next(trial for trial in search.trials if trial.num_workers == search.knee)
    bound = "loading the data" if search.bound == "data" else "computation"
    lines = [
        f"samples per second of a training over data.num_workers, {where}, {counted(search.cores, 'core')}"
        f"{_each(search.processes)}",
        f"suggested (★): {search.knee}, the smallest with at least 90 % of the best "
        f"(a run of the preset uses {search.num_workers})",
        f"bottleneck: {bound}; the loader alone gives {_rate(at_knee.loaded)}, a step alone computes "
        f"{_rate(search.computed)}",
    ]
    return [*lines, *([f"more were not tried: {search.advice}"] if search.advice else [])]


def _each(processes: int) -> str:
    return f" for each of {processes} processes, measured alone" if processes > 1 else ""


def loader_rows(search: LoaderSearch) -> list[tuple[str, str, str]]:
    """Return a row for each number of workers: the number, and the samples per second loaded and trained."""
    return [
        (str(trial.num_workers), f"{trial.loaded:,.0f}", f"{trial.trained:,.0f}") for trial in search.trials
    ]

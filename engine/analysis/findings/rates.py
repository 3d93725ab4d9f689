"""Findings on the learning rate and its schedule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchconsole.engine.analysis.findings.rules import finding
from torchconsole.engine.components.schedule_part import Member
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.protocol.reports import Finding
from torchconsole.engine.training.preserve import preserve
from torchconsole.engine.training.setup import TrainingSetup

MOST_STEPS = 5_000
"""Steps of the schedule that are looked at: each takes up to 10 microseconds."""

VANISHED = 1.001e-3
"""Fraction of its largest value below which a learning rate can hardly change the weights."""


@dataclass(frozen=True)
class UsualRates:
    """The learning rates between which an optimizer usually works, and one that is often used."""

    low: float
    high: float
    usual: float
    source: str


ADAM = UsualRates(1e-7, 0.1, 1e-3, "Kingma and Ba 2015 use 0.001")

USUAL: dict[str, UsualRates] = {
    "SGD": UsualRates(1e-6, 5.0, 0.1, "Goyal et al. 2017 use 0.1 for batches of 256 and 3.2 for 8192"),
    "ASGD": UsualRates(1e-6, 5.0, 0.01, "torch's default is 0.01"),
    **dict.fromkeys(("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop"), ADAM),
    "Adagrad": UsualRates(1e-5, 2.0, 0.01, "torch's default is 0.01"),
    "Adadelta": UsualRates(5e-3, 10.0, 1.0, "Zeiler 2012 uses 1"),
    "Adafactor": UsualRates(1e-7, 0.5, 0.01, "torch's default is 0.01"),
    "Rprop": UsualRates(1e-6, 1.0, 0.01, "torch's default is 0.01"),
    "Muon": UsualRates(1e-6, 1.0, 0.02, "Jordan et al. 2024 use 0.02"),
}
"""By class of torch.optim. A rate outside of these bounds is most likely a slip."""


def find_in_rates(setup: TrainingSetup) -> list[Finding]:
    """Return the findings on the learning rate of each parameter group over the run."""
    # A copy of a schedule may draw from a generator that it shares with it.
    with preserve([], others=setup.learning_rate.schedulers):
        return list(_find(setup))


def _find(setup: TrainingSetup) -> Iterator[Finding]:
    ahead = plan_ahead(setup)
    broken = list(_broken(ahead))
    if broken:
        yield from broken
        return
    yield from _unusual(setup, ahead.lrs)
    if setup.preset.schedule:
        yield from _schedule(setup, ahead)
        yield from _never_begins(setup)
        yield from _lengths(setup)


def evaluations(setup: TrainingSetup) -> int:
    """Return how often the run evaluates if nothing ends it early."""
    training = setup.preset.training
    if training.eval_interval == "step":
        return setup.total_steps // training.eval_every
    return setup.total_steps // setup.steps_per_epoch // training.eval_every


@dataclass(frozen=True)
class Ahead:
    """The scheduled lrs of a run, (N, groups): of each step, or of each epoch if no part counts steps."""

    lrs: NDArray[np.float64]
    total: int
    """N, unless the run is longer than what was looked at."""
    unit: str
    monitoring: list[Member]
    """The schedulers of all parts that depend on a metric. They are not stepped."""
    failure: str | None = None
    """What a scheduler raises after `lrs`."""


def plan_ahead(setup: TrainingSetup) -> Ahead:
    """Run a copy of the schedule ahead, as far as MOST_STEPS allows."""
    schedule = setup.learning_rate.copy_schedule()
    by_step = any(part.interval == "step" for part in schedule.parts)
    total, unit = (setup.total_steps, "steps") if by_step else (setup.total_epochs, "epochs")
    monitoring = {member.section: member for member in schedule.monitoring}
    lrs = [schedule.lrs]
    failure: str | None = None
    for number in range(1, min(total, MOST_STEPS)):
        try:
            if by_step:
                schedule.step()
            if not by_step or number % setup.steps_per_epoch == 0:
                schedule.epoch()
        except ComponentError as error:
            failure = str(error)
            break
        lrs.append(schedule.lrs)
        monitoring |= {member.section: member for member in schedule.monitoring}
    return Ahead(np.array(lrs), total, unit, list(monitoring.values()), failure)


def _broken(ahead: Ahead) -> Iterator[Finding]:
    """Yield a finding for a schedule that fails, or that gives a lr of which no training can come."""
    bad = ~np.isfinite(ahead.lrs) | (ahead.lrs < 0)
    if bool(bad.any()):
        number = int(bad.any(1).argmax())
        when = f"{ahead.unit.removesuffix('s')} {number + 1:,} of {ahead.total:,}"
        yield finding("lr-invalid", f"the lr of {when} is {ahead.lrs[number][bad[number]][0]:.3g}")
    elif ahead.failure is not None:
        evidence = f"{ahead.failure}; that is after {len(ahead.lrs):,} of {ahead.total:,} {ahead.unit}"
        yield finding("schedule-fails", evidence)


def _unusual(setup: TrainingSetup, lrs: NDArray[np.float64]) -> Iterator[Finding]:
    name = setup.preset.optimizer.name
    usual = USUAL.get(name)
    if usual is None:
        return
    peaks = lrs.max(0)
    for number, peak in enumerate(peaks):
        if peak == 0 or usual.low <= peak <= usual.high:
            continue
        base = setup.learning_rate.state.base[number]
        is_scheduled = usual.low <= base <= usual.high
        key = "optimizer.lr"
        if is_scheduled and setup.preset.schedule[0].name in ("OneCycleLR", "CyclicLR"):
            key = "schedule.0.max_lr"
        group = f" of parameter group {number}" if number else ""
        evidence = f"the learning rate{group} of {name} is {'at most ' if is_scheduled else ''}{peak:g}"
        what = "diverges" if peak > usual.high else "hardly learns"
        bound = f"above {usual.high:g}" if peak > usual.high else f"below {usual.low:g}"
        yield finding("lr-unusual", evidence, key=key, optimizer=name, what=what, bound=bound, **vars(usual))
        return


def _schedule(setup: TrainingSetup, ahead: Ahead) -> Iterator[Finding]:
    lrs, part = ahead.lrs[:, 0], setup.preset.schedule[0]
    length = f"{ahead.total:,} {ahead.unit}"
    if ahead.monitoring:
        yield from _patience(setup, ahead)
        return
    if bool((ahead.lrs == ahead.lrs[0]).all()):
        if len(lrs) == ahead.total > 1:
            evidence = f"{part.name} keeps the lr at {lrs[0]:g} for all {length}"
            yield finding("lr-never-changes", evidence, remedy=_act_earlier(part.name, length))
        return
    peak = lrs.max()
    tenth = max(1, min(ahead.total // 10, len(lrs) // 2))
    if ahead.total >= 10 and bool((lrs[tenth:] < VANISHED * peak).all()):
        gone = int(np.argmax((lrs < VANISHED * peak) & (np.arange(len(lrs)) >= np.argmax(lrs))))
        evidence = f"{part.name} takes the lr from {peak:.3g} to {lrs[gone]:.3g} within {gone} of {length}"
        by_step = ahead.unit == "steps"
        remedy = 'set schedule.0.interval = "epoch", or slow the decay' if by_step else "slow the decay"
        yield finding("lr-vanishes", evidence, remedy=f"{remedy}: a gamma nearer to 1 or a larger step_size")


def _patience(setup: TrainingSetup, ahead: Ahead) -> Iterator[Finding]:
    """Yield a finding if no scheduler of the only part can act, whether it waits for a metric or not."""
    parts = setup.preset.schedule
    if len(parts) > 1:
        return
    others_act = len(ahead.lrs) < ahead.total or bool((ahead.lrs != ahead.lrs[0]).any())
    if others_act and len(ahead.monitoring) < len(parts[0].members):
        return
    member = min(ahead.monitoring, key=_patience_of)
    patience, count = _patience_of(member), evaluations(setup)
    # The first evaluation is the reference; the others may fail to improve on it.
    if count - 1 > patience:
        return
    name = member.config.name
    evidence = (
        f"{name} waits for more than {patience:g} evaluations without improvement, but the run has {count}"
    )
    remedy = f"lower {member.section}.patience below {count - 1}"
    if count < 2:
        remedy = "evaluate more often (training.eval_every), train longer, or remove the schedule"
    yield finding("lr-never-changes", evidence, remedy=remedy)


def _patience_of(member: Member) -> float:
    patience = getattr(member.scheduler, "patience", 0)
    return patience if isinstance(patience, int | float) else 0


def _act_earlier(name: str, length: str) -> str:
    keys = {"StepLR": "step_size", "MultiStepLR": "milestones", "Table": "table"}
    if name in keys:
        return f"set schedule.0.{keys[name]} within the {length} of the run, or remove the schedule"
    return "remove the schedule, or change its arguments"


LENGTH_EFFECTS = {
    "CosineAnnealingLR": ("the lr rises again once T_max is over", True),
    "PolynomialLR": ("the lr is 0 once total_iters is over", True),
    "LinearLR": ("", False),
    "ConstantLR": ("", False),
    "OneCycleLR": ("", False),
}
"""By class: what happens after its length, and whether a run that is longer is a mistake."""


def _lengths(setup: TrainingSetup) -> Iterator[Finding]:
    """Yield a finding for each length in the preset that differs from how long its part lasts."""
    schedule = setup.learning_rate.copy_schedule()
    begins = {"step": 0, "epoch": 0}
    totals = {"step": setup.total_steps, "epoch": setup.total_epochs}
    for number, part in enumerate(schedule.parts):
        unit = part.interval or "epoch"
        for path, member in part.members.items():
            interval = member.interval or unit
            end = _convert(part.until, unit, interval, setup.steps_per_epoch) or totals[interval]
            end = min(end, totals[interval])
            lasts = end - begins[interval]
            given = _length(member.name, member.arguments)
            if given is not None and lasts > 0:
                yield from _compare(f"schedule.{number}{path}", member.name, *given, lasts, interval)
        if part.until is not None:
            begins = {
                other: _convert(part.until, unit, other, setup.steps_per_epoch) or 0 for other in begins
            }


def _never_begins(setup: TrainingSetup) -> Iterator[Finding]:
    """Yield a finding if the run ends before one of several parts of the schedule begins."""
    parts = setup.learning_rate.copy_schedule().parts
    totals = {"step": setup.total_steps, "epoch": setup.total_epochs}
    for number, (part, following) in enumerate(pairwise(parts)):
        unit = part.interval or "epoch"
        if part.until is None or part.until < totals[unit]:
            continue
        name = next(iter(following.members.values())).name
        plural = "s" * (totals[unit] > 1)
        evidence = (
            f"schedule.{number + 1} ({name}) never begins: schedule.{number}.until is {part.until:,} {unit}s "
            f"and the run has {totals[unit]:,} {unit}{plural}"
        )
        remedy = f"lower schedule.{number}.until below {totals[unit]}, or train longer (training.epochs)"
        if totals[unit] < 2:
            remedy = "train longer (training.epochs), or remove the schedule"
        yield finding("schedule-never-begins", evidence, remedy=remedy)
        return


def _convert(count: int | None, unit: str, wanted: str, steps_per_epoch: int) -> int | None:
    if count is None or unit == wanted:
        return count
    return count * steps_per_epoch if wanted == "step" else count // steps_per_epoch


def _length(name: str, arguments: dict[str, Any]) -> tuple[str, int] | None:
    """Return the argument for the length of a scheduler, with its value, if the preset sets it."""
    if name not in LENGTH_EFFECTS:
        return None
    for key in ("T_max", "total_iters", "total_steps"):
        if isinstance(value := arguments.get(key), int):
            return key, value
    epochs, steps = arguments.get("epochs"), arguments.get("steps_per_epoch")
    return ("epochs", epochs * steps) if isinstance(epochs, int) and isinstance(steps, int) else None


def _compare(section: str, name: str, key: str, given: int, lasts: int, interval: str) -> Iterator[Finding]:
    after, is_mistake = LENGTH_EFFECTS[name]
    evidence = f"{section}.{key} is {given:,} {interval}s, but this part of the schedule lasts {lasts:,}"
    small = max(1, 0.05 * lasts)
    if given > lasts + small:
        consequence = f"the run ends before {name} has reached its final lr"
    elif is_mistake and given < lasts - small:
        consequence = after
    else:
        return
    if lasts == 1 and given <= 2:
        return
    yield finding("schedule-length", evidence, consequence=consequence, key=f"{section}.{key}", length=lasts)

"""Findings on the whole data: classes, and samples that are in both training and validation."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from torchconsole.engine.analysis.findings.duplicates import equal_samples
from torchconsole.engine.analysis.findings.modules import some
from torchconsole.engine.analysis.findings.rules import finding
from torchconsole.engine.components.data.datasets import BaseDataset, Splits
from torchconsole.engine.components.data.opening import open_data
from torchconsole.engine.components.data.target_scaling import TargetUnit
from torchconsole.engine.protocol.reports import Finding
from torchconsole.engine.training.setup import TrainingSetup

UNBALANCED = 10
"""From this factor between the largest and the smallest class on, it is worth a warning."""

MANY, MANY_ROWS = 0.01, 0.5
"""Fraction of equal samples from which on they are no chance: of images, and of rows with few values."""

TIMES_CHANCE = 10
"""Equal rows of numbers are no chance if there are this many times as many as the values explain."""

ROWS = 2_000
"""Rows whose values are looked at."""


def find_in_classes(setup: TrainingSetup) -> Iterator[Finding]:
    """Yield a finding if classes differ much in their training samples, and nothing balances them."""
    counts, preset = setup.data.class_counts, setup.preset
    if counts is None or setup.data.spec.task not in ("multiclass", "binary"):
        return
    losses = [preset.loss, *preset.loss.also]
    weighted = any(loss.weight is not None or "pos_weight" in loss.arguments for loss in losses)
    present = counts[counts > 0]
    if weighted or preset.data.sampler == "balanced" or preset.data.overfit_batches or len(present) < 2:
        return
    most, least = int(counts.argmax()), int(torch.where(counts > 0, counts, counts.max() + 1).argmin())
    factor = int(counts[most]) / int(counts[least])
    if factor >= UNBALANCED:
        names = setup.data.spec.class_names
        evidence = (
            f"class {names[most]} has {int(counts[most]):,} training samples and class {names[least]} has "
        )
        yield finding("classes-unbalanced", f"{evidence}{int(counts[least]):,}, {factor:.0f} times fewer")


def find_in_samples(setup: TrainingSetup) -> Iterator[Finding]:
    """Open the data once more and yield the findings on its parts. Raises what opening the data raises."""
    preset = setup.preset
    if preset.data.overfit_batches is not None:
        return
    opened = open_data(preset.data, preset.training, lambda phase: None, setup.user_code)
    yield from _classes_as_amounts(opened.splits, setup)
    if opened.splits.val is not None:
        yield from _in_both(opened.splits.train, opened.splits.val)


def find_absent_classes(setup: TrainingSetup) -> Iterator[Finding]:
    """Yield a finding for classes without samples in a part."""
    data, preset = setup.data, setup.preset
    if data.spec.task not in ("multiclass", "binary") or data.class_counts is None:
        return
    if preset.data.overfit_batches is not None:
        return
    names = data.spec.class_names
    for part, count in {"training": data.class_counts, **data.held_out_counts}.items():
        if bool(count.all()):
            continue
        missing = [names[number] for number in (count == 0).nonzero().flatten().tolist()]
        evidence = f"{len(missing)} of {len(names)} classes have no {part} samples: {some(missing)}"
        if part == "training":
            consequence = "the model cannot learn these classes"
            remedy = "add samples of them, or remove the classes from the data"
        else:
            consequence = f"the {part} metrics say nothing about these classes"
            remedy = "add samples of them, or raise data.val_split"
        yield finding("classes-absent", evidence, consequence=consequence, remedy=remedy)


def _classes_as_amounts(splits: Splits, setup: TrainingSetup) -> Iterator[Finding]:
    """Yield a hint if the targets of a regression are a few whole numbers from 0 or 1 on."""
    targets = splits.train.targets
    if setup.data.spec.task != "regression" or targets.numel() != len(targets):
        return
    if splits.target_scale is not None:
        # Rounded, since standardized targets have no more digits than float32.
        targets = TargetUnit(splits.target_scale, targets.device)(targets).mul(1e3).round().div(1e3)
    values, counts = torch.unique(targets, return_counts=True)
    whole = bool((values == values.round()).all()) and int(values[-1] - values[0]) == len(values) - 1
    if whole and values[0] in (0, 1) and 2 <= len(values) <= 20 and int(counts.min()) >= 5:
        evidence = f"the {len(targets):,} targets have only the values {values[0]:g} to {values[-1]:g}"
        task = "binary" if values.tolist() == [0, 1] else "multiclass"
        yield finding("regression-on-classes", evidence, task=task)


def _in_both(train: BaseDataset, val: BaseDataset) -> Iterator[Finding]:
    smaller, larger = (val, train) if len(val) <= len(train) else (train, val)
    found = equal_samples(smaller, larger)
    pairs, compared = found.pairs, found.compared
    if not pairs:
        return
    share = len(pairs) / compared
    is_table = smaller.input(0).ndim == 1
    which = "validation" if smaller is val else "training"
    other = "training" if smaller is val else "validation"
    part = f"{len(pairs):,} of {compared:,} {which} samples"
    limit = f" (compared with {found.of:,} of {len(larger):,})" if found.of < len(larger) else ""
    example = f"{smaller.describe(pairs[0][0])} and {larger.describe(pairs[0][1])}"
    evidence = f"{part} are also in the {other} set{limit}, for example {example}"
    labels = sum(not torch.equal(smaller.targets[a], larger.targets[b]) for a, b in pairs)
    if labels:
        evidence += f"; {labels:,} of them have another target there"
    is_natural = is_table and len(pairs) <= TIMES_CHANCE * _by_chance(larger, compared, found.of)
    many = share >= (MANY_ROWS if is_natural else MANY) and len(pairs) > 1
    yield finding("samples-in-both-parts" if many else "few-samples-in-both-parts", evidence)


def _by_chance(dataset: BaseDataset, compared: int, of: int) -> float:
    """Return how many rows of two parts would be equal at most if their values met by chance.

    That is as often as two different rows have the same value in the column where this is rarest. Columns
    depend on each other, so what several of them say together is not used.
    """
    numbers = range(0, len(dataset), -(-len(dataset) // ROWS))
    rows = torch.stack([dataset.input(number).flatten() for number in numbers]).double().nan_to_num()
    rows = rows.unique(dim=0)  # type: ignore[no-untyped-call]
    count = len(rows)
    if count < 2:
        return float(compared)
    pairs = count * (count - 1)
    meetings = [
        int((times * (times - 1)).sum())
        for times in (column.unique(return_counts=True)[1] for column in rows.T)
    ]
    return min(meetings, default=pairs) / pairs * compared * of

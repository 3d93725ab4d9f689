"""Findings on the inputs: not normalized, normalized twice, or different in training and validation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from torchconsole.engine.analysis.findings.facts import Facts, spread
from torchconsole.engine.analysis.findings.rules import finding
from torchconsole.engine.components.data.measuring import channel_axis
from torchconsole.engine.config.data_schema import NormalizeConfig, TransformConfig
from torchconsole.engine.protocol.reports import Finding

LARGE = 10.0
"""At most 1% of values with mean 0 and standard deviation 1 are larger, by Chebyshev's inequality."""

SMALL = 0.01
"""Inputs that are all smaller vanish beside the biases of the first layer."""

MOST_VALUES = 10_000
"""Values of each channel that are looked at."""

FEW_IMAGES = 2
"""Number of images whose pixels show their range."""

FEW = 8
"""Batches of fewer samples are not compared."""

SCALES = 10.0
"""Factor between the ranges of training and validation inputs that no augmentation explains."""

RESOLUTION = 1e-5
"""Fraction of the largest value below which differences are rounding errors in float32."""

FEW_VALUES = 20
"""Fewer values tell nothing about their range."""


def find_in_inputs(facts: Facts) -> Iterator[Finding]:
    """Yield the findings on the first training batch and the first validation batch."""
    inputs = facts.inputs
    if not inputs.is_floating_point() or inputs.ndim < 2 or not inputs.numel() or not inputs.isfinite().all():
        return
    yield from _scale(facts)
    yield from _parts_differ(facts)


def _scale(facts: Facts) -> Iterator[Finding]:
    inputs = facts.inputs
    twice = _given_twice(facts)
    if twice is not None:
        yield twice
        return
    first = facts.trace.first_input if facts.trace else None
    if first is None or not first.is_floating_point() or first.numel() % inputs[0].numel():
        return
    rows = first.float().flatten()
    given = inputs.float().flatten()[: len(rows)]
    if len(rows) != len(given):
        return
    if bool(((rows - given).abs() <= 1e-3 * given.abs() + 1e-6).all()):
        yield from _far(facts, channels(inputs), 'set data.normalize = "auto"')
        return
    values = rows[None]
    if not _is_affine(given.view(-1, *inputs.shape[1:]), rows):
        remedy = "normalize what forward computes from the inputs, for example with a batch norm behind it"
        yield from _far(facts, values, remedy)
        return
    mean, std = values.mean().item(), values.std().item()
    is_normalized = abs(given.mean().item()) < 0.5 and 0.5 < given.std().item() < 2
    if is_normalized and (abs(mean) > 1 or std > 2.5) and std > 0.1:
        evidence = (
            f"inputs with mean {given.mean():.2g} and standard deviation {given.std():.2g} arrive at the "
        )
        evidence += f"first layer with {mean:.2g} and {std:.2g}"
        remedy = 'set data.normalize = "none", or remove the normalization from the model\'s forward'
        yield finding("normalized-twice", evidence, remedy=remedy)
    elif bool(values.abs().max() < SMALL) or usual_size(values) > LARGE:
        yield from _far(facts, values, "remove the scaling of the inputs from the model's forward")


def _is_affine(given: Tensor, rows: Tensor) -> bool:
    """Whether each channel of inputs (B, ...) has only been shifted and scaled to become `rows` (N,)."""
    before, after = (channels(values).double() for values in (given, rows.view_as(given)))
    before, after = (values - values.mean(1, keepdim=True) for values in (before, after))
    fit = (before * after).sum(1, keepdim=True) / before.square().sum(1, keepdim=True).clamp(min=1e-30)
    return bool((after - fit * before).square().sum() <= 1e-4 * after.square().sum())


def _far(facts: Facts, values: Tensor, remedy: str) -> Iterator[Finding]:
    """Yield a finding for values (C, N) of which a channel is far from normalized."""
    sizes = usual_size(values)
    if bool((far := sizes > LARGE).any()):
        which = values[sizes.argmax()]
        where = f"{int(far.sum())} of {len(far)} channels or features" if len(far) > 1 else "the inputs"
        evidence = f"{where} are far from normalized: the largest has values from {which.min():.4g} to "
        yield finding("inputs-not-normalized", f"{evidence}{which.max():.4g}", remedy=remedy)
    elif bool((values.abs().max() < SMALL) & values.any()):
        evidence = f"all inputs of the first batch lie in [{values.min():.2g}, {values.max():.2g}]"
        yield finding("inputs-not-normalized", evidence, remedy=remedy)


def usual_size(values: Tensor) -> Tensor:
    """Return the size that a twentieth of the values (C, N) exceed, but at least two of them: (C,)."""
    count = values.shape[1]
    rank = min(count, max(3, math.ceil(count / 20)))
    return values.abs().topk(rank, dim=1).values[:, -1]


def _given_twice(facts: Facts) -> Finding | None:
    """Return a finding if `data.normalize` has values, and the inputs are normalized already."""
    data, config = facts.setup.preset.data, facts.setup.preset.data.normalize
    if not isinstance(config, NormalizeConfig) or facts.setup.data.measured is not None:
        return None
    inputs = facts.inputs
    mean, std = inputs.mean().item(), inputs.std().item()
    before = before_normalization(facts, inputs)
    steps = [step for step in (*data.transforms.train, *data.transforms.val) if step.name == "Normalize"]
    is_normalized = abs(before.mean().item()) < 0.3 and 0.7 < before.std().item() < 1.4
    is_negative_image = inputs.ndim == 4 and before.min().item() < -0.2
    if not (steps or is_normalized or is_negative_image) or (abs(mean) <= 1 and std <= 2):
        return None
    evidence = f"before data.normalize the inputs have mean {before.mean():.2g} and standard deviation "
    evidence += f"{before.std():.2g}, after it {mean:.2g} and {std:.2g}"
    remedy = "remove Normalize from data.transforms, or set " if steps else "set "
    return finding("normalized-twice", evidence, remedy=f'{remedy}data.normalize = "none"')


def before_normalization(facts: Facts, inputs: Tensor) -> Tensor:
    """Return inputs (B, ...) as they were before `data.normalize` was applied."""
    config = facts.setup.preset.data.normalize
    if not isinstance(config, NormalizeConfig):
        return inputs.float()
    shape = [1] * inputs.ndim
    shape[1 + channel_axis(tuple(inputs.shape[1:]))] = -1
    mean, std = (
        torch.tensor(values, device=inputs.device).view(shape) for values in (config.mean, config.std)
    )
    return inputs.float() * std + mean


def channels(inputs: Tensor) -> Tensor:
    """Return the values of inputs (B, ...) by channel or feature, (C, N)."""
    axis = 1 + channel_axis(tuple(inputs.shape[1:]))
    values = inputs.detach().movedim(axis, 0).flatten(1)
    step = max(1, values.shape[1] // MOST_VALUES)
    return values[:, ::step].float()


def _parts_differ(facts: Facts) -> Iterator[Finding]:
    transforms = facts.setup.preset.data.transforms
    train, val = (_steps(steps, "Normalize") for steps in (transforms.train, transforms.val))
    if train != val:
        evidence = f"data.transforms.train has {_listed(train)}, data.transforms.val has {_listed(val)}"
        yield finding("transforms-differ", evidence, what="Normalize")
        return
    some, others = facts.inputs, facts.dry_run.eval_batch[0]
    if min(len(some), len(others)) < FEW or some.ndim != others.ndim:
        return
    if not others.is_floating_point() or not others.isfinite().all():
        return
    if some.ndim == 4 and some.shape[-1] and others.shape[-1]:
        ratio = others.shape[-1] / some.shape[-1]
        if not 0.5 < ratio < 2:
            sizes = f"{some.shape[-1]}x{some.shape[-2]} and {others.shape[-1]}x{others.shape[-2]}"
            evidence = f"images are {sizes} pixels in training and validation"
            yield finding("transforms-differ", evidence, what="Resize or crop")
            return
    some, others = _of_same_classes(facts)
    if min(len(some), len(others)) < (FEW_IMAGES if some.ndim == 4 else FEW):
        return
    a, b = (before_normalization(facts, inputs).flatten() for inputs in (some, others))
    ratio = _scale_ratio(a, b)
    one_is_negative = some.ndim == 4 and (a.min() < -0.05) != (b.min() < -0.05)
    if not 1 / SCALES < ratio < SCALES or (one_is_negative and abs(a.mean() - b.mean()) > 0.25):
        evidence = (
            f"before data.normalize, training inputs lie in {spread(a)} and validation inputs in {spread(b)}"
        )
        yield finding("transforms-differ", evidence, what="scaling and normalization")


def _of_same_classes(facts: Facts) -> tuple[Tensor, Tensor]:
    """Return the inputs of the training and of the evaluation batch, (B, ...), of the classes in both.

    Samples to evaluate are often sorted by class, and a class may be darker than all others.
    """
    (some, labels), (others, other_labels) = facts.dry_run.batch, facts.dry_run.eval_batch
    has_classes = facts.setup.data.spec.task in ("multiclass", "binary")
    if not has_classes or (len(labels), len(other_labels)) != (len(some), len(others)):
        return some, others
    labels, other_labels = labels.flatten(), other_labels.flatten()
    return some[torch.isin(labels, other_labels)], others[torch.isin(other_labels, labels)]


def _scale_ratio(a: Tensor, b: Tensor) -> float:
    """Return how many times the range of `b` is larger than that of `a`; 1 if that cannot be told.

    The range is that of the middle nine tenths. If most values of a part are equal, as in sparse data, it is
    the usual distance of the other values from the center; see `_distances`.
    """
    a, b = (values[:: max(1, len(values) // (10 * MOST_VALUES))] for values in (a, b))
    far_a, far_b = (_distances(values) for values in (a, b))
    is_sparse = [2 * len(far) < len(values) for far, values in ((far_a, a), (far_b, b))]
    if not any(is_sparse):
        limits = torch.tensor([0.05, 0.95], device=a.device)
        width_a, width_b = (float(values.quantile(limits).diff()) for values in (a, b))
        return width_b / width_a if width_a else math.inf
    if min(len(far_a), len(far_b)) < FEW_VALUES:
        return 1.0 if all(is_sparse) else math.inf
    return float(far_b.median() / far_a.median())


def _distances(values: Tensor) -> Tensor:
    """Return the distances from the center of the values (N,) that differ from it.

    The center is the most frequent value, if it is that of a quarter, else the median: augmentation moves the
    share of zeros across one half, and with it the median of one part alone.
    """
    mode = values.mode().values
    center = mode if 4 * int((values == mode).sum()) >= len(values) else values.median()
    distances = (values - center).abs()
    return distances[distances > RESOLUTION * values.abs().max()]


def _steps(steps: list[TransformConfig], name: str) -> list[dict[str, Any]]:
    return [step.arguments for step in steps if step.name == name]


def _listed(steps: list[dict[str, Any]]) -> str:
    if not steps:
        return "no Normalize"
    return " and ".join(f"Normalize(mean={step.get('mean')}, std={step.get('std')})" for step in steps)

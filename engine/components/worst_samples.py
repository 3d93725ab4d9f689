"""The samples with the highest losses of an evaluation, kept without waiting for the device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from torchconsole.engine.components.data.target_scaling import TargetUnit
from torchconsole.engine.components.data.types import DataSpec
from torchconsole.engine.components.losses import Loss
from torchconsole.engine.components.outputs import as_predictions, as_rows, possible_widths
from torchconsole.engine.components.ranks import Ranks
from torchconsole.engine.protocol.info import WorstSample

MOST_SHOWN = 4
"""Labels or values of a sample that are reported, the first ones."""


class _Kept(NamedTuple):
    """Samples on the device: losses (n,), indices (n,), outputs (n, K), and targets as the data has them."""

    losses: Tensor
    indices: Tensor
    rows: Tensor
    targets: Tensor


class WorstSamples:
    """Keeps the `count` samples with the highest losses over the batches of an evaluation.

    A loss that is nan counts as the highest. All tensors stay on their device until `result`, and no more
    than `count` samples and those of a batch are there at a time.
    """

    def __init__(self, count: int, loss_fn: Loss, spec: DataSpec, first: int = 0) -> None:
        """`first`: the index of the first sample that will be added."""
        self._count = count
        self._loss_fn = loss_fn
        self._spec = spec
        self._seen = first
        self._kept: _Kept | None = None

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch: the outputs of the model, and targets in the form that `TaskType` describes.

        Raises what the loss raises for outputs that do not fit it.
        """
        losses = self._loss_fn.per_sample(outputs, targets)
        rows = as_rows(outputs, self._spec, len(targets), possible_widths(self._spec))
        indices = torch.arange(self._seen, self._seen + len(targets), device=losses.device)
        self._seen += len(targets)
        found = _Kept(losses, indices, rows, targets)
        self._kept = self._highest([found] if self._kept is None else [self._kept, found])

    def merge(self, ranks: Ranks) -> None:
        """Keep the highest losses of all processes. Waits for the device if there are others."""
        if not ranks.is_alone:
            own = self._kept and _Kept(*(each.cpu() for each in self._kept))
            self._kept = self._highest([each for each in ranks.gather(own) if each is not None])

    def _highest(self, parts: Sequence[_Kept]) -> _Kept:
        found = _Kept(*map(torch.cat, zip(*parts, strict=True))) if len(parts) > 1 else parts[0]
        highest = found.losses.topk(min(self._count, len(found.losses))).indices
        return _Kept(*(each.index_select(0, highest) for each in found))

    def result(self, place: Callable[[int], str]) -> list[WorstSample]:
        """Return the samples, the highest loss first; `place` tells where sample n comes from.

        Waits for the device.
        """
        if self._kept is None:
            return []
        losses, indices, outputs, labels = self._kept
        predictions, targets = as_predictions(outputs, labels, self._spec, self._loss_fn.outputs)
        if scale := self._spec.target_scale:
            unit = TargetUnit(scale, predictions.device)
            predictions, targets = unit(predictions), unit(targets)
        rows = zip(indices.tolist(), losses.float().tolist(), predictions.cpu(), targets.cpu(), strict=True)
        return [self._describe(index, place(index), loss, found, true) for index, loss, found, true in rows]

    def _describe(self, index: int, place: str, loss: float, found: Tensor, true: Tensor) -> WorstSample:
        """Describe a sample from its predictions and targets, () or (K,)."""
        sample = WorstSample(index=index, place=place, loss=_finite(loss), label="", predicted="")
        if self._spec.task == "regression":
            wanted, given = (each.reshape(-1)[:MOST_SHOWN].tolist() for each in (true, found))
            update: dict[str, object] = {
                "label": _joined([f"{value:.6g}" for value in wanted], true.numel()),
                "predicted": _joined([f"{value:.6g}" for value in given], found.numel()),
                "true": [_finite(value) for value in wanted],
                "values": [_finite(value) for value in given],
            }
        elif self._spec.task == "multilabel":
            update = {"label": self._labels(true > 0), "predicted": self._labels(found > 0.5)}
        else:
            update = self._class_facts(found, int(true))
        return sample.model_copy(update=update)

    def _class_facts(self, found: Tensor, label: int) -> dict[str, object]:
        """Return the facts of a sample of one class from the probabilities of all, or of the second one."""
        probabilities = torch.stack([1 - found, found]) if found.ndim == 0 else found
        predicted = int(probabilities.argmax())
        names = self._spec.class_names
        facts: dict[str, object] = {"label": names[label], "predicted": names[predicted]}
        if self._loss_fn.outputs.form == "values":  # they need not be between 0 and 1
            return facts
        return facts | {
            "probability": _finite(float(probabilities[predicted])),
            "label_probability": _finite(float(probabilities[label])),
        }

    def _labels(self, chosen: Tensor) -> str:
        indices = chosen.nonzero().flatten().tolist()
        return _joined([self._spec.class_names[index] for index in indices[:MOST_SHOWN]], len(indices))


def why_no_worst_samples(loss_fn: nn.Module) -> str:
    """Return why there are no losses of single samples; empty if there are."""
    if isinstance(loss_fn, Loss) and loss_fn.has_per_sample:
        return ""
    return "the loss is your own code, or a sum with it, which gives one number for a whole batch"


def _joined(texts: list[str], total: int) -> str:
    return ", ".join(texts) + ", ..." * (total > len(texts)) if texts else "none"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

"""What a model's outputs are, as its loss takes them, and how classes and probabilities are read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from torchconsole.engine.components.data.types import DataSpec
from torchconsole.engine.errors import ComponentError

OutputForm = Literal["logits", "probabilities", "log_probabilities", "values", "log_values"]
"""What the outputs are: the forms that `loss.outputs` can name, and the logarithms of values (Poisson)."""


@dataclass(frozen=True)
class OutputKind:
    """The form of a model's outputs."""

    form: OutputForm = "logits"
    independent: bool = False
    """Whether each output is a yes or no of its own (sigmoid), although a sample has one class (softmax)."""


def class_count(spec: DataSpec) -> int:
    """Return the number of classes that a sample can belong to: 2 for binary data."""
    return 2 if spec.task == "binary" else spec.num_outputs


def possible_widths(spec: DataSpec) -> tuple[int, ...]:
    """Return the numbers of outputs that a model may have: two classes need one output or two."""
    if spec.task in ("binary", "multiclass") and class_count(spec) == 2:
        return (spec.num_outputs, 3 - spec.num_outputs)
    return (spec.num_outputs,)


def first_tensor(output: object) -> Tensor | None:
    """Return an output, or the first tensor in it if it is a tuple, list or mapping (recurrent layers)."""
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, list | tuple):
        return next((found for item in output if (found := first_tensor(item)) is not None), None)
    return output if isinstance(output, Tensor) else None


def as_rows(outputs: object, spec: DataSpec, count: int, widths: Collection[int]) -> Tensor:
    """Return the outputs of `count` samples as (B, K), where K is one of `widths`.

    A model that ends in `squeeze` gives (B,), and for a batch of one sample () or (K,). Raises TypeError for
    what is not one tensor, ValueError for a shape without a row for each sample, and ComponentError for
    another number of outputs.
    """
    if not isinstance(outputs, Tensor):
        raise TypeError(f"a tensor is needed, not a {type(outputs).__name__}")
    rows = outputs
    if rows.ndim < 2 and (count == 1 or rows.shape == (count,)):
        rows = rows.reshape(count, -1)
    if rows.ndim != 2 or rows.shape[0] != count:
        expected = " or ".join(f"({count}, {width})" for width in widths)
        raise ValueError(
            f"outputs for {count} samples must have shape {expected}; flatten or pool them in the model, for "
            "example with nn.Flatten()"
        )
    if rows.shape[1] not in widths:
        _raise_wrong_width(rows.shape[1], spec, widths)
    return rows


def as_predictions(
    outputs: object, targets: Tensor, spec: DataSpec, kind: OutputKind
) -> tuple[Tensor, Tensor]:
    """Convert outputs and targets for torchmetrics: to probabilities and int64 labels, or to numbers.

    torchmetrics would convert logits to probabilities itself, but only in batches with values outside 0..1.
    Raises what `as_rows` raises.
    """
    # torch.export takes a shape as a variable, but the result of len() as a constant.
    rows = as_rows(outputs, spec, targets.shape[0], possible_widths(spec)).float()
    if spec.task == "regression":
        values = rows.exp() if kind.form == "log_values" else rows
        return (values.squeeze(1), targets.squeeze(1)) if rows.shape[1] == 1 else (values, targets)
    if spec.task == "multilabel":
        return _probabilities(rows, kind.form, independent=True), targets.long()
    if class_count(spec) == 2 and rows.shape[1] == 2 and kind.form == "values":
        rows = 0.5 + (rows[:, 1:] - rows[:, :1])  # the larger of both values decides
    independent = kind.independent or rows.shape[1] == 1
    probabilities = _probabilities(rows, kind.form, independent=independent)
    if spec.task == "binary":
        return probabilities[:, -1], targets.flatten().long()
    if rows.shape[1] == 1:
        probabilities = torch.cat([1 - probabilities, probabilities], dim=1)
    return probabilities, targets


def as_numbers(outputs: object, targets: Tensor, spec: DataSpec) -> tuple[Tensor, Tensor]:
    """Return the outputs unchanged, and the targets as numbers in the same shape where there are such."""
    rows = as_rows(outputs, spec, len(targets), possible_widths(spec)).float()
    if rows.shape[1] == 1:
        return rows.squeeze(1), targets.flatten().float()
    return rows, targets


def _probabilities(rows: Tensor, form: OutputForm, independent: bool) -> Tensor:
    """Return numbers from 0 to 1, of which the largest of a row (or one above 0.5) is the predicted class.

    Values close to 0 and 1 are not probabilities: they can be outside. They are mapped into 0..1 without a
    change of their order or of the side of 0.5 on which they are.
    """
    if form == "logits":
        return rows.sigmoid() if independent else rows.softmax(dim=1)
    if form == "log_probabilities":
        return rows.exp()
    return (rows - 0.5).sigmoid() if form == "values" else rows


def _raise_wrong_width(width: int, spec: DataSpec, widths: Collection[int]) -> None:
    expected = " or ".join(str(number) for number in widths)
    if spec.task == "regression":
        data = f"each target has {spec.num_outputs} value{'s' * (spec.num_outputs > 1)}"
    else:
        data = f"the data has {class_count(spec)} {'labels' if spec.task == 'multilabel' else 'classes'}"
    raise ComponentError(
        f"model: the model has {width:,} output{'s' * (width > 1)} for each sample, but {data}: it must have "
        f"{expected}; let its __init__ take num_classes (or num_outputs), or set the size of its last layer "
        "in [model]"
    )

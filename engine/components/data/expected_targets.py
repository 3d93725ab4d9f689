"""The targets that the samples of a map-style dataset had when it was opened, to be compared when it is read.

A training uses the targets from then. A dataset that returns others later would be trained on wrong ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchconsole.engine.components.data.decoding import from_numpy
from torchconsole.engine.errors import DataError

Target = Tensor | str
"""The target of a sample; text is the name of a class."""


def as_target(value: Any, name: str) -> Target:
    """Convert the target of a sample of dataset `name`. Raises DataError if it is none."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return str(value)
    if isinstance(value, np.ndarray):
        is_text = value.ndim == 0 and value.dtype.kind in "US"
        return as_target(value.item(), name) if is_text else from_numpy(value, targets=True)
    try:
        target = torch.as_tensor(value)
        is_precise = isinstance(value, float | list | tuple) and target.is_floating_point()
        return torch.as_tensor(value, dtype=torch.float64) if is_precise else target  # as Python's floats are
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"data: {name} returns a {type(value).__name__} as target; a number, a row of numbers or the "
            "name of a class is needed"
        ) from error


def same_target(one: Target, other: Target) -> bool:
    """Whether two targets are equal, except for the type of their numbers and its rounding."""
    if isinstance(one, str) or isinstance(other, str):
        return isinstance(one, str) and isinstance(other, str) and one == other
    if not one.is_floating_point() and not other.is_floating_point():
        return torch.equal(one.long(), other.long())
    # A dataset may keep float64 and return float32.
    return one.shape == other.shape and torch.allclose(one.double(), other.double(), equal_nan=True)


@dataclass(frozen=True)
class ExpectedTargets:
    """Targets by the index of their sample in the dataset."""

    targets: Tensor | Sequence[Target] | Mapping[int, Target]
    attribute: str | None
    """The attribute of the dataset that they come from; None if they were read from the samples."""

    @classmethod
    def of(
        cls, found: Tensor | Sequence[Target], indices: Tensor | None, attribute: str | None
    ) -> ExpectedTargets:
        """Take the targets of all samples, or of those at `indices`."""
        if indices is None:
            return cls(found, attribute)
        return cls(dict(zip(indices.tolist(), found, strict=True)), attribute)

    def check(self, index: int, value: Any, where: str) -> None:
        """Raise DataError if the sample `index`, which is at `where`, does not have its target."""
        target, expected = as_target(value, where), self.targets[index]
        if same_target(expected, target):
            return
        if self.attribute is not None:
            raise DataError(
                f"data: {where} has the target {_shown(target)}, but {_shown(expected)} in the attribute "
                f"{self.attribute} of the dataset; correct this attribute, or rename it, so that the targets "
                "are read from the samples"
            )
        raise DataError(
            f"data: {where} has the target {_shown(target)}, but had {_shown(expected)} before; return the "
            "same target for a sample each time it is read, without random numbers"
        )


def _shown(target: Target) -> str:
    if isinstance(target, str):
        return repr(target)
    return str(target.tolist()) if target.numel() <= 8 else f"of shape {tuple(target.shape)}"

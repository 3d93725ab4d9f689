"""Watches which functions of torch a loss calls, so that functional code is seen like modules."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from torchconsole.engine.analysis.findings.provenance import (
    ALIASES,
    ONE_BY_ONE,
    SAME_VALUES,
    Derived,
    Origins,
)

LOSSES = {
    *("cross_entropy", "nll_loss", "kl_div", "binary_cross_entropy", "binary_cross_entropy_with_logits"),
    *("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "poisson_nll_loss", "soft_margin_loss"),
    *("multilabel_soft_margin_loss", "multi_margin_loss"),
}
"""Functions of torch.nn.functional that compare an input with a target."""

SYMMETRIC = {"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"}
"""Those that take input and target in either order."""

DIFFERENCES = {"sub", "__sub__", "subtract", "rsub", "__rsub__"}

ELEMENTWISE = {
    *("add", "mul", "multiply", "div", "divide", "true_divide", "__rdiv__", "pow", "__rpow__", "where"),
    *("maximum", "minimum", "fmax", "fmin", "xlogy", "atan2", "hypot", "logaddexp"),
    *("hinge_embedding_loss", "gaussian_nll_loss"),
}
"""Other functions that would repeat the smaller of two tensors."""


class Watch(TorchFunctionMode):
    """Calls `after(name, arguments, keywords, result)` after each function of torch that is not nested.

    What `after` returns replaces the result.
    """

    def __init__(self, after: Callable[[str, tuple[Any, ...], dict[str, Any], Any], Any]) -> None:
        super().__init__()
        self._after = after

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        return self._after(getattr(func, "__name__", ""), args, kwargs or {}, result)


@dataclass(frozen=True)
class LossCall:
    """A function that compares outputs with targets, and the tensors that it got."""

    name: str
    """As in torch.nn.functional, or `-` for a difference and `elementwise` for ELEMENTWISE."""
    input: Tensor
    target: Tensor
    origin: str | None
    """The function in the loss that made `input`; None if that is the model's output or anything else."""
    is_output: bool
    """Whether `input` has the model's outputs as they are."""
    is_alone: bool
    """Whether it has, and no other function of the loss takes the outputs."""
    has_targets: bool
    """Whether `target` has the targets of the data, maybe scaled: not a constant or anything else."""

    @property
    def is_known(self) -> bool:
        """Whether it is known where `input` comes from: otherwise it may be any term of an own loss."""
        return self.input.requires_grad and (self.is_output or self.origin not in (None, "clamp"))


@dataclass(frozen=True)
class LossUse:
    """What a loss does with outputs and targets."""

    calls: list[LossCall]
    """Its comparisons of both."""
    functions: set[str]
    """The functions that take the outputs as they are."""


class _LossWatch:
    """Collects the comparisons that a loss makes for these outputs and targets."""

    def __init__(self, outputs: object, targets: Tensor) -> None:
        self.outputs, self.targets = _with_grad(outputs), targets.detach()
        self._calls: list[LossCall] = []
        self._origins = Origins()
        self._same = Derived(tensors_in(self.outputs), SAME_VALUES)
        self._of_targets = Derived([self.targets], ONE_BY_ONE)
        self._uses: set[str] = set()
        """The functions that take the outputs."""

    def after(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
        """Take in the call of a function of torch; return its result."""
        # The getters of properties, such as T and data, are functions too.
        if name not in SAME_VALUES | {"__get__"} and isinstance(result, Tensor | tuple):
            self._uses |= {name for tensor in tensors_in((args, kwargs)) if tensor in self._same}
        for record in (self._origins.record, self._same.record, self._of_targets.record):
            record(name, args, result)
        pair = (
            argument(args, kwargs, 0, "input", None),
            argument(args, kwargs, 1, "target", kwargs.get("other")),
        )
        if not (isinstance(pair[0], Tensor) and isinstance(pair[1], Tensor)):
            return result
        if name in LOSSES:
            is_reversed = name in SYMMETRIC and pair[0] in self._of_targets and pair[1].requires_grad
            self._add(name, *(pair[::-1] if is_reversed else pair))
        elif name in DIFFERENCES and pair[0].requires_grad != pair[1].requires_grad:
            self._add("-", *(pair if pair[0].requires_grad else pair[::-1]))
        elif name.rstrip("_") in ELEMENTWISE or name in ELEMENTWISE:
            self._add_elementwise(*pair)
        return result

    def _add(self, name: str, output: Tensor, target: Tensor) -> None:
        is_output, has_targets = output in self._same, target in self._of_targets
        self._calls.append(
            LossCall(name, output, target, self._origins.of(output), is_output, False, has_targets)
        )

    def _add_elementwise(self, one: Tensor, other: Tensor) -> None:
        """Add what is no comparison by itself only if it combines outputs with targets of another shape."""
        if one.requires_grad != other.requires_grad and one.shape != other.shape:
            output, target = (one, other) if one.requires_grad else (other, one)
            if target in self._of_targets:
                self._add("elementwise", output, target)

    @property
    def found(self) -> LossUse:
        """What the loss has done so far."""
        is_alone = len(self._uses) == 1
        calls = [replace(call, is_alone=call.is_output and is_alone) for call in self._calls]
        return LossUse(calls, {ALIASES.get(name, name) for name in self._uses})


def argument(args: tuple[Any, ...], kwargs: dict[str, Any], position: int, name: str, default: Any) -> Any:
    return args[position] if len(args) > position else kwargs.get(name, default)


def use_in_loss(loss_fn: nn.Module, outputs: object, targets: Tensor) -> LossUse:
    """Return what the loss does with these outputs (B, ...) and targets.

    That before its failure if the loss fails, and nothing if it cannot be copied. Neither the loss nor the
    outputs change.
    """
    watch = None
    try:
        # Its weights are not the model's outputs, which requires_grad tells apart.
        loss_copy = copy.deepcopy(loss_fn).requires_grad_(False)
        watch = _LossWatch(outputs, targets)
        with warnings.catch_warnings(action="ignore"), torch.enable_grad(), Watch(watch.after):
            loss_copy(watch.outputs, watch.targets)
    except Exception:  # noqa: BLE001 - the loss may be the user's; the dry run reports what it raises
        return watch.found if watch else LossUse([], set())
    return watch.found


def tensors_in(value: object) -> Iterator[Tensor]:
    """Yield the tensors of nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors_in(item)


def main_output(outputs: object) -> Tensor | None:
    """Return the outputs, or the first tensor of several."""
    return next(tensors_in(outputs), None)


def _with_grad(value: Any) -> Any:
    """Return outputs that require grad, as those of a model do, so that they can be told from targets."""
    if isinstance(value, Tensor):
        return value.detach().requires_grad_() if value.is_floating_point() else value
    if isinstance(value, dict):
        return type(value)({key: _with_grad(item) for key, item in value.items()})
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_with_grad, value))
    return type(value)(map(_with_grad, value)) if isinstance(value, tuple | list) else value

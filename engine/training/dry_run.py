"""One batch forward and backward before the first step: what does not fit together is said at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from torchconsole.engine.errors import ComponentError, DataError
from torchconsole.engine.text import first_line
from torchconsole.engine.training.failures import is_device_lost
from torchconsole.engine.training.memory import is_out_of_memory
from torchconsole.engine.training.randomness import random_state, restore_random_state
from torchconsole.engine.training.setup import TrainingSetup

Batch = tuple[torch.Tensor, torch.Tensor]
"""Inputs and targets."""


def dry_run(setup: TrainingSetup, batch: Batch) -> float:
    """Run a batch forward and backward and return its loss; nothing of the task is changed.

    Raises ComponentError where model, loss and data do not fit each other.
    """
    with preserve_state(setup):
        return forward_and_backward(setup, batch)


def first_batch(setup: TrainingSetup) -> Batch:
    """What training begins with; nothing of the task is changed.

    Raises DataError where there is none, and for what the data's own reading raises.
    """
    with preserve_state(setup):
        try:
            return next(iter(setup.data.train.epoch(0, 0)))
        except StopIteration:
            raise DataError("data: there is not one full batch; lower data.batch_size or drop_last") from None


@contextmanager
def preserve_state(setup: TrainingSetup) -> Iterator[None]:
    """Forward and backward passes inside leave no trace: no gradient, statistics or random numbers."""
    before = random_state()
    buffers = {name: buffer.clone() for name, buffer in setup.model.named_buffers()}
    try:
        yield
    finally:
        setup.optimizer.zero_grad(set_to_none=True)
        for name, buffer in setup.model.named_buffers():
            buffer.copy_(buffers[name])
        restore_random_state(before)


def forward_and_backward(setup: TrainingSetup, batch: Batch) -> float:
    """The loss of a batch. Raises ComponentError where something does not fit."""
    inputs, targets = batch
    shape = tuple(inputs.shape)
    try:
        with setup.precision.autocast:
            outputs = setup.model.train()(inputs)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        if _is_of_the_device(error):
            raise
        _check_determinism(setup, error)
        if setup.preset.training.compile and _comes_from_the_compiler(error):
            raise ComponentError(
                f"training.compile: the model cannot be compiled: {first_line(error)}"
            ) from error
        if setup.preset.training.channels_last and "view size" in str(error):
            raise ComponentError(
                f"training.channels_last: {setup.preset.model.name} itself views a tensor as if channels "
                "were first in memory: set it to false, or have the model use reshape instead of view"
            ) from error
        raise ComponentError(
            f"model: {setup.preset.model.name} does not take a batch of shape {shape}: {first_line(error)}"
        ) from error
    try:
        with setup.precision.autocast:
            loss: torch.Tensor = setup.loss_fn(outputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        if _is_of_the_device(error):
            raise
        _check_determinism(setup, error)
        raise ComponentError(
            f"loss: {setup.preset.loss.name} does not take outputs of shape {_shape(outputs)} and targets of "
            f"shape {tuple(targets.shape)}: {first_line(error)}"
        ) from error
    return loss.item()


def _is_of_the_device(error: Exception) -> bool:
    """Whether it says nothing of what does not fit together."""
    return is_out_of_memory(error) or (isinstance(error, RuntimeError) and is_device_lost(error))


def _check_determinism(setup: TrainingSetup, error: Exception) -> None:
    """Raises ComponentError where it is only that torch has no deterministic form of an operation."""
    if setup.preset.training.deterministic and "deterministic" in str(error):
        raise ComponentError(f"training.deterministic: {first_line(error).partition('. ')[0]}") from error


def _comes_from_the_compiler(error: Exception) -> bool:
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))


def _shape(outputs: object) -> object:
    return tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__

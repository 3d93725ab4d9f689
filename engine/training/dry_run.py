"""One batch forward and backward before the first step, which shows whether model, loss and data fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from torchconsole.engine.errors import ComponentError, DataError
from torchconsole.engine.text import first_line
from torchconsole.engine.training.failures import is_device_lost, is_out_of_memory
from torchconsole.engine.training.parts import TrainingParts
from torchconsole.engine.training.randomness import random_state, restore_random_state

Batch = tuple[torch.Tensor, torch.Tensor]
"""Inputs and targets."""

MISFITS = (RuntimeError, ValueError, TypeError, IndexError, AssertionError)
"""What model and loss raise for inputs that they do not take."""


def dry_run(parts: TrainingParts, batch: Batch) -> float:
    """Run a batch forward and backward and return its loss; the training's state stays as it was.

    Raises ComponentError if model, loss and data do not fit together.
    """
    with preserve_state(parts):
        return forward_and_backward(parts, batch)


def first_batch(parts: TrainingParts) -> Batch:
    """Return the first batch of the training; the training's state stays as it was.

    Raises DataError if there is none, and what reading the data raises.
    """
    with preserve_state(parts):
        try:
            return next(iter(parts.data.train.epoch(0, 0)))
        except StopIteration:
            raise DataError(
                "data: there is not one full batch; lower data.batch_size or set data.drop_last = false"
            ) from None


@contextmanager
def preserve_state(parts: TrainingParts) -> Iterator[None]:
    """Undo what passes in this block leave behind: gradients, changed buffers and drawn random numbers."""
    before = random_state()
    buffers = {name: buffer.clone() for name, buffer in parts.model.named_buffers()}
    try:
        yield
    finally:
        parts.model.zero_grad(set_to_none=True)
        for name, buffer in parts.model.named_buffers():
            buffer.copy_(buffers[name])
        restore_random_state(before)


def forward_and_backward(parts: TrainingParts, batch: Batch) -> float:
    """Return the loss of a batch after its backward pass. Raises ComponentError for a misfit."""
    inputs, targets = batch
    try:
        with parts.precision.autocast:
            outputs = parts.model.train()(inputs)
    except MISFITS as error:
        _raise_unless_misfit(parts, error)
        _explain_model_error(parts, error)
        raise ComponentError(
            f"model: {parts.preset.model.name} does not take a batch of shape {tuple(inputs.shape)}: "
            f"{first_line(error)}"
        ) from error
    try:
        with parts.precision.autocast:
            loss: torch.Tensor = parts.loss_fn(outputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]
    except MISFITS as error:
        _raise_unless_misfit(parts, error)
        raise ComponentError(
            f"loss: {parts.preset.loss.name} does not take outputs of shape {_shape(outputs)} and targets of "
            f"shape {tuple(targets.shape)}: {first_line(error)}"
        ) from error
    return loss.item()


def _raise_unless_misfit(parts: TrainingParts, error: Exception) -> None:
    """Raise errors that say nothing about what fits together: of the device, or of determinism."""
    if is_out_of_memory(error) or (isinstance(error, RuntimeError) and is_device_lost(error)):
        raise error
    if parts.preset.training.deterministic and "deterministic" in str(error):
        raise ComponentError(f"training.deterministic: {first_line(error).partition('. ')[0]}") from error


def _explain_model_error(parts: TrainingParts, error: Exception) -> None:
    """Raise ComponentError if a training option is the cause rather than the model."""
    training = parts.preset.training
    if training.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        raise ComponentError(
            f"training.compile: the model cannot be compiled: {first_line(error)}"
        ) from error
    if training.channels_last and "view size" in str(error):
        raise ComponentError(
            f"training.channels_last: {parts.preset.model.name} calls view on a tensor in a way that needs "
            "channels first; set training.channels_last to false, or use reshape instead of view in the model"
        ) from error


def _shape(outputs: object) -> object:
    return tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__

"""Forward and backward passes over one batch that are undone: whether model, loss and data fit at all."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from torchconsole.engine.components.losses import loss_name
from torchconsole.engine.components.object_walk import walk
from torchconsole.engine.components.parameters import enter_train_mode
from torchconsole.engine.components.user_errors import describe_error
from torchconsole.engine.config.user_code import is_user_code
from torchconsole.engine.errors import ComponentError, DataError, TorchconsoleError
from torchconsole.engine.system_limits import explain_limit
from torchconsole.engine.text import error_summary, first_line
from torchconsole.engine.training.failures import is_device_lost, is_out_of_memory
from torchconsole.engine.training.parts import TrainingParts
from torchconsole.engine.training.preserve import preserve

Batch = tuple[Tensor, Tensor]
"""Inputs and targets."""

SECOND_BACKWARD = "backward through the graph a second time"
"""Part of torch's message about a tensor that still has the graph of an earlier batch."""

MOST_NAMED = 3
"""Tensors that a message names."""


@dataclass(frozen=True)
class Pass:
    """One forward pass with its loss."""

    outputs: object
    """What the model returned, with its graph."""
    loss: Tensor


def try_batch(parts: TrainingParts, batch: Batch) -> float:
    """Run a batch forward and backward and return its loss; the training's state stays as it was.

    Raises ComponentError if model, loss and data do not fit together.
    """
    with preserve([parts.model, parts.loss_fn]):
        return forward_and_backward(parts, batch)


def first_batch(parts: TrainingParts) -> Batch:
    """Return the first batch of the training; the training's state stays as it was.

    Raises DataError if there is none, and what reading the data raises.
    """
    with preserve([]):
        try:
            return next(iter(parts.data.train.epoch(0, 0)))
        except StopIteration:
            raise DataError(
                "data: there is not one full batch; lower data.batch_size or set data.drop_last = false"
            ) from None


def forward_and_backward(parts: TrainingParts, batch: Batch) -> float:
    """Return the loss of a batch after its backward pass. Raises ComponentError for a misfit."""
    enter_train_mode(parts.model, parts.preset.model, 0)
    done = forward(parts, batch)
    backward(parts, batch, done)
    return done.loss.item()


def forward(parts: TrainingParts, batch: Batch) -> Pass:
    """Run a batch through model and loss, in the model's present mode. Raises ComponentError for a misfit."""
    inputs, targets = batch
    try:
        with parts.precision.autocast:
            # Copied, because a model may write to its inputs. A dataset may compute them with a graph.
            outputs = parts.model(inputs.detach().clone())
    except Exception as error:  # user code may raise anything
        raise_unless_misfit(parts, error)
        _explain_model_error(parts, error)
        raise ComponentError(
            f"model: {parts.preset.model.name} does not take a batch of shape {tuple(inputs.shape)} "
            f"{_dtype(inputs)}: {describe_error(error)}"
        ) from error
    try:
        with parts.precision.autocast:
            # So may a loss to its targets.
            return Pass(outputs, parts.loss_fn(outputs, targets.detach().clone()))
    except Exception as error:  # user code may raise anything
        raise _loss_misfit(parts, outputs, targets, error) from error


def backward(parts: TrainingParts, batch: Batch, done: Pass, scale: float = 1.0) -> None:
    """Run the backward pass of the loss times `scale`. Raises ComponentError for a misfit."""
    if not done.loss.requires_grad:
        raise ComponentError(
            f"model: nothing can be trained, since the loss does not depend on a parameter of "
            f"{parts.preset.model.name} that requires a gradient; remove detach(), torch.no_grad(), argmax() "
            "and the like from the model's forward and from the loss"
        )
    try:
        (done.loss if scale == 1 else done.loss * scale).backward()  # type: ignore[no-untyped-call]
    except Exception as error:  # user code may raise anything
        raise_unless_misfit(parts, error)
        name = loss_name(parts.preset.loss, parts.data.spec)
        raise ComponentError(
            f"loss: the backward pass of {name} through {parts.preset.model.name} fails: "
            f"{describe_error(error)}"
        ) from error


def raise_unless_misfit(parts: TrainingParts, error: Exception) -> None:
    """Raise errors that say nothing about what fits together: of the device, of determinism, of a graph."""
    if isinstance(error, TorchconsoleError) or is_out_of_memory(error) or explain_limit(error):
        raise error
    if isinstance(error, RuntimeError) and is_device_lost(error):
        raise error
    if SECOND_BACKWARD in str(error):
        raise ComponentError(
            f"model: {parts.preset.model.name} or its loss keeps a tensor{_kept_graph(parts)} with the graph "
            "that computed it, and uses it for the next batch too; if forward computes it, keep it without "
            "the graph, for example self.state = state.detach(); if __init__ computes it from a parameter, "
            "make the result the parameter: self.w = nn.Parameter(0.01 * torch.randn(8))"
        ) from error
    if parts.preset.training.deterministic and "use_deterministic_algorithms" in str(error):
        reason = first_line(error).partition(", but you set")[0].partition(". ")[0]
        raise ComponentError(
            f"training.deterministic: {reason}; replace this operation, or set training.deterministic = false"
        ) from error


def _kept_graph(parts: TrainingParts) -> str:
    """Name the tensors in attributes of the model and the loss that are neither parameters nor leaves."""
    found = [
        member.path
        for member in walk({"model": parts.model, "loss": parts.loss_fn})
        if isinstance(member.value, Tensor) and member.value.grad_fn is not None
    ]
    return f" ({', '.join(found[:MOST_NAMED])})" if found else ""


def describe_outputs(outputs: object) -> str:
    """Describe what a model returned: `outputs of shape (32, 10)`, or `a tuple of 2 tensors (...)`."""
    if isinstance(outputs, Tensor):
        return f"outputs of shape {tuple(outputs.shape)}"
    if isinstance(outputs, tuple | list):
        parts = ", ".join(
            str(tuple(item.shape)) if isinstance(item, Tensor) else type(item).__name__ for item in outputs
        )
        return f"a {type(outputs).__name__} of {len(outputs)} ({parts})"
    if isinstance(outputs, dict):
        return f"a dict with the keys {', '.join(map(str, outputs))}"
    return f"an object of type {type(outputs).__name__}"


def _loss_misfit(parts: TrainingParts, outputs: object, targets: Tensor, error: Exception) -> ComponentError:
    """Return the error of a loss that does not take its arguments. Raises what is no misfit."""
    raise_unless_misfit(parts, error)
    remedy = ""
    if not isinstance(outputs, Tensor) and not is_user_code(parts.preset.loss.name):
        remedy = "; return one tensor from the model's forward, or name a loss of your own that takes this"
    name = loss_name(parts.preset.loss, parts.data.spec)
    return ComponentError(
        f"loss: {name} does not take {describe_outputs(outputs)} and targets of shape "
        f"{tuple(targets.shape)}: {describe_error(error)}{remedy}"
    )


def _explain_model_error(parts: TrainingParts, error: Exception) -> None:
    """Raise ComponentError if a training option is the cause rather than the model."""
    training = parts.preset.training
    if training.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        cause = getattr(error, "inner_exception", None) or error  # torch 2.8 begins with "raised:" alone
        raise ComponentError(
            f"training.compile: the model cannot be compiled: {error_summary(cause)}"
        ) from error
    if training.channels_last and "view size" in str(error):
        raise ComponentError(
            f"training.channels_last: {parts.preset.model.name} calls view on a tensor in a way that needs "
            "channels first; set training.channels_last to false, or use reshape instead of view in the model"
        ) from error
    if "Expected more than 1 value per channel" in str(error):
        raise ComponentError(
            f"data.batch_size: batch norm cannot train on a batch of one sample; raise data.batch_size: "
            f"{first_line(error)}"
        ) from error


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")

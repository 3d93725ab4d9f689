"""Watches which functions of torch a model calls in a forward pass."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from torchconsole.engine.analysis.findings.observe import Watch, argument, main_output
from torchconsole.engine.analysis.findings.provenance import SAME_VALUES, Origins

DROPOUTS = {"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"}

NORMS = {"batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm"}

FIRST_LAYERS = {"linear", "conv1d", "conv2d", "conv3d", "lstm", "gru", "rnn_tanh", "rnn_relu", "matmul"}

KEEP_DROPPED = {*SAME_VALUES, "relu", "leaky_relu", "relu_", "leaky_relu_", "max_pool1d", "max_pool2d"}
"""Functions behind a dropout whose results have the variance that it changes."""

ACTIVATIONS: dict[str, tuple[type[nn.Module], ...]] = {
    "softmax": (nn.Softmax, nn.Softmax2d, nn.Softmin),
    "log_softmax": (nn.LogSoftmax,),
    "sigmoid": (nn.Sigmoid,),
    "hardsigmoid": (nn.Hardsigmoid,),
    "log_sigmoid": (nn.LogSigmoid,),
    "tanh": (nn.Tanh,),
    "relu": (nn.ReLU,),
    "relu6": (nn.ReLU6,),
    "softplus": (nn.Softplus,),
}
"""The modules of torch.nn that call such a function and do nothing else."""

MAX_ROWS = 2
"""Rows of a batch that are enough to see which functions a model calls."""


@dataclass
class ForwardTrace:
    """What a model did in eval mode with a few rows."""

    origin: str | None = None
    """The function that made the outputs, such as softmax or linear."""
    layer: str | None = None
    """The name of the module of ACTIVATIONS that made the outputs; None if another function did."""
    is_dropped: bool = False
    """Whether a dropout follows, which does nothing in eval mode."""
    active_dropouts: int = 0
    """Calls of dropout that drop something although the model is in eval mode."""
    norms_by_batch: int = 0
    """Calls of batch norm that use the batch's own mean and std although the model is in eval mode."""
    norm_follows_dropout: bool = False
    """Whether the input of a batch norm is the result of a dropout."""
    first_input: Tensor | None = None
    """What the first layer with weights got; None if a norm comes before it or there is none."""
    leaves: list[Tensor] = field(default_factory=list)
    """The tensors that the outputs depend on and that would get a gradient."""


def trace_forward(model: nn.Module, inputs: Tensor, *, is_compiled: bool = False) -> ForwardTrace | None:
    """Run a few rows of `inputs` (B, ...) through the model in eval mode, and tell what it called.

    None if the model fails. The caller preserves buffers and random numbers; the modes are restored here.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        for rows in (inputs[:MAX_ROWS], inputs):
            # A model may take batches of one size only.
            try:
                return _traced(model.eval(), rows.clone(), is_compiled)
            except Exception:  # noqa: BLE001, S112 - the dry run reports what a model raises
                continue
        return None
    finally:
        for module, training in modes:
            module.training = training


def _traced(model: nn.Module, inputs: Tensor, is_compiled: bool) -> ForwardTrace:
    trace = ForwardTrace()
    origins = Origins()
    dropped: dict[int, Tensor] = {}
    normed = False

    def after(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
        nonlocal normed
        origins.record(name, args, result)
        if name in DROPOUTS and isinstance(result, Tensor):
            p, training = argument(args, kwargs, 1, "p", 0.5), argument(args, kwargs, 2, "training", True)
            trace.active_dropouts += bool(p and training)
            if p:
                # In eval mode the result is the input itself, which other layers may take too.
                result = result.view_as(result)
                dropped[id(result)] = result
                origins.record("view_as", args, result)
        elif name in KEEP_DROPPED and args and id(args[0]) in dropped and isinstance(result, Tensor):
            dropped[id(result)] = result
        elif name in NORMS:
            normed = True
            if name == "batch_norm":
                trace.norms_by_batch += bool(argument(args, kwargs, 5, "training", False))
                trace.norm_follows_dropout |= id(args[0]) in dropped
        elif name in FIRST_LAYERS and not normed and trace.first_input is None:
            normed = True
            trace.first_input = args[0].detach() if isinstance(args[0], Tensor) else None
        return result

    with (
        warnings.catch_warnings(action="ignore"),
        torch.enable_grad(),
        # Only if there is compiled code: this imports the compiler, which takes seconds.
        torch.compiler.set_stance("force_eager") if is_compiled else contextlib.nullcontext(),
        _noted_layers(model, origins),
        Watch(after),
    ):
        outputs = main_output(model(inputs))
    if outputs is not None:
        trace.origin = origins.of(outputs)
        trace.layer = origins.layer_of(outputs)
        trace.is_dropped = id(outputs) in dropped
        trace.leaves = list(leaves_of(outputs))
    return trace


@contextlib.contextmanager
def _noted_layers(model: nn.Module, origins: Origins) -> Iterator[None]:
    """Note which tensors the modules of ACTIVATIONS return."""
    kinds = tuple(kind for some in ACTIVATIONS.values() for kind in some)

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda module, inputs, result: (
            origins.made_by(name, result) if isinstance(result, Tensor) else None
        )

    hooks = [
        module.register_forward_hook(note(name))
        for name, module in model.named_modules()
        if isinstance(module, kinds)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def leaves_of(outputs: Tensor) -> Iterator[Tensor]:
    """Yield each tensor that a backward pass from `outputs` would accumulate a gradient in."""
    seen: set[Any] = set()
    waiting = [outputs.grad_fn]
    while waiting:
        node: Any = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(variable := getattr(node, "variable", None), Tensor):
            yield variable
        waiting.extend(following for following, _ in node.next_functions)

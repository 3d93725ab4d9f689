"""Replaces parts of a model, by their names, by layers that a preset lists."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from torchconsole.engine.components.data.types import DataSpec
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.components.models.adapt_layers import find_head
from torchconsole.engine.components.models.layers import (
    OUTPUT_SIZES,
    Surroundings,
    build_layer,
    build_list,
    data_outputs,
    sample_inputs,
)
from torchconsole.engine.config.schema import LayerConfig
from torchconsole.engine.config.validation_errors import dotted
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.text import did_you_mean

Replacements = Mapping[str, LayerConfig | list[LayerConfig]]
"""`model.replace`: the name of a module -> the layer, or the list of layers, that takes its place."""


def replace_modules(model: nn.Module, wanted: Replacements, spec: DataSpec, user_code: UserCode) -> set[str]:
    """Replace modules of `model` in the given order, and return the names of the new parameters.

    Sizes that are left out are those of the inputs and outputs of the module that is replaced; of the head,
    the outputs are those that the data needs. Raises ComponentError for a name that the model does not have,
    and for layers that cannot be built.
    """
    new: set[str] = set()
    for name, given in wanted.items():
        section = f"model.replace.{dotted([name])}"
        old = dict(model.named_modules()).get(name) if name else None
        if old is None:
            known = [known for known, _ in model.named_modules() if known]
            raise ComponentError(f"{section}: the model has no module {name!r}{did_you_mean(name, known)}")
        inputs = _inputs_of(old, model, spec)
        outputs = _outputs_of(old, name, inputs, model, spec)
        vocab_size = spec.vocab_size if isinstance(old, nn.Embedding | nn.EmbeddingBag) else None
        place = Surroundings(inputs, outputs, vocab_size)
        module: nn.Module
        if isinstance(given, list):
            module, _ = build_list(section, given, place, user_code)
        else:
            module = build_layer(section, given, place, user_code)
        model.set_submodule(name, module)
        new = {known for known in new if not known.startswith(f"{name}.")}
        new |= {f"{name}.{inner}" for inner, _ in module.named_parameters()}
    return new


class _ReachedError(Exception):
    """The forward pass has reached the module."""


def _inputs_of(module: nn.Module, model: nn.Module, spec: DataSpec) -> Tensor | None:
    """Return what `module` gets if a batch of zeros runs through the model; None if that is not known."""
    found: list[Any] = []

    def stop(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        found.extend(inputs)
        raise _ReachedError

    handle = module.register_forward_pre_hook(stop)
    try:
        # A forward pass of user code may raise anything, also for this batch alone.
        with suppress(Exception):
            _evaluate(model, sample_inputs(spec))
    finally:
        handle.remove()
    return found[0] if len(found) == 1 and isinstance(found[0], Tensor) else None


def _outputs_of(
    old: nn.Module, name: str, inputs: Tensor | None, model: nn.Module, spec: DataSpec
) -> dict[str, int]:
    """Return the sizes of the outputs that take the place of those of `old`."""
    head = find_head(model)
    if head is not None and (head[0] == name or head[0].startswith(f"{name}.")):
        return data_outputs(spec.num_outputs)
    for size in OUTPUT_SIZES:
        if isinstance(count := getattr(old, size, None), int):
            return data_outputs(count)
    outputs: Any = None
    if inputs is not None:
        with suppress(Exception):
            outputs = _evaluate(old, inputs)
    if not isinstance(outputs, Tensor) or outputs.ndim < 2:
        return {}
    return {"out_features": outputs.shape[-1], "out_channels": outputs.shape[1]}


def _evaluate(module: nn.Module, inputs: Tensor) -> Any:
    """Run a module in evaluation mode; its modes and the process's random numbers stay as they are."""
    modes = [(inner, inner.training) for inner in module.modules()]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            return module.eval()(inputs.clone())
    finally:
        for inner, training in modes:
            inner.training = training

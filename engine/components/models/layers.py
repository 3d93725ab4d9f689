"""Builds the layers that a preset lists by torch.nn's names, and fills in the sizes that it leaves out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from torchconsole.engine.components.data.types import DataSpec
from torchconsole.engine.components.instantiate import UserCode, build, classes_of, find
from torchconsole.engine.components.models.recurrent import run_recurrent, token_lengths
from torchconsole.engine.components.torch_compat import LossBase
from torchconsole.engine.config.schema import LayerConfig
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.system_limits import is_memory_error
from torchconsole.engine.text import first_line

NOT_LAYERS = frozenset(
    {
        *("Container", "DataParallel", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList"),
        *("AdaptiveLogSoftmaxWithLoss", "Bilinear", "CosineSimilarity", "MultiheadAttention"),
        *("PairwiseDistance", "Transformer", "TransformerDecoder", "TransformerDecoderLayer"),
        *("GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase", "TransformerEncoder"),
        *("MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d", "SyncBatchNorm"),
    }
)
"""Modules of torch.nn that do not turn one tensor into another, or need other modules as arguments."""

INPUT_SIZES = ("in_features", "input_size", "d_model", "in_channels", "num_features", "num_channels")
OUTPUT_SIZES = ("out_features", "out_channels")

FILLED_IN = frozenset({*INPUT_SIZES, *OUTPUT_SIZES, "normalized_shape", "num_embeddings"})
"""Arguments that a preset may leave out; those of the outputs only for the last layer that has them."""

SAMPLES = 2
"""Samples in the batch that is run through the layers to find their sizes."""


class LayerStack(nn.Sequential):
    """Layers one after another, with recurrent ones among them; without any, its outputs are its inputs.

    A recurrent layer passes all its outputs on if a later one of the list reads them, else its last state. If
    the first layer is an Embedding with a `padding_idx`, padding at the end of a text does not change that.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, ...) -> (B, ...)."""
        layers = list(self)
        lengths = _lengths(layers[0], inputs) if layers else None
        recurrent = [number for number, layer in enumerate(layers) if isinstance(layer, nn.RNNBase)]
        outputs = inputs
        for number, layer in enumerate(layers):
            all_steps = bool(recurrent) and number < recurrent[-1]
            outputs = _apply(layer, outputs, lengths, all_steps=all_steps)
        return outputs


class Residual(nn.Module):
    """Adds what its layers make of the input to the input, (B, ...) -> (B, ...)."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, inputs: Tensor) -> Tensor:
        """x -> x + f(x)."""
        outputs: Tensor = self.layers(inputs)
        if outputs.shape != inputs.shape:
            raise ValueError(f"its layers change the shape to {_batch(outputs)}")
        return inputs + outputs


CONTAINERS: dict[str, Callable[..., nn.Module]] = {"Sequential": LayerStack, "Residual": Residual}
"""The layers that take a list of layers."""


def known_layers() -> dict[str, Callable[..., nn.Module]]:
    """Return the classes of torch.nn that a list of layers may name, and the containers."""
    found = classes_of(nn, nn.Module)
    excluded = NOT_LAYERS | classes_of(nn, LossBase).keys()
    usable = {name: cls for name, cls in found.items() if name not in excluded and name[:4] != "Lazy"}
    return {**usable, **CONTAINERS}


def layer_arguments(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the arguments of a layer by name; the classes of recurrent layers do not name theirs."""
    if not _is_recurrent(factory):
        return dict(inspect.signature(factory).parameters)
    parameters = dict(inspect.signature(nn.RNNBase).parameters)
    del parameters["mode"]
    return parameters


@dataclass(frozen=True)
class Surroundings:
    """What is known about the place where a layer will be."""

    inputs: Tensor | None
    """A batch of zeros as the layer gets it; None if it is not known."""
    outputs: Mapping[str, int] = field(default_factory=dict)
    """Arguments of `OUTPUT_SIZES` for the last layer that has one of them."""
    vocab_size: int | None = None
    """See `DataSpec.vocab_size`."""
    is_nested: bool = False
    """Whether the layer belongs to a list inside of a list."""

    def sizes(self) -> dict[str, Any]:
        """Return what can be filled in, by the names of arguments."""
        found: dict[str, Any] = {"batch_first": True, **self.outputs}
        if self.vocab_size is not None:
            found |= {"num_embeddings": self.vocab_size, "padding_idx": 0}
        shape = () if self.inputs is None else tuple(self.inputs.shape)
        if len(shape) > 1:
            found |= dict.fromkeys(("in_features", "input_size", "d_model"), shape[-1])
            found |= dict.fromkeys(("in_channels", "num_features", "num_channels"), shape[1])
            # As in torch's examples: the features of a table or a sequence, all axes of an image.
            found["normalized_shape"] = list(shape[1:]) if len(shape) > 3 else shape[-1]
        return found


def data_outputs(count: int) -> dict[str, int]:
    """Return the sizes of a last layer with so many outputs."""
    return dict.fromkeys(OUTPUT_SIZES, count)


def sample_inputs(spec: DataSpec) -> Tensor:
    """Return a batch of zeros with the shape and type of the data."""
    return torch.zeros(SAMPLES, *spec.input_shape, dtype=spec.input_dtype)


def build_sequential(configs: Sequence[LayerConfig], spec: DataSpec, user_code: UserCode) -> nn.Module:
    """Build the model that `model.layers` lists: inputs (B, *input_shape) -> outputs (B, num_outputs).

    Raises ComponentError, with the number of the layer, for one that is unknown, rejects its arguments or
    does not take what the layer before it returns.
    """
    place = Surroundings(sample_inputs(spec), data_outputs(spec.num_outputs), spec.vocab_size)
    model, outputs = build_list("model.layers", configs, place, user_code)
    if outputs is not None and outputs.ndim > 2:
        raise ComponentError(
            f"model.layers: the outputs have shape {_batch(outputs)}, but the data needs (B, "
            f'{spec.num_outputs}); add {{ name = "Flatten" }} before the last Linear layer'
        )
    return model


def build_list(
    section: str, configs: Sequence[LayerConfig], place: Surroundings, user_code: UserCode
) -> tuple[LayerStack, Tensor | None]:
    """Build a list of layers; return them, and their outputs for `place.inputs`. Raises ComponentError."""
    factories = [_find(f"{section}.{n}", config, user_code) for n, config in enumerate(configs)]
    sized = [n for n, config in enumerate(configs) if _has_outputs(config, factories[n])]
    recurrent = [number for number, factory in enumerate(factories) if _is_recurrent(factory)]
    layers: list[nn.Module] = []
    values, lengths = place.inputs, None
    for number, config in enumerate(configs):
        here = f"{section}.{number}"
        outputs = place.outputs if number in sized[-1:] else {}
        layer = build_layer(here, config, replace(place, inputs=values, outputs=outputs), user_code)
        layers.append(layer)
        if values is None:
            continue
        lengths = _lengths(layer, values) if number == 0 else lengths
        all_steps = bool(recurrent) and number < recurrent[-1]
        values = _try(here, config, layer, values, lengths, all_steps=all_steps)
    return LayerStack(*layers), values


def build_layer(section: str, config: LayerConfig, place: Surroundings, user_code: UserCode) -> nn.Module:
    """Build one layer. Raises ComponentError for an unknown name and for its arguments."""
    factory = _find(section, config, user_code)
    if config.name in CONTAINERS:
        return _build_container(section, config, place, user_code)
    if config.layers:
        raise ComponentError(f"{section}.layers: {config.name} has no layers of its own; remove this key")
    if config.arguments.get("batch_first") is False:
        raise ComponentError(f"{section}.batch_first: must be true, because batches come first")
    if place.is_nested and place.vocab_size is not None and _is_recurrent(factory):
        raise ComponentError(
            f"{section}: {config.name} reads the padding of texts here; move it to the outer list of layers"
        )
    known = layer_arguments(factory)
    sizes = {name: size for name, size in place.sizes().items() if name in known}
    return build(section, factory, nn.Module, {}, sizes | config.arguments)


def _build_container(
    section: str, config: LayerConfig, place: Surroundings, user_code: UserCode
) -> nn.Module:
    if not config.layers:
        raise ComponentError(f"{section}.layers: {config.name} requires this key: a list of layers")
    if config.arguments:
        key = next(iter(config.arguments))
        raise ComponentError(f"{section}.{key}: {config.name} takes no argument {key!r}")
    inside = replace(place, is_nested=True)
    if config.name == "Residual" and place.inputs is not None:
        shape = place.inputs.shape
        inside = replace(inside, outputs={"out_features": shape[-1], "out_channels": shape[1]})
    layers, _ = build_list(f"{section}.layers", config.layers, inside, user_code)
    return layers if config.name == "Sequential" else Residual(layers)


def _find(section: str, config: LayerConfig, user_code: UserCode) -> Callable[..., nn.Module]:
    return find(section, config.name, known_layers(), user_code, nn.Module)


def _has_outputs(config: LayerConfig, factory: Callable[..., nn.Module]) -> bool:
    """Whether a layer has a number of outputs; the lists in a Sequential are assumed to."""
    if config.name in CONTAINERS:
        return config.name == "Sequential"
    return any(name in layer_arguments(factory) for name in OUTPUT_SIZES)


def _is_recurrent(factory: Callable[..., Any]) -> bool:
    return inspect.isclass(factory) and issubclass(factory, nn.RNNBase)


def _lengths(first: nn.Module, inputs: Tensor) -> Tensor | None:
    """Return the lengths of texts (B,) if the first layer embeds padded tokens (B, T), else None."""
    if not isinstance(first, nn.Embedding) or first.padding_idx is None or inputs.ndim != 2:
        return None
    return token_lengths(inputs, first.padding_idx)


def _apply(layer: nn.Module, inputs: Tensor, lengths: Tensor | None, *, all_steps: bool) -> Tensor:
    """Return a layer's outputs: of a recurrent one all of them (`all_steps`), or the last state."""
    if not isinstance(layer, nn.RNNBase):
        outputs: Tensor = layer(inputs)
        return outputs
    steps, last = run_recurrent(layer, inputs, lengths)
    return steps if all_steps else last


def _try(
    section: str,
    config: LayerConfig,
    layer: nn.Module,
    inputs: Tensor,
    lengths: Tensor | None,
    *,
    all_steps: bool,
) -> Tensor:
    """Return a layer's outputs in evaluation. Raises ComponentError if it does not take `inputs`."""
    layer.eval()
    try:
        with torch.no_grad():
            outputs = _apply(layer, inputs, lengths, all_steps=all_steps)
    except Exception as error:  # layers, including those of user code, may raise anything
        if is_memory_error(error):
            raise
        advice = ""
        if inputs.dtype == torch.int64:
            advice = '; the inputs are indices, so begin with { name = "Embedding", embedding_dim = 64 }'
        raise ComponentError(
            f"{section}: {config.name} does not take inputs of shape {_batch(inputs)}: {first_line(error)}"
            f"{advice}"
        ) from error
    if not isinstance(outputs, Tensor):
        raise ComponentError(
            f"{section}: {config.name} returns a {type(outputs).__name__}; a layer must return one tensor"
        )
    layer.train()
    return outputs


def _batch(tensor: Tensor) -> str:
    """Format the shape of a batch, such as `(B, 3, 32, 32)`."""
    return f"({', '.join(['B', *map(str, tensor.shape[1:])])})"

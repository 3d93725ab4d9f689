"""Builds a preset's model with the sizes of the data, loads its weights and applies its init rules."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from torchconsole.engine.components.data.types import DataSpec
from torchconsole.engine.components.initialization import initialize
from torchconsole.engine.components.instantiate import (
    UserCode,
    accepted,
    build,
    find,
    pick,
    takes_any_keyword,
    unexpected_keyword,
)
from torchconsole.engine.components.models.layers import build_sequential
from torchconsole.engine.components.models.replacing import replace_modules
from torchconsole.engine.components.models.state_dict_diff import diff_state_dict, rename
from torchconsole.engine.components.models.torchvision_models import (
    build_classifier,
    classifier_names,
    published_weights,
)
from torchconsole.engine.components.models.weights import (
    State,
    download_weights,
    is_file_name,
    load_state,
    read_state,
)
from torchconsole.engine.components.models.zoo import ZOO, check_types
from torchconsole.engine.config.schema import ModelConfig
from torchconsole.engine.config.user_code import is_user_code
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.protocol.events import ReportPhase
from torchconsole.engine.user_folders import expand_user


def build_model(
    config: ModelConfig, spec: DataSpec, user_code: UserCode, report: ReportPhase = lambda phase: None
) -> nn.Module:
    """Build a preset's model on the CPU: inputs (B, *input_shape) -> outputs (B, num_outputs).

    Networks of torchconsole and of user code get the arguments input_shape, num_classes, num_outputs and, for
    texts, vocab_size if they take them and the preset does not set them. Init rules apply to the
    parameters that the weights do not contain. `report` receives the phase of a download.

    Raises:
        ComponentError: for an unknown name or argument, a model that does not support the data, an init rule
            without matching parameters, and weights that do not exist or do not match.
        TrustError: for user code that is not trusted.
    """
    model = _build(config, spec, user_code)
    state = _read_weights(model, config, report)
    if not config.replace:
        loaded = _load(model, state, config)
    else:
        model, loaded = _replace_and_load(model, state, config, spec, user_code)
    initialize(model, config.init, keep=loaded)
    return model


def _build(config: ModelConfig, spec: DataSpec, user_code: UserCode) -> nn.Module:
    if config.name == "Sequential":
        if config.arguments:
            key = next(iter(config.arguments))
            raise ComponentError(f"model.{key}: Sequential takes no argument {key!r}")
        return build_sequential(config.layers, spec, user_code)
    if config.name in ZOO or is_user_code(config.name):
        return _build_network(config, spec, user_code)
    pick("model", config.name, dict.fromkeys(["Sequential", *ZOO, *classifier_names()]))
    return build_classifier(config, spec)


def _replace_and_load(
    model: nn.Module, state: State | None, config: ModelConfig, spec: DataSpec, user_code: UserCode
) -> tuple[nn.Module, set[str]]:
    """Replace parts of the model and load its weights; return it and the names of the loaded parameters.

    Weights of the changed model are loaded after the change. All others, such as published ones, are loaded
    before it, so that everything except the new parts gets them.
    """
    if state is not None and is_file_name(str(config.weights)):
        changed = copy.deepcopy(model)
        replace_modules(changed, config.replace, spec, user_code)
        if _is_state_of(changed, state, model):
            return changed, _load(changed, state, config)
    loaded = _load(model, state, config)
    new = replace_modules(model, config.replace, spec, user_code)
    return model, (loaded & {name for name, _ in model.named_parameters()}) - new


def _is_state_of(changed: nn.Module, state: State, original: nn.Module) -> bool:
    """Whether weights are those of the changed model: they fit it, or only it has their names."""
    diff, before = diff_state_dict(changed, state), diff_state_dict(original, state)
    return not diff or (not (diff.missing or diff.unexpected) and bool(before.missing or before.unexpected))


def _build_network(config: ModelConfig, spec: DataSpec, user_code: UserCode) -> nn.Module:
    factory = find("model", config.name, ZOO, user_code, nn.Module)
    sizes: dict[str, Any] = {
        "input_shape": spec.input_shape,
        "num_classes": spec.num_outputs,
        "num_outputs": spec.num_outputs,
    }
    if spec.vocab_size is not None:
        sizes["vocab_size"] = spec.vocab_size
    _check_kind_of_inputs(config, spec, factory)
    if config.name in ZOO:
        check_types(config.name, config.arguments)
    model = _call_with_sizes(factory, sizes, config.arguments)
    lazy = [name for name, parameter in model.named_parameters() if is_lazy(parameter)]
    if lazy:
        raise ComponentError(
            f"model.name: {config.name} has a lazy layer ({lazy[0]}); give it a size, based on input_shape"
        )
    return model


def _call_with_sizes(
    factory: Callable[..., nn.Module], sizes: dict[str, Any], arguments: dict[str, Any]
) -> nn.Module:
    """Call a model's factory with the sizes that it takes.

    What a factory with **kwargs passes on is found out by calling it: with all sizes, then without those that
    it calls unexpected, at last without any that its signature does not name. Failed calls leave the random
    numbers as they were.
    """
    named = accepted(factory, sizes)
    offered = {key: value for key, value in sizes.items() if key not in arguments}
    while takes_any_keyword(factory) and offered.keys() - named.keys():
        before = torch.get_rng_state()
        try:
            return build("model", factory, nn.Module, {}, named | offered | arguments)
        except ComponentError as error:
            torch.set_rng_state(before)
            unexpected = unexpected_keyword(error.__cause__)
            refused = {unexpected} & offered.keys() or offered.keys() - named.keys()
            offered = {key: value for key, value in offered.items() if key not in refused}
    return build("model", factory, nn.Module, {}, named | arguments)


def _check_kind_of_inputs(config: ModelConfig, spec: DataSpec, factory: Callable[..., nn.Module]) -> None:
    """Raise ComponentError if a network of torchconsole reads numbers but the data has tokens, or reverse."""
    if config.name not in ZOO or "vocab_size" in config.arguments:
        return
    reads_tokens = bool(accepted(factory, {"vocab_size": 1}))
    if reads_tokens and spec.input_dtype != torch.int64:
        raise ComponentError(
            f"model.name: {config.name} needs tokens, but the data has numbers of shape {spec.input_shape}; "
            "use a model such as MLP, or data.tokenizer for texts"
        )
    if not reads_tokens and spec.vocab_size is not None:
        raise ComponentError(
            f"model.name: {config.name} needs numbers, but the data has tokens; use TextClassifier"
        )


def _read_weights(model: nn.Module, config: ModelConfig, report: ReportPhase) -> State | None:
    """Return the state dict of the preset's weights with the names of `model`; None without weights."""
    if config.weights is None:
        return None
    if is_file_name(config.weights):
        path = expand_user(config.weights)
    else:
        path = download_weights(published_weights(config).url, report)
    state = read_state(path)
    rename(state, model, config.rename)
    return state


def _load(model: nn.Module, state: State | None, config: ModelConfig) -> set[str]:
    """Load weights, if any, and return the names of the loaded parameters."""
    if state is None:
        return set()
    return load_state(model, state, str(config.weights), strict=config.strict)

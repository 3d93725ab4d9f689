"""Builds the model that a preset names, sized by the data, drawn by its rules, begun from its weights."""

from __future__ import annotations

from pathlib import Path

from torch import nn
from torch.nn.parameter import is_lazy

from torchconsole.engine.components.data.types import DataSpec
from torchconsole.engine.components.initialization import initialize
from torchconsole.engine.components.instantiate import UserCode, accepted, build, find, pick
from torchconsole.engine.components.models.state_dict_diff import rename
from torchconsole.engine.components.models.torchvision_models import (
    build_classifier,
    classifier_names,
    published_weights,
)
from torchconsole.engine.components.models.weights import fetch, is_file_name, load_state, read_state
from torchconsole.engine.components.models.zoo import ZOO
from torchconsole.engine.config.schema import ModelConfig
from torchconsole.engine.config.user_code import is_own
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.protocol.events import ReportPhase


def build_model(
    config: ModelConfig, spec: DataSpec, own: UserCode, report: ReportPhase = lambda phase: None
) -> nn.Module:
    """The model of a preset, on the CPU: inputs (B, *input_shape) -> outputs (B, num_outputs).

    A network of ours or of the user's is given input_shape, num_classes and num_outputs where its signature
    names them and the preset does not. Initialisation rules draw what the weights do not bring; `report`
    receives the phase of a download. Raises ComponentError for an unknown name or argument, a model that does
    not fit the data, a rule that means nothing, and weights that are not there or do not fit; TrustError for
    code that the user has not agreed to.
    """
    if config.name in ZOO or is_own(config.name):
        model = _build_ours(config, spec, own)
    else:
        pick("model", config.name, dict.fromkeys([*ZOO, *classifier_names()]))
        model = build_classifier(config, spec)
    loaded = _load_weights(model, config, report)
    initialize(model, config.init, keep=loaded)
    return model


def _build_ours(config: ModelConfig, spec: DataSpec, own: UserCode) -> nn.Module:
    factory = find("model", config.name, ZOO, own, nn.Module)
    sizes = {
        "input_shape": spec.input_shape,
        "num_classes": spec.num_outputs,
        "num_outputs": spec.num_outputs,
    }
    model = build("model", factory, nn.Module, {}, accepted(factory, sizes) | config.arguments)
    lazy = [name for name, parameter in model.named_parameters() if is_lazy(parameter)]
    if lazy:
        raise ComponentError(
            f"model.name: {config.name} has lazy layers ({lazy[0]}): give them their sizes, from input_shape"
        )
    return model


def _load_weights(model: nn.Module, config: ModelConfig, report: ReportPhase) -> set[str]:
    """The names of the parameters that the preset's weights bring."""
    if config.weights is None:
        return set()
    if is_file_name(config.weights):
        path = Path(config.weights).expanduser()
    else:
        path = fetch(published_weights(config).url, report)
    state = read_state(path)
    rename(state, model, config.rename)
    return load_state(model, state, config.weights, strict=config.strict)

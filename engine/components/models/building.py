"""Builds a preset's model with the sizes of the data, loads its weights and applies its init rules."""

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
from torchconsole.engine.components.models.weights import (
    download_weights,
    is_file_name,
    load_state,
    read_state,
)
from torchconsole.engine.components.models.zoo import ZOO
from torchconsole.engine.config.schema import ModelConfig
from torchconsole.engine.config.user_code import is_user_code
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.protocol.events import ReportPhase


def build_model(
    config: ModelConfig, spec: DataSpec, user_code: UserCode, report: ReportPhase = lambda phase: None
) -> nn.Module:
    """Build a preset's model on the CPU: inputs (B, *input_shape) -> outputs (B, num_outputs).

    Networks of torchconsole and of user code get the arguments input_shape, num_classes and num_outputs if
    their signature has them and the preset does not set them. Init rules apply to the parameters that the
    weights do not contain. `report` receives the phase of a download.

    Raises:
        ComponentError: for an unknown name or argument, a model that does not support the data, an init rule
            without matching parameters, and weights that do not exist or do not match.
        TrustError: for user code that is not trusted.
    """
    if config.name in ZOO or is_user_code(config.name):
        model = _build_network(config, spec, user_code)
    else:
        pick("model", config.name, dict.fromkeys([*ZOO, *classifier_names()]))
        model = build_classifier(config, spec)
    loaded = _load_weights(model, config, report)
    initialize(model, config.init, keep=loaded)
    return model


def _build_network(config: ModelConfig, spec: DataSpec, user_code: UserCode) -> nn.Module:
    factory = find("model", config.name, ZOO, user_code, nn.Module)
    sizes = {
        "input_shape": spec.input_shape,
        "num_classes": spec.num_outputs,
        "num_outputs": spec.num_outputs,
    }
    model = build("model", factory, nn.Module, {}, accepted(factory, sizes) | config.arguments)
    lazy = [name for name, parameter in model.named_parameters() if is_lazy(parameter)]
    if lazy:
        raise ComponentError(
            f"model.name: {config.name} has a lazy layer ({lazy[0]}); give it a size, based on input_shape"
        )
    return model


def _load_weights(model: nn.Module, config: ModelConfig, report: ReportPhase) -> set[str]:
    """Load the preset's weights, if any, and return the names of the loaded parameters."""
    if config.weights is None:
        return set()
    if is_file_name(config.weights):
        path = Path(config.weights).expanduser()
    else:
        path = download_weights(published_weights(config).url, report)
    state = read_state(path)
    rename(state, model, config.rename)
    return load_state(model, state, config.weights, strict=config.strict)

"""The classifiers of torchvision.models, built for the data's classes and channels."""

from __future__ import annotations

from typing import Any

from torch import nn

from torchconsole.engine.components.data.types import DataSpec
from torchconsole.engine.components.instantiate import build
from torchconsole.engine.components.models.adapt_layers import replace_stem
from torchconsole.engine.components.models.weights import is_file_name
from torchconsole.engine.components.torchvision_compat import prepare_torchvision
from torchconsole.engine.config.schema import ModelConfig
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.text import did_you_mean

INCEPTIONS = ("googlenet", "inception_v3")


def classifier_names() -> list[str]:
    """Return torchvision's names of its classifiers, such as resnet18."""
    prepare_torchvision()
    from torchvision import models

    names: list[str] = models.list_models(module=models)
    return names


def build_classifier(config: ModelConfig, spec: DataSpec) -> nn.Module:
    """Build torchvision's model of this name for the data's classes and channels, without weights.

    All arguments of the preset are passed to torchvision, including num_classes. Inception and GoogLeNet are
    built without auxiliary heads, because the loop trains one output. Raises ComponentError for data other
    than images, for arguments that the model rejects, and for published weights of another image size.
    """
    prepare_torchvision()
    from torchvision.models import get_model_builder

    if len(spec.input_shape) != 3:
        raise ComponentError(
            f"model: {config.name} needs images (C, H, W), but the data has shape {spec.input_shape}; use a "
            f"model such as {'MLP' if spec.vocab_size is None else 'TextClassifier'}"
        )
    given = {"aux_logits": False} if config.name in INCEPTIONS else {}
    arguments = {"num_classes": spec.num_outputs, **_default_arguments(config, spec), **config.arguments}
    model = build("model", get_model_builder(config.name), nn.Module, given, arguments)
    replace_stem(model, spec.input_shape[0], keep_weights=False)
    return model


def published_weights(config: ModelConfig) -> Any:
    """Return torchvision's entry (url, meta, transforms) for the preset's weights, such as DEFAULT.

    Raises ComponentError if the model has no published weights or none of this name.
    """
    if config.name not in classifier_names():
        raise ComponentError(
            f"model.weights: {config.name} has no published weights; set the path of a file, such as best.pt"
        )
    from torchvision.models import get_model_weights

    known = get_model_weights(config.name).__members__
    if config.weights not in known:
        nearest = did_you_mean(str(config.weights), known)
        raise ComponentError(
            f"model.weights: {config.name} has no weights {config.weights!r}{nearest}; "
            "`--set model.weights=` starts from random ones"
        )
    return known[config.weights]


def _default_arguments(config: ModelConfig, spec: DataSpec) -> dict[str, Any]:
    """Return arguments that depend on the data and the weights; the preset's own take precedence."""
    arguments: dict[str, Any] = {}
    channels, height, width = spec.input_shape
    published = config.weights is not None and not is_file_name(config.weights)
    if config.name.startswith("vgg") or config.name in INCEPTIONS:
        arguments["init_weights"] = config.weights is None
    if config.name in INCEPTIONS and published and channels == 3:
        # These weights expect inputs scaled to -1..1; this converts from ImageNet's normalization.
        arguments["transform_input"] = True
    if config.name.startswith("vit_"):
        arguments["image_size"] = _image_size(config, spec, published)
    if config.name.startswith("maxvit"):
        arguments["input_size"] = (height, width)
    return arguments


def _image_size(config: ModelConfig, spec: DataSpec, published: bool) -> int:
    """Return the side length of the images that a vision transformer is built for."""
    _, height, width = spec.input_shape
    side: int = published_weights(config).meta["min_size"][0] if published else height
    if (height, width) != (side, side):
        required = f"images of {side}x{side}" if published else "square images"
        raise ComponentError(
            f"model: {config.name} needs {required}, but the data has {height}x{width}; add a Resize to "
            "data.transforms"
        )
    return side

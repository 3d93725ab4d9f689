"""Every classifier of torchvision gets a head for the data's classes and a stem for its channels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.support.specs import spec
from torchconsole.engine.components.models.adapt_layers import (
    find_head,
    find_stem,
    replace_head,
    replace_stem,
)
from torchconsole.engine.components.models.torchvision_models import build_classifier, classifier_names
from torchconsole.engine.config.schema import ModelConfig
from torchconsole.engine.errors import ComponentError

FAMILIES = [
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "inception_v3",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "resnet18",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_t",
    "swin_v2_t",
    "vgg11",
    "vit_b_32",
]


@pytest.fixture
def without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Move each parameter to the meta device when it is registered, so that models need no memory or time."""
    register = nn.Module.register_parameter

    def on_meta(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None:
            parameter = nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)
        register(module, name, parameter)

    monkeypatch.setattr(nn.Module, "register_parameter", on_meta)


def build(name: str, shape: tuple[int, ...] = (2, 224, 224), **config: Any) -> nn.Module:
    return build_classifier(
        ModelConfig.model_validate({"name": name, **config}), spec("multiclass", 7, shape)
    )


def test_every_classifier_can_be_built_for_other_channels_and_classes(without_memory: None) -> None:
    names = classifier_names()
    assert len(names) >= 80
    for name in names:
        model = build(name)
        stem = find_stem(model)
        assert stem is not None
        assert stem[1].in_channels == 2, name
        found = find_head(model)
        assert found is not None
        where, old = found
        assert old.weight.shape[0] == 7, name
        assert f"{where}.weight" in replace_head(model, 5)
        new = model.get_submodule(where)
        assert type(new) is type(old)
        assert new.weight.shape == (5, *old.weight.shape[1:]), name
        assert (new.bias is None) is (old.bias is None), name


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_runs_on_a_batch(without_memory: None, name: str) -> None:
    model = build(name).to("meta").train()
    assert model(torch.empty(2, 2, 224, 224, device="meta")).shape == (2, 7)


def test_a_vision_transformer_is_built_for_the_datas_image_size(without_memory: None) -> None:
    model = build("vit_b_16", (3, 32, 32)).to("meta")
    assert model(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 7)


def test_a_model_can_be_trained_on_small_grayscale_images() -> None:
    model = build("shufflenet_v2_x0_5", (1, 32, 32))
    model(torch.randn(4, 1, 32, 32)).logsumexp(dim=1).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_a_stem_with_kept_weights_treats_an_image_with_equal_channels_as_before(channels: int) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, padding_mode="reflect"), nn.Flatten())
    image = torch.randn(2, 1, 8, 8)
    before = model(image.expand(2, 3, 8, 8))
    replace_stem(model, channels, keep_weights=True)
    assert torch.allclose(model(image.expand(2, channels, 8, 8)), before, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "shape", "config", "message"),
    [
        ("resnet18", (13,), {}, "model: resnet18 needs images (C, H, W), but the data has shape (13,)"),
        ("resnet18", (3, 32, 32), {"foo": 1}, "model.foo: resnet18 takes no argument 'foo'"),
        ("googlenet", (3, 32, 32), {"aux_logits": True}, "model.aux_logits: googlenet takes no argument"),
        ("vit_b_16", (3, 32, 48), {}, "vit_b_16 needs square images, but the data has 32x48; add a Resize"),
        ("vit_b_16", (3, 32, 32), {"weights": "DEFAULT"}, "vit_b_16 needs images of 224x224"),
        ("vit_b_16", (3, 30, 30), {}, "vit_b_16 rejects these arguments: Input shape indivisible"),
    ],
)
def test_unsuitable_data_and_arguments_are_reported(
    without_memory: None, name: str, shape: tuple[int, ...], config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ComponentError) as caught:
        build(name, shape, **config)
    assert message in str(caught.value)

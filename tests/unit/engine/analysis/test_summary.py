"""The layer table has the right shapes, parameters and MACs, and building it does not change the model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchconsole.engine.analysis.summary import summarize
from torchconsole.engine.components.models.convnets import SmallCNN
from torchconsole.engine.components.torchvision_compat import import_torchvision


def test_the_table_of_a_cnn_equals_the_one_computed_by_hand() -> None:
    model = SmallCNN((1, 8, 8), 10, channels=[4], dropout=0.5)
    summary = summarize(model, torch.zeros(1, 1, 8, 8))
    rows = {layer.name: layer for layer in summary.layers}
    assert rows["features.0"].type == "Conv2d"
    assert rows["features.0"].output_shape == [1, 4, 8, 8]
    assert rows["features.0"].params == 4 * 9
    assert rows["features.0"].macs == 4 * 9 * 64
    assert rows["head.2"].macs == 4 * 16 * 10
    assert summary.macs == 4 * 9 * 64 + 640
    assert summary.params == 36 + 8 + 650
    assert summary.macs_complete


def test_frozen_parameters_are_not_trainable() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    summary = summarize(model, torch.zeros(1, 3))
    assert (summary.params, summary.trainable) == (26, 10)
    assert [layer.trainable for layer in summary.layers] == [0, 10]


def test_the_model_and_the_random_state_do_not_change() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.BatchNorm1d(4))
    before = torch.get_rng_state()
    summarize(model, torch.zeros(1, 3))
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    assert all(parameter.device.type == "cpu" for parameter in model.parameters())
    assert not model[0]._forward_hooks


class DataDependent(nn.Module):
    """Does not support meta: its control flow depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        out: Tensor = self.layer(inputs)
        return out if float(out.detach().sum()) > 0 else -out


def test_a_model_that_does_not_support_meta_runs_on_the_cpu() -> None:
    summary = summarize(DataDependent(), torch.zeros(1, 3))
    assert summary.layers[0].output_shape == [1, 2]
    assert summary.layers[0].macs == 6
    assert not summary.macs_complete


def test_activations_are_what_the_backward_pass_needs_once_and_by_module() -> None:
    body = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    model = nn.Sequential(body, nn.Linear(4, 2))
    summary = summarize(model, torch.zeros(5, 3))
    # The first layer keeps its input, the ReLU its result, which is the input of the last layer.
    kept = {layer.name: layer.activations for layer in summary.layers}
    assert kept == {"0": 28, "0.0": 12, "0.1": 16, "1": 0}
    assert summary.activations == 28


def test_a_frozen_body_keeps_no_activations() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    assert summarize(model, torch.zeros(1, 3)).activations == 16


class Mixer(nn.Module):
    """Multiplies by einsum and attends, with functions and without modules."""

    def forward(self, inputs: Tensor) -> Tensor:
        mixed = torch.einsum("bij,bkj->bik", inputs, inputs)
        return nn.functional.scaled_dot_product_attention(mixed, mixed, mixed)


def test_einsum_and_attention_count() -> None:
    summary = summarize(nn.Sequential(Mixer()), torch.zeros(1, 5, 7))
    assert summary.macs == 5 * 5 * 7 + 2 * 5 * 5 * 5


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "mobilenet_v3_small",
        "efficientnet_b0",
        "vit_b_16",
        "convnext_tiny",
        "swin_t",
        "densenet121",
        "regnet_y_400mf",
    ],
)
def test_torchvisions_published_figures(name: str) -> None:
    models: Any = import_torchvision("models")
    weights = models.get_model_weights(name).DEFAULT
    # regnet computes its widths with tensors, so it cannot be built on meta.
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        model = models.get_model(name, weights=None)
    size = weights.transforms().crop_size[0]
    summary = summarize(model, torch.zeros(1, 3, size, size))
    assert summary.params == weights.meta["num_params"]
    assert summary.macs is not None
    assert summary.macs / 1e9 == pytest.approx(weights.meta["_ops"], rel=0.01)

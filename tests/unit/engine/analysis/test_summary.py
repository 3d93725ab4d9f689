"""The layer table has the right shapes, parameters and MACs, and building it does not change the model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchconsole.engine.analysis.summary import summarize
from torchconsole.engine.components.models.convnets import SmallCNN


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
        return out if float(out.sum()) > 0 else -out


def test_a_model_that_does_not_support_meta_runs_on_the_cpu() -> None:
    summary = summarize(DataDependent(), torch.zeros(1, 3))
    assert summary.layers[0].output_shape == [1, 2]
    assert summary.layers[0].macs == 6
    assert not summary.macs_complete

"""A list of layers becomes a model for the data, or is refused with the number of the layer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.support.specs import USER_CODE, spec, trusted_file
from torchconsole.engine.components.models import build_model
from torchconsole.engine.components.models.layers import known_layers
from torchconsole.engine.config.loading import validate
from torchconsole.engine.config.schema import ModelConfig
from torchconsole.engine.errors import ComponentError, PresetError

DIGIT, TABLE, STEPS = (1, 8, 8), (13,), (20, 5)


def build(shape: tuple[int, ...], *layers: Any, vocab_size: int | None = None, outputs: int = 10) -> Any:
    config = ModelConfig.model_validate({"layers": list(layers)})
    data = spec("multiclass", outputs, shape)
    if vocab_size is not None:
        data = replace(data, input_dtype=torch.int64, vocab_size=vocab_size)
    return build_model(config, data, USER_CODE)


def layer(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, **arguments}


def test_sizes_come_from_the_data_and_from_the_layers_before() -> None:
    model = build(
        DIGIT,
        layer("Conv2d", out_channels=6, kernel_size=3),
        layer("BatchNorm2d"),
        layer("ReLU"),
        layer("MaxPool2d", kernel_size=2),
        layer("Flatten"),
        layer("Linear", out_features=16),
        layer("LayerNorm"),
        layer("Dropout", p=0.1),
        layer("Linear"),
    )
    mine = nn.Sequential(
        nn.Conv2d(1, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(54, 16),
        nn.LayerNorm(16),
        nn.Dropout(0.1),
        nn.Linear(16, 10),
    )
    mine.load_state_dict(model.state_dict())
    inputs = torch.randn(4, *DIGIT)
    assert torch.equal(model.eval()(inputs), mine.eval()(inputs))
    assert all(module.training for module in build(TABLE, layer("Dropout"), layer("Linear")).modules())


@pytest.mark.parametrize(
    ("shape", "layers"),
    [
        (TABLE, [layer("BatchNorm1d"), layer("Linear", out_features=4), layer("ReLU"), layer("Linear")]),
        (TABLE, [layer("Linear"), layer("LogSoftmax", dim=1)]),
        (DIGIT, [layer("Conv2d", kernel_size=8), layer("Flatten")]),
        (DIGIT, [layer("Sequential", layers=[layer("Flatten"), layer("Linear")])]),
        (
            DIGIT,
            [
                layer("Conv2d", out_channels=4, kernel_size=1),
                layer("Residual", layers=[layer("Conv2d", kernel_size=3, padding=1), layer("ReLU")]),
                layer("GroupNorm", num_groups=2),
                layer("AdaptiveAvgPool2d", output_size=1),
                layer("Flatten"),
                layer("Linear"),
            ],
        ),
        (STEPS, [layer("LSTM", hidden_size=6), layer("Linear")]),
        (STEPS, [layer("GRU", hidden_size=6, bidirectional=True), layer("Dropout"), layer("Linear")]),
        (
            STEPS,
            [layer("LSTM", hidden_size=6), layer("Dropout"), layer("RNN", hidden_size=3), layer("Linear")],
        ),
        (STEPS, [layer("TransformerEncoderLayer", nhead=1), layer("Flatten"), layer("Linear")]),
        (
            STEPS,
            [
                layer("RMSNorm"),
                layer("Conv1d", out_channels=2, kernel_size=3),
                layer("Flatten"),
                layer("Linear"),
            ],
        ),
    ],
)
def test_each_kind_of_layer_is_built_and_trained(shape: tuple[int, ...], layers: list[Any]) -> None:
    model = build(shape, *layers)
    outputs = model(torch.randn(4, *shape))
    assert outputs.shape == (4, 10)
    outputs.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_samples_of_a_batch_do_not_mix_in_layers_that_put_steps_first_by_default() -> None:
    model = build(
        STEPS, layer("TransformerEncoderLayer", nhead=1), layer("LSTM", hidden_size=4), layer("Linear")
    )
    inputs = torch.randn(3, *STEPS)
    assert torch.allclose(model.eval()(inputs)[:1], model(inputs[:1]), atol=1e-5)


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("both", [False, True])
def test_padding_of_texts_does_not_change_the_outputs(cell: str, both: bool) -> None:
    rnn = layer(cell, hidden_size=4, bidirectional=both)
    model = build((7,), layer("Embedding", embedding_dim=3), rnn, layer("Linear"), vocab_size=9).eval()
    assert model[0].num_embeddings == 9
    short = torch.tensor([[3, 8, 2]])
    padded = torch.tensor([[3, 8, 2, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1]])
    assert torch.allclose(model(short), model(padded)[:1], atol=1e-6)
    assert torch.isfinite(model(torch.zeros(2, 7, dtype=torch.int64))).all()


def test_the_mean_of_the_embeddings_leaves_padding_out() -> None:
    model = build((5,), layer("EmbeddingBag", embedding_dim=3), layer("Linear"), vocab_size=6)
    assert torch.allclose(model(torch.tensor([[3, 2]])), model(torch.tensor([[3, 2, 0, 0, 0]])), atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "layers", "message"),
    [
        (
            TABLE,
            [layer("ReLU"), layer("Lineer")],
            "model.layers.1.name: unknown name 'Lineer', did you mean 'Linear'?",
        ),
        (
            TABLE,
            [layer("Linear"), layer("Linear")],
            "model.layers.0.out_features: Linear requires this argument",
        ),
        (TABLE, [layer("Linear", out=3)], "model.layers.0.out: Linear takes no argument 'out'"),
        (
            TABLE,
            [layer("Linear", in_features=4)],
            r"model.layers.0: Linear does not take inputs of shape \(B, 13\): mat1 and mat2",
        ),
        (
            DIGIT,
            [layer("Conv2d", out_channels=3, kernel_size=3), layer("Linear")],
            r"model.layers: the outputs have shape \(B, 3, 6, 10\), but .* needs \(B, 10\); add .*Flatten",
        ),
        (
            DIGIT,
            [layer("ReLU"), layer("Residual", layers=[layer("Conv2d", kernel_size=3)])],
            r"model.layers.1: Residual .* \(B, 1, 8, 8\): its layers change the shape to \(B, 1, 6, 6\)",
        ),
        (
            DIGIT,
            [layer("Sequential", layers=[layer("Flatten"), layer("Linear", in_features=1)])],
            r"model.layers.0.layers.1: Linear does not take inputs of shape \(B, 64\)",
        ),
        (
            DIGIT,
            [layer("MaxPool2d", kernel_size=2, return_indices=True)],
            "returns a tuple; a layer must return one",
        ),
        (
            STEPS,
            [layer("LSTM", hidden_size=4, batch_first=False)],
            "model.layers.0.batch_first: must be true",
        ),
        (DIGIT, [layer("Residual")], "model.layers.0.layers: Residual requires this key"),
        (
            DIGIT,
            [layer("Sequential", p=1, layers=[layer("ReLU")])],
            "model.layers.0.p: Sequential takes no argument",
        ),
        (DIGIT, [layer("ReLU", layers=[layer("ReLU")])], "model.layers.0.layers: ReLU has no layers"),
    ],
)
def test_an_error_names_the_number_of_the_layer(
    shape: tuple[int, ...], layers: list[Any], message: str
) -> None:
    with pytest.raises(ComponentError, match=message):
        build(shape, *layers)


def test_tokens_need_an_embedding_first_and_recurrent_layers_that_see_the_padding() -> None:
    with pytest.raises(ComponentError, match=r"model.layers.0: Linear does not .* begin with .*Embedding"):
        build((5,), layer("Linear"), vocab_size=6)
    nested = layer("Sequential", layers=[layer("LSTM", hidden_size=2), layer("Linear")])
    with pytest.raises(ComponentError, match=r"model.layers.1.layers.0: LSTM reads the padding of texts"):
        build((5,), layer("Embedding", embedding_dim=2), nested, vocab_size=6)


def test_layers_of_user_code_get_the_sizes_that_they_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
from torch import nn
class Squeeze(nn.Module):
    def __init__(self, in_channels, ratio=2):
        super().__init__()
        self.layer = nn.Conv2d(in_channels, in_channels // ratio, 1)
    def forward(self, x):
        return self.layer(x)
"""
    mine = f"{trusted_file(tmp_path, monkeypatch, code)}:Squeeze"
    model = build((4, 8, 8), layer(mine), layer("Flatten"), layer("Linear"))
    assert model(torch.randn(2, 4, 8, 8)).shape == (2, 10)
    assert model[0].layer.out_channels == 2


def test_the_names_of_losses_and_containers_are_no_layers() -> None:
    known = known_layers()
    assert {"Linear", "Conv2d", "LSTM", "Sequential", "Residual"} <= known.keys()
    assert not {"MSELoss", "ModuleList", "LazyLinear", "MultiheadAttention"} & known.keys()


def test_a_model_has_either_a_name_or_layers() -> None:
    def model(**content: Any) -> Any:
        content = {"title": "t", "data": {"name": "digits"}, "model": content}
        return validate(content, "mine.toml").model

    assert model(layers=[layer("Linear")]).name == "Sequential"
    with pytest.raises(PresetError, match=r"model.layers: MLP has layers of its own"):
        model(name="MLP", layers=[layer("Linear")])
    with pytest.raises(PresetError, match=r"model.layers: is missing"):
        model(name="Sequential")
    with pytest.raises(PresetError, match=r"model.name: is missing"):
        model()
    with pytest.raises(ComponentError, match=r"model.depth: Sequential takes no argument"):
        build_model(model(layers=[layer("Linear")], depth=3), spec(), USER_CODE)

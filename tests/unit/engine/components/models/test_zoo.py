"""Networks of torchconsole and of user code fit the data's sizes and can be trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.support.sessions import setup_for
from tests.support.specs import USER_CODE, spec, trusted_file
from torchconsole.engine.components.models import build_model
from torchconsole.engine.components.models.convnets import BilinearPooling, ResNet9
from torchconsole.engine.components.models.recurrent import SequenceClassifier
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.schema import ModelConfig
from torchconsole.engine.errors import ComponentError

LIST, WHOLE = "must be a list of whole numbers from 1", "must be a whole number from 1"
RGB, GREY, DIGIT, TABLE, STEPS = (3, 32, 32), (1, 28, 28), (1, 8, 8), (13,), (20, 5)


def build(name: str, shape: tuple[int, ...], outputs: int = 10, **config: Any) -> Any:
    return build_model(
        ModelConfig.model_validate({"name": name, **config}), spec("multiclass", outputs, shape), USER_CODE
    )


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("MLP", [RGB, GREY, DIGIT, TABLE, STEPS]),
        ("LeNet", [RGB, GREY]),
        ("SmallCNN", [RGB, GREY, DIGIT]),
        ("SimpleCNN", [RGB, GREY, DIGIT]),
        ("SimpleCNNv3", [RGB, GREY, DIGIT]),
        ("SimpleCNNv3Wide", [RGB, GREY, DIGIT]),
        ("ResNet9", [RGB, GREY, DIGIT]),
        ("SequenceClassifier", [GREY, DIGIT, STEPS]),
        ("BilinearCNN", [RGB, GREY, DIGIT]),
    ],
)
def test_every_parameter_of_a_network_gets_a_gradient_for_each_kind_of_data(
    name: str, shapes: list[tuple[int, ...]]
) -> None:
    for shape in shapes:
        model = build(name, shape)
        outputs = model(torch.randn(4, *shape))
        assert outputs.shape == (4, 10)
        outputs.logsumexp(dim=1).sum().backward()
        for parameter in model.parameters():
            assert parameter.grad is not None
            assert torch.isfinite(parameter.grad).all()


def test_numbers_of_parameters_equal_those_of_the_sources() -> None:
    counts = {
        name: sum(parameter.numel() for parameter in build(name, shape).parameters())
        for name, shape in [("LeNet", GREY), ("SimpleCNN", RGB), ("SimpleCNNv3", RGB), ("ResNet9", RGB)]
    }
    # LeNet-5 with a fully connected second convolution; cifar10_quick; a tutorial's; cifar10-fast's.
    assert counts == {
        "LeNet": 61_706,
        "SimpleCNN": 145_578,
        "SimpleCNNv3": 419_690,
        "ResNet9": 6_573_120,
    }


def test_resnet9_scales_its_logits() -> None:
    model = build("ResNet9", DIGIT, width=4)
    assert isinstance(model, ResNet9)
    inputs = torch.randn(2, *DIGIT)
    assert torch.allclose(model.eval()(inputs), 0.125 * model.head(model.features(inputs)))


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_the_order_of_a_sequence_matters_and_it_can_be_read_from_both_ends(cell: str) -> None:
    forward = build("SequenceClassifier", STEPS, cell=cell, hidden_size=6)
    inputs = torch.randn(2, *STEPS)
    assert not torch.allclose(forward(inputs), forward(inputs.flip(1)))
    both = build("SequenceClassifier", STEPS, cell=cell, hidden_size=6, num_layers=2, bidirectional=True)
    assert both.head.in_features == 12
    assert both(inputs).shape == (2, 10)


def test_one_key_changes_the_sequence_preset_from_lstm_to_gru() -> None:
    model = setup_for(load_preset("sequence-lstm", ["model.cell=GRU", "data.limit=64"])).model
    assert isinstance(model, SequenceClassifier)
    assert isinstance(model.rnn, nn.GRU)


def test_an_image_is_read_row_by_row() -> None:
    model = build("SequenceClassifier", DIGIT)
    image = torch.randn(2, *DIGIT)
    assert torch.equal(model(image), model(image.squeeze(1)))


def test_bilinear_pooling_is_the_normalized_root_of_the_mean_outer_product() -> None:
    maps = torch.randn(2, 3, 4, 5)
    outer = torch.einsum("bihw,bjhw->bij", maps, maps).flatten(1) / 20
    rooted = outer.sign() * outer.abs().sqrt()
    expected = rooted / rooted.norm(dim=1, keepdim=True)
    assert torch.allclose(BilinearPooling()(maps), expected, atol=1e-3)


def test_a_preset_can_override_the_sizes_of_the_data() -> None:
    model = build("MLP", TABLE, num_classes=7, hidden=[5])
    assert model(torch.zeros(2, 13)).shape == (2, 7)


def test_init_rules_apply_to_a_new_model() -> None:
    model = build("MLP", TABLE, init=[{"init": "zeros_", "layers": ["Linear"]}])
    assert not any(layer.weight.any() for layer in model.modules() if isinstance(layer, nn.Linear))


def test_a_network_from_user_code_gets_the_sizes_in_its_signature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = trusted_file(
        tmp_path,
        monkeypatch,
        "from torch import nn\n"
        "class Net(nn.Linear):\n"
        "    def __init__(self, num_outputs, input_shape, scale=1.0):\n"
        "        super().__init__(input_shape[0], num_outputs); self.scale = scale\n"
        "class Plain(nn.Linear):\n"
        "    def __init__(self):\n"
        "        super().__init__(13, 10)\n"
        "def make(num_classes):\n"
        "    return nn.Linear(13, num_classes)\n",
    )
    net = build(f"{path}:Net", TABLE, scale=0.5)
    assert (net.in_features, net.out_features, net.scale) == (13, 10, 0.5)
    for name in ("Plain", "make"):
        assert build(f"{path}:{name}", TABLE).out_features == 10
    with pytest.raises(
        ComponentError, match=r"model\.scal: Net takes no argument 'scal', did you mean 'scale'"
    ):
        build(f"{path}:Net", TABLE, scal=1)


def test_a_network_that_takes_its_sizes_through_kwargs_gets_those_that_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = trusted_file(
        tmp_path,
        monkeypatch,
        "from torch import nn\n"
        "class Base(nn.Linear):\n"
        "    def __init__(self, num_classes=1000, width=13):\n"
        "        super().__init__(width, num_classes)\n"
        "def passes_on(**kwargs):\n"
        "    return Base(**kwargs)\n"
        "class Reads(nn.Linear):\n"
        "    def __init__(self, **kwargs):\n"
        "        super().__init__(13, kwargs.get('num_classes', 1000))\n"
        "class Plain(nn.Linear):\n"
        "    def __init__(self, **kwargs):\n"
        "        assert not kwargs\n"
        "        super().__init__(13, 10)\n",
    )
    for name in ("passes_on", "Reads", "Plain"):
        assert build(f"{path}:{name}", TABLE).out_features == 10
    assert build(f"{path}:passes_on", TABLE, num_classes=7).out_features == 7
    with pytest.raises(ComponentError, match=r"model\.depth: passes_on takes no argument 'depth'"):
        build(f"{path}:passes_on", TABLE, depth=1)
    torch.manual_seed(0)
    through_kwargs = build(f"{path}:passes_on", TABLE)
    torch.manual_seed(0)
    assert torch.equal(build(f"{path}:Base", TABLE).weight, through_kwargs.weight)


@pytest.mark.parametrize(
    ("name", "shape", "config", "message"),
    [
        ("SmalCNN", RGB, {}, "model.name: unknown name 'SmalCNN', did you mean 'SmallCNN'?"),
        ("ResNet18", RGB, {}, "did you mean 'resnet18'?"),
        ("Linear", RGB, {}, "model.name: unknown name 'Linear'"),
        ("MLP", TABLE, {"hiden": [3]}, "model.hiden: MLP takes no argument 'hiden', did you mean 'hidden'?"),
        ("MLP", TABLE, {"hidden": 3}, "model.hidden: must be a list of whole numbers"),
        ("SmallCNN", TABLE, {}, "it needs images (C, H, W), but the data has shape (13,)"),
        ("SmallCNN", DIGIT, {"channels": [1, 2, 3, 4]}, "images of 8x8 are too small"),
        ("LeNet", DIGIT, {}, "images of 8x8 are too small"),
        ("ResNet9", (3, 4, 4), {}, "images of 4x4 are too small"),
        ("SequenceClassifier", RGB, {}, "it needs sequences (T, F) or grayscale images (1, H, W)"),
        ("SequenceClassifier", STEPS, {"cell": "RNN"}, "cell must be LSTM or GRU, not 'RNN'"),
    ],
)
def test_a_wrong_model_is_reported_in_one_line(
    name: str, shape: tuple[int, ...], config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ComponentError) as caught:
        build(name, shape, **config)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_padding_does_not_change_how_a_text_is_classified(cell: str, both: bool, num_layers: int) -> None:
    data = replace(spec("multiclass", 3, (8,)), input_dtype=torch.int64, vocab_size=20)
    content = {
        "name": "TextClassifier",
        "cell": cell,
        "bidirectional": both,
        "num_layers": num_layers,
        "hidden_size": 4,
    }
    model = build_model(ModelConfig.model_validate(content), data, USER_CODE).eval()
    texts = torch.tensor([[4, 5, 6, 0, 0, 0, 0, 0], [7, 8, 9, 3, 2, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1, 1]])
    together = model(texts)
    for row, length in enumerate([3, 5, 8]):
        assert torch.allclose(model(texts[row : row + 1, :length])[0], together[row], atol=1e-6)
    together.sum().backward()
    assert (model.embedding.weight.grad[0] == 0).all()


@pytest.mark.parametrize(
    ("name", "argument", "message"),
    [
        ("MLP", {"hidden": 16}, f"hidden: {LIST}, such as [128], got 16"),
        ("MLP", {"hidden": "x"}, f"hidden: {LIST}, such as [128], got 'x'"),
        ("MLP", {"hidden": [16, 1.5]}, f"hidden: {LIST}, such as [128], got [16, 1.5]"),
        ("MLP", {"hidden": [-1]}, f"hidden: {LIST}, such as [128], got [-1]"),
        ("MLP", {"dropout": "x"}, "dropout: must be a number, such as 0.0, got 'x'"),
        ("MLP", {"dropout": [0.1]}, "dropout: must be a number, such as 0.0, got [0.1]"),
        ("SmallCNN", {"channels": [0]}, f"channels: {LIST}, such as [32, 64], got [0]"),
        ("ResNet9", {"width": [8]}, f"width: {WHOLE}, such as 64, got [8]"),
        ("SequenceClassifier", {"hidden_size": True}, f"hidden_size: {WHOLE}, such as 128, got True"),
        ("SequenceClassifier", {"num_layers": 0}, f"num_layers: {WHOLE}, such as 1, got 0"),
    ],
)
def test_arguments_of_another_type_are_refused_with_an_example(
    name: str, argument: dict[str, Any], message: str
) -> None:
    with pytest.raises(ComponentError) as caught:
        build(name, DIGIT, **argument)
    assert str(caught.value) == f"model.{message}"


def test_a_network_for_tokens_needs_tokens_and_the_others_need_numbers() -> None:
    data = replace(spec("multiclass", 3, (8,)), input_dtype=torch.int64, vocab_size=20)
    with pytest.raises(ComponentError, match=r"model.name: MLP needs numbers, but the data has tokens"):
        build_model(ModelConfig(name="MLP"), data, USER_CODE)
    with pytest.raises(ComponentError, match=r"model.name: TextClassifier needs tokens"):
        build("TextClassifier", TABLE)

"""Components: data, models, losses and optimizers by name, and messages for what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from torchconsole.engine.components.data import load_data
from torchconsole.engine.components.devices import choose_device, describe_device
from torchconsole.engine.components.losses import build_loss
from torchconsole.engine.components.models import build_model
from torchconsole.engine.components.optimizers import build_optimizer
from torchconsole.engine.config.schema import DataConfig, LossConfig, ModelConfig, OptimizerConfig
from torchconsole.engine.errors import ComponentError, DataError, DeviceError


def test_digits_are_split_stratified_and_standardised_on_the_training_part() -> None:
    data = load_data(DataConfig(name="digits"), seed=1)
    assert (len(data.train), len(data.val)) == (1437, 360)
    assert data.input_shape == (1, 8, 8)
    assert data.num_classes == 10
    assert abs(float(data.train.inputs.mean())) < 1e-5
    assert float(data.train.inputs.std()) == pytest.approx(1, abs=1e-4)
    share = data.train.targets.bincount() / len(data.train)
    assert (share - data.val.targets.bincount() / len(data.val)).abs().max() < 0.005


def test_the_split_is_a_function_of_the_seed() -> None:
    first, same, other = (load_data(DataConfig(name="digits"), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.val.inputs, same.val.inputs)
    assert not torch.equal(first.val.targets, other.val.targets)


def test_a_split_that_leaves_nothing_is_one_message() -> None:
    with pytest.raises(DataError, match=r"data\.val_fraction"):
        load_data(DataConfig(name="digits", val_fraction=0.001), seed=1)


@pytest.mark.parametrize("name", ["MLP", "SmallCNN"])
def test_a_model_fits_its_data(name: str) -> None:
    model = build_model(ModelConfig(name=name), (1, 8, 8), 10)
    assert model(torch.zeros(3, 1, 8, 8)).shape == (3, 10)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "SmalCNN"}, "did you mean 'SmallCNN'?"),
        ({"name": "MLP", "hiden": [3]}, "model.hiden: MLP takes no argument 'hiden', did you mean 'hidden'?"),
        ({"name": "MLP", "hidden": 3}, "model: MLP refuses these arguments"),
        ({"name": "SmallCNN", "channels": [1, 2, 3, 4]}, "4 poolings are too many"),
    ],
)
def test_a_wrong_model_is_one_message(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ComponentError) as caught:
        build_model(ModelConfig.model_validate(config), (1, 8, 8), 10)
    assert message in str(caught.value)


def test_losses_and_optimizers_take_torchs_own_arguments() -> None:
    loss = build_loss(LossConfig.model_validate({"name": "CrossEntropyLoss", "label_smoothing": 0.1}))
    assert isinstance(loss, torch.nn.CrossEntropyLoss)
    assert loss.label_smoothing == 0.1
    config = OptimizerConfig.model_validate({"name": "SGD", "lr": 0.1, "momentum": 0.9, "nesterov": True})
    optimizer = build_optimizer(config, torch.nn.Linear(2, 2))
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.param_groups[0]["nesterov"] is True


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "AdmaW"}, "did you mean 'AdamW'?"),
        ({"name": "system"}, "no optimizer named 'system'"),
        ({"name": "SGD", "betas": [0.9, 0.99]}, "optimizer.betas: SGD takes no argument 'betas'"),
        ({"name": "AdamW", "weight_decay": -1}, "AdamW refuses these arguments: Invalid weight_decay"),
    ],
)
def test_a_wrong_optimizer_is_one_message(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ComponentError) as caught:
        build_optimizer(OptimizerConfig.model_validate(config), torch.nn.Linear(2, 2))
    assert message in str(caught.value)


def test_the_cpu_can_always_be_chosen_and_described() -> None:
    info = describe_device(choose_device("cpu"))
    assert info.device == "cpu"
    assert info.torch == torch.__version__
    assert info.memory_total > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU on a machine without one")
def test_a_gpu_that_is_not_there_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(DeviceError, match="set it to 'cpu'"):
        choose_device("cuda")

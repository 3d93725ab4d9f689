"""Parts of any model are replaced by layers that fit; weights, frozen layers and groups follow."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.support.specs import USER_CODE, spec, trusted_file
from torchconsole.engine.components.models import build_model
from torchconsole.engine.components.optimizers import build_optimizer
from torchconsole.engine.components.parameters import freeze
from torchconsole.engine.config.loading import dump_preset, load_preset, validate
from torchconsole.engine.config.schema import ModelConfig, OptimizerConfig
from torchconsole.engine.errors import ComponentError, PresetError

IMAGE, TABLE = (3, 32, 32), (6,)

IDENTITY = {"name": "Identity"}
LINEAR = {"name": "Linear"}


def build(name: str, replace: Any, shape: tuple[int, ...] = TABLE, outputs: int = 4, **config: Any) -> Any:
    content = {"name": name, "replace": replace, **config}
    return build_model(ModelConfig.model_validate(content), spec("multiclass", outputs, shape), USER_CODE)


def test_a_removed_layer_and_an_extra_head_of_torchvisions_models() -> None:
    inputs = torch.randn(2, *IMAGE)
    removed = build("resnet18", {"fc": IDENTITY}, IMAGE)
    assert removed(inputs).shape == (2, 512)
    head = [{"name": "Linear", "out_features": 16}, {"name": "ReLU"}, LINEAR]
    extended = build("resnet18", {"fc": head}, IMAGE)
    assert (extended.fc[0].in_features, extended.fc[2].out_features) == (512, 4)
    shorter = build("resnet18", {"layer4": IDENTITY, "fc": LINEAR}, IMAGE)
    assert shorter.fc.in_features == 256
    assert shorter(inputs).shape == (2, 4)


def test_an_empty_list_takes_the_place_of_a_layer_like_identity() -> None:
    inputs = torch.randn(2, *TABLE)
    empty, identity = (build("MLP", {"layers.2": layers}) for layers in ([], IDENTITY))
    empty.load_state_dict(identity.state_dict())
    assert torch.equal(empty.eval()(inputs), identity.eval()(inputs))


@pytest.mark.parametrize(
    ("name", "replace", "shape"),
    [
        ("MLP", {"layers.1": {"name": "Linear", "out_features": 32}, "layers.4": LINEAR}, TABLE),
        ("MLP", {"layers.2": {"name": "GELU"}}, TABLE),
        ("SmallCNN", {"features.0": {"name": "Conv2d", "kernel_size": 5, "padding": 2}}, IMAGE),
        ("SmallCNN", {"features.1": {"name": "GroupNorm", "num_groups": 4}, "features.5": IDENTITY}, IMAGE),
        ("SequenceClassifier", {"rnn": {"name": "GRU", "hidden_size": 128}}, (5, 3)),
        ("vgg11", {"classifier": [{"name": "Linear", "out_features": 8}, LINEAR]}, IMAGE),
    ],
)
def test_sizes_are_those_of_what_is_replaced(name: str, replace: Any, shape: tuple[int, ...]) -> None:
    model = build(name, replace, shape)
    assert model.training
    assert model(torch.randn(2, *shape)).shape == (2, 4)


def test_a_head_of_user_code_gets_the_outputs_that_the_data_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk, self.drop, self.head = nn.Linear(6, 8), nn.Dropout(), nn.Linear(8, 1000)
    def forward(self, x):
        assert len(x) > 1
        return self.head(self.drop(self.trunk(x)))
"""
    model = build(f"{trusted_file(tmp_path, monkeypatch, code)}:Net", {"head": LINEAR, "drop": IDENTITY})
    assert model(torch.randn(2, *TABLE)).shape == (2, 4)


def test_weights_are_loaded_before_the_change_and_those_of_the_changed_model_exactly(tmp_path: Path) -> None:
    replace = {"layers.4": [{"name": "Linear", "out_features": 5}, {"name": "ReLU"}, LINEAR]}
    before, changed = build("MLP", {}), build("MLP", replace)
    torch.save(before.state_dict(), tmp_path / "before.pt")
    torch.save(changed.state_dict(), tmp_path / "changed.pt")
    first = build("MLP", replace, weights=str(tmp_path / "before.pt"))
    assert torch.equal(first.layers[1].weight, before.layers[1].weight)
    again = build("MLP", replace, weights=str(tmp_path / "changed.pt"))
    assert all(torch.equal(again.state_dict()[name], value) for name, value in changed.state_dict().items())
    other_classes = build("MLP", replace, outputs=7, weights=str(tmp_path / "changed.pt"))
    assert torch.equal(other_classes.layers[4][0].weight, changed.layers[4][0].weight)
    assert other_classes.layers[4][2].out_features == 7


def test_init_rules_apply_to_new_parts_but_not_to_loaded_weights(tmp_path: Path) -> None:
    trained = build("MLP", {})
    torch.save(trained.state_dict(), tmp_path / "trained.pt")
    init = [{"init": "ones_", "parameters": "weight"}]
    model = build("MLP", {"layers.4": [LINEAR]}, weights=str(tmp_path / "trained.pt"), init=init)
    assert torch.equal(model.layers[1].weight, trained.layers[1].weight)
    assert (model.layers[4][0].weight == 1).all()


def test_patterns_of_frozen_layers_and_of_groups_see_the_new_names() -> None:
    model = build("MLP", {"layers.4": [{"name": "Linear", "out_features": 5}, LINEAR]})
    assert freeze(model, ["layers.1.*", "layers.4.0.*"])
    groups = [{"match": ["layers.4.1.*"], "lr": 0.5}]
    optimizer = build_optimizer(OptimizerConfig.model_validate({"groups": groups}), model, USER_CODE)
    [group] = [group for group in optimizer.param_groups if group["lr"] == 0.5]
    assert group["params"] == [model.layers[4][1].weight, model.layers[4][1].bias]


@pytest.mark.parametrize(
    ("replace", "message"),
    [
        ({"layer.4": LINEAR}, "model.replace.'layer.4': the model has no module 'layer.4', did you mean"),
        ({"layers.4": {"name": "Linear", "in": 3}}, "takes no argument 'in'"),
        ({"layers.4": [{"name": "Linear"}, LINEAR]}, "0.out_features: Linear requires this argument"),
        (
            {"layers.4": [{"name": "Linear", "in_features": 3}]},
            r"0: Linear does not take inputs of shape \(B, 128\)",
        ),
    ],
)
def test_a_replacement_that_does_not_fit_is_refused(replace: Any, message: str) -> None:
    with pytest.raises(ComponentError, match=message):
        build("MLP", replace)


def test_finding_the_sizes_changes_neither_running_statistics_nor_random_numbers() -> None:
    pooled = {"features.3": {"name": "AvgPool2d", "kernel_size": 2}}
    torch.manual_seed(3)
    plain = build("SmallCNN", {}, IMAGE)
    after = torch.rand(1)
    torch.manual_seed(3)
    model = build("SmallCNN", pooled, IMAGE)
    assert torch.equal(torch.rand(1), after)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in plain.state_dict().items())


def test_a_dotted_name_needs_no_quotes(tmp_path: Path) -> None:
    preset = load_preset("digits-mlp", ["model.replace.layers.2.name=GELU", "model.hidden=[8]"])
    assert list(preset.model.replace) == ["layers.2"]
    assert validate(tomllib.loads(dump_preset(preset)), "dumped") == preset
    assert isinstance(build("MLP", preset.model.model_dump()["replace"]).get_submodule("layers.2"), nn.GELU)
    with pytest.raises(PresetError, match=r"model.replace.fc: "):
        load_preset("digits-mlp", ["model.replace.fc=3"])

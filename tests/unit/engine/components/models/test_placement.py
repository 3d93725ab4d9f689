"""Models that are split over devices by hand. The meta device stands for a second one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from tests.support.sessions import parts_for, setup_for
from torchconsole.engine.components.models.placement import check_processes, place_model
from torchconsole.engine.components.ranks import ALONE, PlannedRanks
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.errors import ComponentError, PresetError

CPU, INPUTS = torch.device("cpu"), torch.ones(2, 4)


class Split(nn.Module):
    """Two layers, the second within a block."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.block = nn.Sequential(nn.ReLU(), nn.Linear(3, 2))

    def forward(self, inputs: Tensor, factor: Tensor | None = None) -> dict[str, Tensor]:
        outputs = self.block(self.first(inputs))
        return {"scores": outputs if factor is None else outputs * factor.to(outputs.device)}


class Own(Split):
    """Places its block on a device of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.block.to("meta")

    def forward(self, inputs: Tensor, factor: Tensor | None = None) -> dict[str, Tensor]:
        return {"scores": self.block(self.first(inputs).to("meta"))}


@pytest.mark.parametrize(
    "device_map",
    [{"first": "cpu", "block": "meta"}, {"block.1": "meta", "": "cpu"}, {"": "cpu", "block": "meta"}],
)
def test_modules_get_their_inputs_where_their_weights_are(device_map: dict[str, str]) -> None:
    model = place_model(Split(), device_map, CPU)
    assert (model.first.weight.device.type, model.block[1].weight.device.type) == ("cpu", "meta")
    assert model(INPUTS)["scores"].is_meta
    assert model(inputs=INPUTS)["scores"].is_meta


def test_a_copy_on_one_device_works_too() -> None:
    model = place_model(Split(), {"first": "cpu", "block": "cpu"}, CPU)
    moved = copy.deepcopy(model).to("meta")
    assert moved(INPUTS.to("meta"))["scores"].is_meta
    assert torch.equal(model(INPUTS)["scores"], copy.deepcopy(model)(INPUTS)["scores"])


def test_a_model_that_places_itself_is_not_moved() -> None:
    model = place_model(Own(), "own", CPU)
    assert (model.first.weight.device.type, model.block[1].weight.device.type) == ("cpu", "meta")
    assert model(INPUTS)["scores"].is_meta


@pytest.mark.parametrize(
    ("device_map", "reason"),
    [
        ({"first": "cpu", "head": "cpu"}, r"device_map.head: the model has no module .* it has first, block"),
        ({"first": "cpu"}, r"no device for 2 tensors such as block.1.weight; add their module, or \"\""),
        ({"": "cuda:7"}, r"device_map.: cuda:7 does not exist, torch finds \d GPUs?"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(device_map: dict[str, str], reason: str) -> None:
    with pytest.raises(ComponentError, match=reason):
        place_model(Split(), device_map, CPU)


def test_a_name_that_is_no_device_is_refused() -> None:
    with pytest.raises(PresetError, match=r"model\.device_map.layers: must be cpu, mps, cuda or cuda:N"):
        load_preset("digits-mlp", ['model.device_map={layers="gpu"}'])


def test_processes_cannot_share_the_devices_of_a_map(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Split()
    check_processes(model, {"": "cpu"}, PlannedRanks(2))
    monkeypatch.setattr(Tensor, "is_cuda", True)
    check_processes(model, "own", ALONE)
    check_processes(model, None, PlannedRanks(2))
    with pytest.raises(ComponentError, match=r"2 processes of this machine would put .* on the same GPUs"):
        check_processes(model, "own", PlannedRanks(2))


@pytest.mark.parametrize("where", ['{""="cpu"}', '"own"'])
def test_a_split_model_trains_like_a_whole_one(where: str) -> None:
    options = ["training.threads=1", "ema={decay=0.9}"]
    split = setup_for(load_preset("digits-mlp", [*options, f"model.device_map={where}"]))
    whole = setup_for(load_preset("digits-mlp", options))
    assert split.first_loss == whole.first_loss
    assert list(parts_for(split.preset).model.state_dict()) == list(whole.model.state_dict())

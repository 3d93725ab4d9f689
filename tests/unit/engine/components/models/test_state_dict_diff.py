"""Weights of other programs: other names, other shapes and other file formats."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import Tensor, nn

from tests.support.specs import USER_CODE, spec
from torchconsole.engine.components.models import build_model
from torchconsole.engine.components.models.state_dict_diff import tied_names
from torchconsole.engine.components.models.weights import read_state
from torchconsole.engine.config.schema import ModelConfig
from torchconsole.engine.errors import ComponentError

State = dict[str, Tensor]


def mlp(hidden: list[int] | None = None, outputs: int = 3, **config: Any) -> nn.Module:
    content = {"name": "MLP", "hidden": hidden or [5], **config}
    return build_model(ModelConfig.model_validate(content), spec("multiclass", outputs, (4,)), USER_CODE)


def write(path: Path, content: Any) -> str:
    torch.save(content, path)
    return str(path)


def prefixed(state: State, prefix: str) -> State:
    return OrderedDict((prefix + name, value) for name, value in state.items())


def same(model: nn.Module, state: State) -> bool:
    found = model.state_dict()
    return found.keys() == state.keys() and all(torch.equal(found[name], state[name]) for name in found)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: prefixed(state, "module."),
        lambda state: prefixed(state, "_orig_mod."),
        lambda state: prefixed(state, "module._orig_mod."),
        lambda state: prefixed(state, "_orig_mod.module."),
        lambda state: {"n_averaged": torch.tensor(7), **prefixed(state, "module.")},
        lambda state: {name.replace("layers.1", "layers.1._orig_mod"): x for name, x in state.items()},
        lambda state: {"state_dict": prefixed(state, "module."), "epoch": 3},
    ],
    ids=["DataParallel", "compiled", "both", "both, reversed", "averaged", "compiled part", "nested"],
)
def test_prefixes_of_wrappers_are_removed(tmp_path: Path, wrap: Callable[[State], Any]) -> None:
    state = mlp().state_dict()
    assert same(mlp(weights=write(tmp_path / "a.pt", wrap(state))), state)


def test_prefixes_can_be_renamed(tmp_path: Path) -> None:
    state = mlp().state_dict()
    file = write(tmp_path / "a.ckpt", {"state_dict": prefixed(state, "net.backbone.")})
    assert same(mlp(weights=file, rename={"net.backbone.": ""}), state)
    with pytest.raises(
        ComponentError, match=r"no name in the file starts with 'net.spine.'; available: net."
    ):
        mlp(weights=file, rename={"net.spine.": ""})


def test_a_suitable_rename_is_suggested(tmp_path: Path) -> None:
    state = mlp().state_dict()
    with pytest.raises(ComponentError, match=r'try model.rename = {"model." = ""}'):
        mlp(weights=write(tmp_path / "a.pt", prefixed(state, "model.")))
    bare = {name.removeprefix("layers."): value for name, value in state.items()}
    with pytest.raises(ComponentError, match=r'try model.rename = {"" = "layers."}'):
        mlp(weights=write(tmp_path / "b.pt", bare))
    assert same(mlp(weights=str(tmp_path / "b.pt"), rename={"": "layers."}), state)


def test_all_differences_are_listed(tmp_path: Path) -> None:
    state = mlp([5, 6]).state_dict()
    del state["layers.1.bias"]
    state["layers.1.weight"] = torch.zeros(9, 4)
    state["extra"] = torch.zeros(1)
    with pytest.raises(ComponentError) as caught:
        mlp([5, 6], weights=write(tmp_path / "a.pt", state))
    assert str(caught.value) == (
        f"model.weights: {tmp_path / 'a.pt'} does not match MLP: missing: layers.1.bias; unexpected: extra; "
        "mismatched: layers.1.weight is 9x4 instead of 5x4; set model.strict = false to load the rest"
    )


def test_without_strict_matching_tensors_are_loaded_and_the_others_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    state = mlp([5, 6]).state_dict()
    del state["layers.1.bias"]
    state["layers.4.weight"] = torch.zeros(9, 4)
    model = mlp(
        [5, 6], weights=write(tmp_path / "a.pt", dict(state)), strict=False, init=[{"init": "ones_"}]
    ).state_dict()
    assert torch.equal(model["layers.1.weight"], state["layers.1.weight"])
    assert torch.equal(model["layers.4.weight"], torch.ones(6, 5)), "init rules apply to what is not loaded"
    assert [record.message for record in caplog.records] == [
        f"{tmp_path / 'a.pt'} does not match MLP: missing: layers.1.bias; "
        "mismatched: layers.4.weight is 9x4 instead of 6x5",
        f"4 of 5 tensors loaded from {tmp_path / 'a.pt'}",
    ]
    assert caplog.records[0].levelno == logging.WARNING


def test_a_new_head_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    file = write(tmp_path / "a.pt", mlp(outputs=3).state_dict())
    mlp(outputs=7, weights=file)
    assert [record.message for record in caplog.records] == [
        f"2 of 4 tensors loaded from {file}; the head layers.4 is new: 7 outputs, not 3"
    ]


def test_weights_without_any_match_are_rejected_even_without_strict(tmp_path: Path) -> None:
    file = write(tmp_path / "a.pt", {"encoder.weight": torch.zeros(2)})
    with pytest.raises(ComponentError, match=r"unexpected: encoder\.weight$"):
        mlp(weights=file, strict=False)


class Tied(nn.Module):
    """An encoder and a decoder that share their weight."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(4, 4), nn.Linear(4, 4)
        self.decoder.weight = self.encoder.weight


def test_tied_tensors_are_found_but_not_merely_equal_ones() -> None:
    model = Tied()
    nn.init.zeros_(model.encoder.bias)
    nn.init.zeros_(model.decoder.bias)
    assert tied_names(model) == {"decoder.weight": "encoder.weight"}


def test_tied_tensors_are_restored_from_a_file_of_safetensors(tmp_path: Path) -> None:
    model = Tied()
    save_model(model, str(tmp_path / "a.safetensors"))
    state = read_state(tmp_path / "a.safetensors")
    assert state.keys() == model.state_dict().keys()
    assert torch.equal(state["decoder.weight"], model.encoder.weight)


def test_weights_can_be_safetensors(tmp_path: Path) -> None:
    state = mlp().state_dict()
    save_file(prefixed(state, "module."), tmp_path / "a.safetensors")
    assert same(mlp(weights=str(tmp_path / "a.safetensors")), state)


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0{}", b"\xff" * 100])
def test_an_invalid_safetensors_file_is_reported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(
        ComponentError, match=r"a.safetensors is not a valid safetensors file|contains no state"
    ):
        read_state(tmp_path / "a.safetensors")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_weights_saved_on_a_gpu_are_loaded_on_the_cpu(tmp_path: Path) -> None:
    file = write(tmp_path / "a.pt", mlp().cuda().state_dict())
    assert next(mlp(weights=file).parameters()).device.type == "cpu"

"""Models start from published weights in torch's cache or from local files; unusable files are reported."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.support.data_files import proxies
from tests.support.specs import USER_CODE, net, spec
from torchconsole.engine.components.models import build_model
from torchconsole.engine.components.models.weights import load_state
from torchconsole.engine.components.torchvision_compat import prepare_torchvision
from torchconsole.engine.config.schema import ModelConfig
from torchconsole.engine.errors import ComponentError

NAME = "shufflenet_v2_x0_5"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """torch's cache in a temporary folder, without access to the network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with proxies({"http": "http://127.0.0.1:9", "https": "http://127.0.0.1:9"}):
        yield tmp_path / "hub" / "checkpoints"


def publish(cache: Path) -> dict[str, torch.Tensor]:
    """Write weights to torch's cache, in the form in which torchvision publishes them."""
    prepare_torchvision()
    from torchvision.models import ShuffleNet_V2_X0_5_Weights, get_model

    state: dict[str, torch.Tensor] = get_model(NAME).state_dict()
    cache.mkdir(parents=True)
    torch.save(state, cache / Path(ShuffleNet_V2_X0_5_Weights.DEFAULT.url).name)
    return state


def build(shape: tuple[int, ...] = (3, 64, 64), outputs: int = 7, name: str = NAME, **config: Any) -> Any:
    return build_model(
        ModelConfig.model_validate({"name": name, **config}), spec("multiclass", outputs, shape), USER_CODE
    )


@pytest.mark.parametrize("weights", ["DEFAULT", "IMAGENET1K_V1"])
def test_published_weights_are_loaded_except_for_the_head(cache: Path, weights: str) -> None:
    state = publish(cache)
    model = build(weights=weights)
    for name, value in model.state_dict().items():
        if name.startswith("fc."):
            assert value.shape[0] == 7
        else:
            assert torch.equal(value, state[name]), name


def test_the_head_is_loaded_too_if_the_number_of_classes_is_equal(cache: Path) -> None:
    state = publish(cache)
    assert torch.equal(build(outputs=1000, weights="DEFAULT").fc.weight, state["fc.weight"])


def test_grayscale_images_use_the_sum_of_the_published_filters(cache: Path) -> None:
    state = publish(cache)
    model = build((1, 64, 64), weights="DEFAULT")
    expected = state["conv1.0.weight"].sum(dim=1, keepdim=True)
    assert torch.allclose(model.state_dict()["conv1.0.weight"], expected, atol=1e-6)


def test_init_rules_apply_only_to_parameters_without_weights(cache: Path) -> None:
    state = publish(cache)
    model = build(weights="DEFAULT", init=[{"init": "zeros_"}]).state_dict()
    assert not model["fc.weight"].any()
    assert torch.equal(model["conv5.0.weight"], state["conv5.0.weight"])


def test_a_failed_download_names_the_path_to_copy_the_file_to(cache: Path) -> None:
    with pytest.raises(ComponentError) as caught:
        build(weights="DEFAULT")
    message = str(caught.value)
    assert message.startswith("model.weights: cannot download https://download.pytorch.org/models/shufflenet")
    assert f"copy the file to {cache}" in message
    assert "\n" not in message


@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_a_local_file_is_loaded_except_for_a_head_of_another_size(tmp_path: Path, key: str | None) -> None:
    trained = build((1, 8, 8), 10, "SmallCNN", channels=[4])
    state = trained.state_dict()
    path = tmp_path / "best.pt"
    torch.save(state if key is None else {key: state, "epoch": 3}, path)
    model = build((3, 8, 8), 5, "SmallCNN", channels=[4], weights=str(path)).state_dict()
    assert model["head.2.weight"].shape == (5, 64)
    assert torch.equal(model["features.1.running_var"], state["features.1.running_var"])
    assert torch.allclose(model["features.0.weight"], state["features.0.weight"].expand(4, 3, 3, 3) / 3)


def test_outdated_names_are_converted_and_auxiliary_heads_are_dropped() -> None:
    layer = net(norm1=nn.BatchNorm1d(2), conv2=nn.Conv1d(2, 2, 1))
    model = net(denselayer1=layer, fc=nn.Linear(2, 2))
    state = model.state_dict()
    old = {key.replace("norm1", "norm.1").replace("conv2", "conv.2"): x for key, x in state.items()}
    assert "denselayer1.norm.1.weight" in old
    loaded = load_state(model, {**old, "aux1.fc.weight": torch.zeros(2)}, "old.pth")
    assert loaded == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a file of plain tensors"),
        (b"PK\x03\x04 not a zip", "is not a file of plain tensors"),
        (b"some text", "is not a file of plain tensors"),
        ([1, 2], "contains no state dict"),
        ({"epoch": 3}, "contains no state dict"),
        ({"layers.1.weight": torch.zeros(2, 2)}, "does not match MLP: missing: layers.1.bias, "),
    ],
)
def test_an_unusable_file_is_reported_in_one_line(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "best.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(ComponentError) as caught:
        build((4,), name="MLP", weights=str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "best.pt")
    with pytest.raises(ComponentError, match="cannot be read: not a regular file"):
        build((4,), name="MLP", weights=str(tmp_path / "best.pt"))


def test_a_compressed_file_is_refused(tmp_path: Path) -> None:
    """A few kilobytes may hold gigabytes of zeros."""
    torch.save({"weight": torch.zeros(1000)}, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "best.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry.filename))
    with pytest.raises(ComponentError, match="is not a file of plain tensors"):
        build((4,), name="MLP", weights=str(tmp_path / "best.pt"))


@pytest.mark.parametrize("zipped", [True, False])
def test_the_formats_of_torch_save_are_read(tmp_path: Path, zipped: bool) -> None:
    state = build((4,), name="MLP").state_dict()
    torch.save(state, tmp_path / "best.pt", _use_new_zipfile_serialization=zipped)
    loaded = build((4,), name="MLP", weights=str(tmp_path / "best.pt")).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


class Payload:
    """Creates a folder if it is unpickled with code execution."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_code_in_a_file_is_not_executed(tmp_path: Path) -> None:
    torch.save({"weight": Payload(tmp_path / "mark")}, tmp_path / "best.pt")
    with pytest.raises(ComponentError, match="is not a file of plain tensors"):
        build((4,), name="MLP", weights=str(tmp_path / "best.pt"))
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        (NAME, "DEFALT", "shufflenet_v2_x0_5 has no weights 'DEFALT', did you mean 'DEFAULT'?"),
        (NAME, "none", "; `--set model.weights=` starts from random ones"),
        (NAME, "none/such.pt", "there is no file 'none/such.pt'"),
        ("SmallCNN", "DEFAULT", "SmallCNN has no published weights; set the path of a file"),
    ],
)
def test_missing_weights_are_reported(name: str, weights: str, message: str) -> None:
    with pytest.raises(ComponentError) as caught:
        build(name=name, weights=weights)
    assert message in str(caught.value)

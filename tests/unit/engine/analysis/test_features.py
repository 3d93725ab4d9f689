"""Features are what forward hooks get, in the order of the inputs."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.sessions import MakeSession
from torchconsole.engine.analysis.features import compute_features, list_layers
from torchconsole.engine.analysis.trained_model import open_model
from torchconsole.engine.components.data.input_reading import Input, InputReader
from torchconsole.engine.config.user_code import trust
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.run.names import LAST

OWN = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.act = nn.ReLU()
        self.lstm = nn.LSTM(24, 5, batch_first=True)
        self.by_time = nn.LSTM(24, 5)
        self.unused = nn.Linear(2, 2)
        self.file = nn.Linear(2, 2)
        self.head = nn.Linear(30, num_classes)

    def forward(self, x):
        x = self.act(self.stem(x)).movedim(1, 2).flatten(2)
        self.by_time(x.movedim(0, 1))
        x, _ = self.lstm(self.act(x))
        return self.head(x.flatten(1))
"""


@pytest.fixture
def trained(session: MakeSession, tmp_path: Path) -> Path:
    """The checkpoint of a run on digits, with an EMA, of a net whose layers are of all kinds."""
    (tmp_path / "own.py").write_text(OWN)
    trust(tmp_path / "own.py")
    own = (f"model.name={tmp_path / 'own.py'}:Net", "model.hidden=", "model.dropout=")
    done = session(*own, "training.epochs=1", "ema.decay=0.9")
    done.trainer.run()
    return done.checkpoints / LAST


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[list[str], Tensor]:
    """Two files of digits, and what they have."""
    digits = torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    files = [str(tmp_path / name) for name in ("b.npz", "a.npz")]
    np.savez(files[0], inputs=digits[:3].numpy())
    np.savez(files[1], inputs=digits[3:].numpy())
    return files, digits


def hooked(checkpoint: Path, weights: Any, digits: Tensor) -> dict[str, Tensor]:
    """Return the outputs of all layers, each by a forward hook of its own, in a pass with all digits."""
    model = open_model(checkpoint, weights, "cpu")
    normalize = model.preset.data.normalize
    assert not isinstance(normalize, str)
    found: dict[str, Tensor] = {}

    def hook(name: str) -> Any:
        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            found[name] = (output[0] if isinstance(output, tuple) else output).clone()

        return keep

    for name, module in model.module.named_modules():
        module.register_forward_hook(hook(name))
    with torch.no_grad():
        model.module((digits - normalize.mean[0]) / normalize.std[0])
    return found


LAYERS = ("stem.1", "stem", "act", "lstm", "head", "stem.0")


@pytest.mark.parametrize("weights", ["auto", "model"])
def test_features_are_those_of_a_forward_hook(
    trained: Path, inputs: tuple[list[str], Tensor], tmp_path: Path, weights: Any
) -> None:
    files, digits = inputs
    report = compute_features(trained, files, LAYERS, tmp_path / "f.npz", weights, "cpu", batch_size=2)
    assert report.averaged == (weights == "auto")
    assert (report.inputs, report.failed) == (7, [])
    expected = hooked(trained, weights, digits)
    with np.load(tmp_path / "f.npz") as found:
        assert set(found.files) == {*LAYERS, "paths", "rows"}
        assert found["paths"].tolist() == [files[0]] * 3 + [files[1]] * 4
        assert found["rows"].tolist() == [1, 2, 3, 1, 2, 3, 4]
        for name in LAYERS:
            assert found[name].shape == expected[name].shape
            np.testing.assert_allclose(found[name], expected[name].numpy(), rtol=1e-5, atol=1e-6)
        assert (found["stem.1"] < 0).any()  # before the ReLU that works in place
    assert [each.calls for each in report.layers] == [1, 1, 2, 1, 1, 1]


def test_a_parquet_file_has_the_same_numbers(
    trained: Path, inputs: tuple[list[str], Tensor], tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    files, digits = inputs
    compute_features(trained, files, ["lstm", "head"], tmp_path / "f.parquet", "auto", "cpu")
    table = parquet.read_table(tmp_path / "f.parquet")
    assert table.column_names == ["paths", "rows", "lstm", "head"]
    assert table["rows"].to_pylist() == [1, 2, 3, 1, 2, 3, 4]
    assert table.schema.field("lstm").metadata == {b"shape": b"[6, 5]"}
    expected = hooked(trained, "auto", digits)
    for name in ("lstm", "head"):
        found = np.array(table[name].to_pylist()).reshape(expected[name].shape)
        np.testing.assert_allclose(found, expected[name].numpy(), rtol=1e-5, atol=1e-6)


def test_the_layers_are_listed_with_the_shapes_of_their_outputs(trained: Path) -> None:
    found = [
        (each.name, each.type, each.shape, each.calls) for each in list_layers(trained, "auto", "cpu").layers
    ]
    assert found == [
        ("stem", "Sequential", [4, 6, 6], 1),
        ("stem.0", "Conv2d", [4, 6, 6], 1),
        ("stem.1", "BatchNorm2d", [4, 6, 6], 1),
        ("stem.2", "ReLU", [4, 6, 6], 1),
        ("act", "ReLU", [6, 24], 2),
        ("lstm", "LSTM", [6, 5], 1),
        ("by_time", "LSTM", None, 1),
        ("head", "Linear", [10], 1),
    ]


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            "sterm.1",
            "--layer sterm.1: the model has no such layer, did you mean 'stem.1'?; --list shows all",
        ),
        ("unused", "--layer unused: the forward pass does not call it; --list shows what it calls"),
        ("file", "--layer file: an .npz file cannot have an array of this name; write a .parquet file"),
        (
            "by_time",
            "--layer by_time: its output has shape (6, 3, 5), without a row for each of the 3 inputs",
        ),
    ],
)
def test_a_layer_that_cannot_be_used_is_refused(
    trained: Path, inputs: tuple[list[str], Tensor], tmp_path: Path, layer: str, message: str
) -> None:
    with pytest.raises(ComponentError) as error:
        compute_features(trained, inputs[0][:1], [layer], tmp_path / "f.npz", "auto", "cpu")
    assert message in str(error.value)
    assert not (tmp_path / "f.npz").exists()


def test_what_cannot_be_read_is_reported_and_the_others_are_written(
    trained: Path, inputs: tuple[list[str], Tensor], tmp_path: Path
) -> None:
    wide = tmp_path / "wide.npz"
    np.savez(wide, inputs=np.zeros((2, 1, 8, 9), np.float32))
    files = [str(tmp_path / "gone.npz"), *inputs[0], str(wide)]
    report = compute_features(trained, files, ["stem"], tmp_path / "f.npz", "auto", "cpu")
    assert report.inputs == 7
    reasons = {Path(each.file).name: each.reason for each in report.failed}
    assert reasons["gone.npz"] == "there is no such file"
    assert "the model does not take an input of shape (1, 8, 9)" in reasons["wide.npz"]
    none = compute_features(trained, files[:1], ["stem"], tmp_path / "none.npz", "auto", "cpu")
    assert (none.file, none.inputs) == ("", 0)
    assert not (tmp_path / "none.npz").exists()


def test_inputs_are_not_kept(
    trained: Path, inputs: tuple[list[str], Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = InputReader.read
    tensors: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def watched(reader: InputReader, path: Path, **options: bool) -> Iterator[Input]:
        for each in read(reader, path, **options):
            tensors.append(weakref.ref(each.tensor))
            alive.append(sum(tensor() is not None for tensor in tensors))
            yield each

    monkeypatch.setattr(InputReader, "read", watched)
    compute_features(trained, inputs[0], ["head"], tmp_path / "f.npz", "auto", "cpu", batch_size=1)
    assert len(alive) == 7
    assert max(alive) <= 4


def test_images_as_they_were_read_are_kept_on_request(
    trained: Path, inputs: tuple[list[str], Tensor]
) -> None:
    model = open_model(trained, "auto", "cpu")
    for with_samples in (False, True):
        (batch,) = model.batches(inputs[0], 10, [], with_samples=with_samples)
        assert [each.sample is not None for _, each in batch] == [with_samples] * 7

"""Exported models have the accuracy of their run in a process that cannot import torchconsole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.noisy_images import write_noisy_images
from tests.support.other_machine import output_elsewhere
from tests.support.sessions import MakeSession, Session
from torchconsole.engine.analysis import model_graph
from torchconsole.engine.analysis.checkpoint_reports import evaluate_checkpoint
from torchconsole.engine.analysis.exports import Format, export
from torchconsole.engine.analysis.model_graph import ModelGraph, capture
from torchconsole.engine.components.data.input_description import describe_inputs
from torchconsole.engine.components.data.types import DataSpec
from torchconsole.engine.components.models.zoo import ZOO
from torchconsole.engine.config.user_code import trust
from torchconsole.engine.errors import CheckpointError, TorchconsoleError
from torchconsole.engine.run.names import LAST

LOADER = Path(__file__).parents[3] / "support" / "load_exported.py"

FILES: dict[Format, str] = {
    "state_dict": "a.pt",
    "safetensors": "a.safetensors",
    "torch.export": "a.pt2",
    "onnx": "a.onnx",
}

OWN = """
import torch
from torch import nn

class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

class Branching(Base):
    def forward(self, x):
        outputs = self.layer(x)
        return outputs if x.sum() > 0 else outputs + 1

class Counting(Base):
    def forward(self, x):
        return self.layer(x.reshape(len(x), 4))

class Drawing(Base):
    def forward(self, x):
        return self.layer(x) + torch.randn(x.shape[0], 2)

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Embedding(9, 3), nn.Flatten(), nn.Linear(12, 2))

    def forward(self, x):
        return self.layers(x)

def numbers():
    return torch.utils.data.TensorDataset(torch.randn(40, 4), torch.arange(40) % 2)

def indices():
    return torch.utils.data.TensorDataset(torch.randint(9, (40, 4)), torch.arange(40) % 2)
"""


def saved(run: Session) -> Path:
    """Save a checkpoint of a run that has not trained, and return it."""
    run.manager.save("command")
    run.manager.flush()
    return run.checkpoints / LAST


@pytest.fixture
def own(session: MakeSession, tmp_path: Path) -> Any:
    """Makes the checkpoint of a run of a net and a dataset of the user."""
    file = tmp_path / "own.py"
    file.write_text(OWN)
    trust(file)

    def make(net: str, data: str = "numbers") -> Path:
        loading = (f"data.name={file}:{data}", "data.num_workers=0")
        return saved(session(*loading, f'model={{name="{file}:{net}"}}'))

    return make


def test_each_format_has_the_accuracy_of_the_run(session: MakeSession, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    root, shared = tmp_path / "images", tmp_path / "shared"
    write_noisy_images(root)
    resize = '[{name="Resize", size=[10, 10]}]'
    run = session(
        "data.name=ImageFolder",
        f"data.root={root}",
        "data.batch_size=8",
        f"data.transforms.train={resize}",
        f"data.transforms.val={resize}",
        'model={name="resnet18"}',
        "optimizer.lr=1e-3",
        "training.epochs=2",
    )
    run.trainer.run()
    checkpoint = run.checkpoints / LAST
    expected = evaluate_checkpoint(checkpoint, "val", "auto").metrics["val/accuracy"]
    assert expected is not None
    assert 0.5 < expected < 1, "a model that always or never is right would prove nothing"
    shared.mkdir()
    described = describe_inputs(run.setup.preset.data, run.setup.data.record)  # as a worker writes it
    (shared / "input.json").write_text(described.model_dump_json())
    for form, name in FILES.items():
        export(checkpoint, shared / name, form, "auto")
    files = [shared / name for name in FILES.values()]
    found = json.loads(output_elsewhere(LOADER, root / "val", *files, cwd=tmp_path))
    assert found == [expected] * len(FILES)


def test_a_graph_has_the_averaged_weights_in_eval_mode(session: MakeSession, tmp_path: Path) -> None:
    run = session("training.epochs=1", "ema={decay=0.9}", preset="digits-cnn")
    run.trainer.run()
    report = export(run.checkpoints / LAST, tmp_path / "a.pt2", "torch.export", "auto")
    assert report.averaged
    assert report.graph is not None
    assert report.graph.difference == 0
    assert report.graph.inputs == "inputs: float32 (N, 1, 8, 8)"
    assert report.graph.outputs == "logits: float32 (N, 10)"
    program = torch.export.load(tmp_path / "a.pt2")
    assert run.setup.ema is not None
    average = run.setup.ema.state_dict()["module"]
    assert all(torch.equal(weight, average[name]) for name, weight in program.state_dict.items())
    assert "stack_trace" not in program.graph_module.code
    inputs = torch.randn(4, 1, 8, 8)
    assert torch.equal(program.module()(inputs)[:1], program.module()(inputs)[:1])
    assert torch.allclose(program.module()(inputs)[:1], program.module()(inputs[:1]), atol=1e-6)


def test_a_run_in_half_precision_is_exported_in_fp32(session: MakeSession, tmp_path: Path) -> None:
    checkpoint = saved(session("training.precision=bf16"))
    report = export(checkpoint, tmp_path / "a.pt2", "torch.export", "auto")
    assert report.graph is not None
    assert report.graph.notes == ["the run computed in bf16, the exported model in fp32"]


@pytest.mark.parametrize(
    ("name", "shape", "arguments"),
    [
        ("SequenceClassifier", (6, 5), {"input_shape": (6, 5)}),
        ("SequenceClassifier", (6, 5), {"input_shape": (6, 5), "bidirectional": True}),
        ("SequenceClassifier", (1, 6, 5), {"input_shape": (1, 6, 5), "cell": "GRU", "num_layers": 2}),
        ("TextClassifier", (6,), {"vocab_size": 9}),
        ("TextClassifier", (6,), {"vocab_size": 9, "cell": "GRU", "bidirectional": True}),
    ],
)
def test_recurrent_nets_take_batches_of_any_size(
    name: str, shape: tuple[int, ...], arguments: dict[str, Any]
) -> None:
    model: nn.Module = ZOO[name](num_classes=3, **arguments).eval()
    whole = "vocab_size" in arguments
    spec = DataSpec("multiclass", shape, 3, list("abc"), torch.int64 if whole else torch.float32)
    graph = capture(model, spec).module()
    for count in (1, 5):
        inputs: Tensor = torch.randint(9, (count, *shape)) if whole else torch.randn(count, *shape)
        assert graph(inputs).shape == (count, 3)
        assert torch.allclose(graph(inputs), model(inputs), atol=1e-6)


def test_outputs_of_another_shape_are_refused_though_their_values_are_the_same() -> None:
    model, spec = nn.Linear(4, 3), DataSpec("multiclass", (4,), 3, list("abc"))
    program = capture(nn.Sequential(model, nn.Unflatten(0, (1, -1))), spec)
    with pytest.raises(CheckpointError, match=r"shape \(1, 1, 3\) with torch .* the model of \(1, 3\)"):
        ModelGraph(model, program, spec, "logits", []).check()


def test_indices_of_a_dataset_of_ones_own_stay_indices(own: Any, tmp_path: Path) -> None:
    graph = export(own("Words", "indices"), tmp_path / "a.pt2", "torch.export", "auto").graph
    assert graph is not None
    assert graph.inputs == "inputs: int64 (N, 4)"


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        ("Branching", r"cannot be exported as a graph: .*own.py, line 13.* must not branch on the values"),
        ("Counting", r"cannot be exported as a graph: .*\(x.shape\[0\] instead of a number or len\(x\)\)"),
        ("Drawing", r"has other outputs than the model, by up to .* may draw random numbers"),
    ],
)
def test_a_net_that_has_no_graph_is_refused(own: Any, tmp_path: Path, net: str, reason: str) -> None:
    file = tmp_path / "a.pt2"
    with pytest.raises(CheckpointError, match=rf"^the (exported )?model {reason}") as caught:
        export(own(net), file, "torch.export", "auto")
    assert str(caught.value).endswith("; export its weights with --format safetensors instead")
    assert "\n" not in str(caught.value)
    assert not file.exists()


def test_onnx_needs_its_extra(session: MakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = saved(session())
    monkeypatch.setattr(model_graph, "find_spec", lambda name: None)
    with pytest.raises(
        TorchconsoleError, match=r"--format onnx requires onnx: pip install 'torchconsole\[onnx\]'"
    ):
        export(checkpoint, tmp_path / "a.onnx", "onnx", "auto")


def test_onnx_without_onnxruntime_is_not_compared(
    session: MakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    found = model_graph.find_spec
    monkeypatch.setattr(model_graph, "find_spec", lambda name: None if name == "onnxruntime" else found(name))
    graph = export(saved(session()), tmp_path / "a.onnx", "onnx", "auto").graph
    assert graph is not None
    assert (graph.checked_by, graph.difference) == ("", None)

"""What a dry run accepts trains and evaluates, for any outputs, loss and targets; and metrics are right."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import tomlkit
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.support.sessions import Session
from torchconsole.engine.config.user_code import trust
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.training.dry_run import dry_run
from torchconsole.engine.training.trial import first_batch

CODE = """
import torch
from torch import nn
from torch.utils.data import Dataset

class Data(Dataset):
    def __init__(self, kind, size):
        self.kind = kind
        generator = torch.Generator().manual_seed(7)
        self.inputs = torch.randn(size, 3, generator=generator)
        self.scores = self.inputs @ torch.tensor([[1.0, 0.5, -0.5], [0.2, -1.0, 0.3], [0.4, 0.1, 1.0]])

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, i):
        return self.inputs[i], self.target(self.scores[i])

    def target(self, scores):
        return {
            "two classes": lambda: int(scores[0] > 0),
            "three classes": lambda: int(scores.argmax()),
            "zero or one": lambda: float(scores[0] > 0),
            "a column of zero or one": lambda: (scores[:1] > 0).float(),
            "labels": lambda: (scores > 0).float(),
            "a number": lambda: 3 * float(scores[0]),
            "numbers": lambda: scores,
            "a count": lambda: float((4 * scores[0].abs()).round() + 0.0),
        }[self.kind]()

class Net(nn.Module):
    def __init__(self, width, ending, norm=False):
        super().__init__()
        middle = nn.BatchNorm1d(8) if norm else nn.Identity()
        self.layers = nn.Sequential(nn.Linear(3, 8), middle, nn.ReLU(), nn.Linear(8, width))
        self.ending = ending

    def forward(self, inputs):
        x = self.layers(inputs)
        for step in self.ending.split():
            x = {
                "none": lambda: x,
                "softmax": lambda: x.softmax(1),
                "log_softmax": lambda: x.log_softmax(1),
                "sigmoid": x.sigmoid,
                "tanh": x.tanh,
                "relu": x.relu,
                "squeeze": x.squeeze,
                "squeeze(-1)": lambda: x.squeeze(-1),
                "tuple": lambda: (x, x),
                "tuple_in_eval": lambda: x if self.training else (x, x),
                "dict": lambda: {"out": x},
                "mean": x.mean,
                "image": lambda: x[:, :, None, None],
            }[step]()
        return x

class Squares(nn.Module):
    def forward(self, outputs, targets):
        return ((outputs - targets) ** 2).mean()

class Focal(nn.Module):
    def forward(self, outputs, targets):
        chosen = outputs.log_softmax(1)[torch.arange(len(targets)), targets]
        return -((1 - chosen.exp()) ** 2 * chosen).mean()
"""

KINDS = [
    "two classes", "three classes", "zero or one", "a column of zero or one", "labels", "a number",
    "numbers", "a count",
]  # fmt: skip
ACTIVATIONS = ["none", "softmax", "log_softmax", "sigmoid", "tanh", "relu"]
SHAPES = ["none", "none", "none", "squeeze", "squeeze(-1)", "tuple", "tuple_in_eval", "dict", "mean", "image"]
LOSSES = [
    "auto", "auto", "CrossEntropyLoss", "NLLLoss", "BCELoss", "BCEWithLogitsLoss", "MSELoss", "L1Loss",
    "KLDivLoss", "SoftMarginLoss", "MultiMarginLoss", "PoissonNLLLoss", "mine.py:Squares", "mine.py:Focal",
]  # fmt: skip
METRICS: list[Any] = [
    None,
    [],
    None,
    [{"name": "AUROC"}, {"name": "Recall", "average": "none"}],
    [{"name": "R2Score"}, {"name": "SpearmanCorrCoef"}],
]


FITTING: dict[str, tuple[list[int], list[str]]] = {
    "two classes": ([1, 2], ["CrossEntropyLoss", "NLLLoss", "BCELoss", "BCEWithLogitsLoss", "MSELoss"]),
    "three classes": ([3], ["CrossEntropyLoss", "NLLLoss", "KLDivLoss", "BCELoss", "mine.py:Focal"]),
    "zero or one": (
        [1, 2],
        ["BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "NLLLoss", "SoftMarginLoss"],
    ),
    "a column of zero or one": ([1], ["BCELoss", "BCEWithLogitsLoss", "L1Loss", "mine.py:Squares"]),
    "labels": ([3], ["BCELoss", "BCEWithLogitsLoss", "MSELoss", "mine.py:Squares"]),
    "a number": ([1], ["auto", "L1Loss", "mine.py:Squares"]),
    "numbers": ([3], ["auto", "L1Loss", "mine.py:Squares"]),
    "a count": ([1], ["auto", "PoissonNLLLoss"]),
}
"""Outputs and losses that go with the targets."""


@st.composite
def trainings(draw: st.DrawFn) -> tuple[str, dict[str, Any], str, Any]:
    """Draw targets, a model, a loss and metrics; mostly, width and loss go with the targets."""
    kind = draw(st.sampled_from(KINDS))
    widths, losses = FITTING[kind] if draw(st.integers(0, 3)) else ([1, 2, 3], LOSSES)
    ending = draw(st.sampled_from(ACTIVATIONS)), draw(st.sampled_from(SHAPES))
    model = {
        "width": draw(st.sampled_from(widths)),
        "ending": " ".join(ending),
        "norm": draw(st.booleans()),
    }
    return kind, model, draw(st.sampled_from(losses)), draw(st.sampled_from(METRICS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder with the user's trusted file, as the working folder."""
    path = tmp_path_factory.mktemp("user")
    (path / "mine.py").write_text(CODE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(path / "state"))
        patch.chdir(path)
        trust(path / "mine.py")
        yield path


def write_preset(folder: Path, kind: str, model: dict[str, Any], loss: dict[str, Any], metrics: Any) -> str:
    """Write a preset and return its path."""
    content = {
        "title": "any",
        "data": {"name": "mine.py:Data", "kind": kind, "size": 41, "batch_size": 8, "eval_batch_size": 5},
        "model": {"name": "mine.py:Net", **model},
        "loss": loss,
        "optimizer": {"name": "SGD", "lr": 0.01},
        "training": {"epochs": 2, "device": "cpu", "log_every": 1},
    }
    if metrics is not None:
        content["metrics"] = metrics
    path = folder / "any.toml"
    path.write_text(tomlkit.dumps(content), encoding="utf-8")
    return str(path)


@pytest.mark.filterwarnings("ignore")
@settings(
    max_examples=60,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(training=trainings())
def test_what_is_accepted_trains_and_what_is_not_is_refused_in_one_line(
    folder: Path, training: tuple[str, dict[str, Any], str, Any]
) -> None:
    kind, model, loss, metrics = training
    preset = write_preset(folder, kind, model, {"name": loss}, metrics)
    with warnings.catch_warnings(action="ignore"):
        try:
            run = Session(folder / "checkpoints", preset=preset)
            dry_run(run.setup, first_batch(run.setup))
        except TorchconsoleError as error:
            (line,) = str(error).splitlines()
            assert line.startswith(("data", "model", "loss", "metrics", "evaluation")), line
            return
        assert run.trainer.run().status == "finished"
    assert len(run.event_queue.of(ev.EvaluationCompleted)) == 2


ENDINGS: dict[str, tuple[int, str, str]] = {
    "a logit": (1, "none", "BCEWithLogitsLoss"),
    "a probability": (1, "sigmoid", "BCELoss"),
    "a squeezed logit": (1, "squeeze(-1)", "BCEWithLogitsLoss"),
    "a squeezed probability": (1, "sigmoid squeeze(-1)", "BCELoss"),
    "two logits": (2, "none", "CrossEntropyLoss"),
    "two log-probabilities": (2, "log_softmax", "NLLLoss"),
}


@pytest.mark.parametrize("kind", ["two classes", "zero or one", "a column of zero or one"])
@pytest.mark.parametrize(("width", "ending", "loss"), ENDINGS.values(), ids=ENDINGS)
def test_a_binary_classifier_has_the_right_accuracy_and_auroc_however_it_ends(
    folder: Path, kind: str, width: int, ending: str, loss: str
) -> None:
    metrics = [{"name": "Accuracy"}, {"name": "AUROC"}, {"name": "ConfusionMatrix"}]
    preset = write_preset(folder, kind, {"width": width, "ending": ending}, {"name": loss}, metrics)
    run = Session(folder / "checkpoints", preset=preset)
    dry_run(run.setup, first_batch(run.setup))
    run.trainer.run()
    event = run.event_queue.of(ev.EvaluationCompleted)[-1]
    scores, positive = scores_of(run)
    assert event.metrics["val/accuracy"] == pytest.approx(float(((scores > 0) == positive).float().mean()))
    order = scores[positive].unsqueeze(1) - scores[~positive]
    assert event.metrics["val/auroc"] == pytest.approx(float((order > 0).float().mean()))
    assert event.confusion.counts[1][1] == int(((scores > 0) & positive).sum())


def scores_of(run: Session) -> tuple[Tensor, Tensor]:
    """How much the last layer prefers the second class, and whether it is the right one."""
    layers = run.setup.model.get_submodule("layers").eval()
    scores, positive = [], []
    with torch.inference_mode():
        for inputs, targets in run.setup.data.val:
            last = layers(inputs)
            scores.append(last[:, -1] - (last[:, 0] if last.shape[1] == 2 else 0))
            positive.append(targets.flatten() > 0.5)
    return torch.cat(scores), torch.cat(positive)

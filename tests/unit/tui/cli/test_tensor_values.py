"""`torchconsole summary --values`: a line for each tensor of a preset's model or of a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fake_checkpoints import fake_checkpoint
from tests.support.runs import make_folder
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.protocol.reports import TensorValues, ValuesReport
from torchconsole.tui.cli import tensor_values
from torchconsole.tui.cli.summary import summary

WEIGHT = TensorValues(
    name="net.weight", shape=[2, 3], min=-0.5, max=1.25, mean=0.125, deviation=0.5, zeros=0.25, nonfinite=0
)
LOST = TensorValues(
    name="scale", shape=[], min=None, max=None, mean=None, deviation=None, zeros=0.0, nonfinite=1
)
REPORT = ValuesReport(checkpoint=None, averaged=False, tensors=[WEIGHT, LOST])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Answer with a given report; return what was asked for."""
    names: list[tuple[str, ...]] = []

    def report(kind: object, *arguments: str) -> ValuesReport:
        names.append(arguments)
        return REPORT

    monkeypatch.setattr(tensor_values, "make_report", report)
    return names


def test_a_tensor_is_a_line_with_its_range(capsys: pytest.CaptureFixture[str]) -> None:
    tensor_values.print_values(REPORT)
    first, heading, weight, lost = capsys.readouterr().out.splitlines()
    assert first == "the model before its first step"
    assert heading.split() == ["TENSOR", "SHAPE", "MIN", "MAX", "MEAN", "DEVIATION", "ZEROS", "NON-FINITE"]
    assert weight.split() == ["net.weight", "2x3", "-0.5", "1.25", "0.125", "0.5", "25.0%", "0"]
    assert lost.split() == ["scale", "scalar", "-", "-", "-", "-", "0.0%", "1"]


def test_a_checkpoint_is_named_with_its_weights(capsys: pytest.CaptureFixture[str]) -> None:
    tensor_values.print_values(REPORT.model_copy(update={"checkpoint": "/runs/a/b", "averaged": True}))
    assert capsys.readouterr().out.splitlines()[0] == "/runs/a/b, EMA weights"


def test_a_run_means_its_best_checkpoint(tmp_path: Path, asked: list[tuple[str, ...]]) -> None:
    run = make_folder(tmp_path, "r-20260102-030405")
    chosen = fake_checkpoint(run, 20)
    (run.checkpoints / "best").symlink_to(chosen.name)
    assert summary(run.name, values=True, as_json=True, runs_dir=tmp_path) == 0
    assert summary(f"{run.name}@20", values=True, as_json=True, runs_dir=tmp_path) == 0
    assert [(kind, Path(path).resolve()) for kind, path in asked] == [("checkpoint-values", chosen)] * 2


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("digits-mlp", {"depth": 1}, "--depth limits the tree of layers"),
        ("nothing", {}, "no preset named 'nothing'.*\nno run is named 'nothing'"),
        ("r-20260102-030405", {"overrides": ["optimizer.lr=1"]}, "--set changes a preset, but r-2026"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, name: str, options: dict[str, object], message: str
) -> None:
    fake_checkpoint(make_folder(tmp_path, "r-20260102-030405"), 20)
    with pytest.raises(TorchconsoleError, match=message):
        summary(name, values=True, runs_dir=tmp_path, **options)  # type: ignore[arg-type]

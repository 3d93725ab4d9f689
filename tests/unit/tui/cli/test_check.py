"""`torchconsole check`: the report about a preset, as text and as JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from torchconsole.engine.analysis.check_report import Phases, check_report
from torchconsole.engine.config.catalogue import Catalogue
from torchconsole.engine.config.loading import load_preset, write_preset
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.protocol.events import PhaseChanged
from torchconsole.tui.cli import check as command


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, catalogue: Catalogue, tmp_path: Path) -> None:
    """Make the report in this process instead of a separate one."""

    def report(kind: type[BaseModel], name: str, preset: Preset) -> BaseModel:
        file = tmp_path / "preset.toml"
        write_preset(preset, file)
        return kind.model_validate_json(check_report(str(file)).model_dump_json())

    monkeypatch.setattr(command, "make_preset_report", report)
    monkeypatch.setattr(
        command, "load_checked_preset", lambda name, overrides: load_preset(name, overrides or [], catalogue)
    )


@pytest.mark.usefixtures("in_process")
def test_data_model_batch_and_times_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.check("digits-mlp") == 0
    data, memory, model, batch, took, verdict = capsys.readouterr().out.splitlines()
    assert "multiclass: 1,437 samples of 1x8x8 in 23 steps per epoch, 360 for validation" in data
    assert memory.strip().startswith("training data held in memory on cpu (0.4 MiB)")
    assert "MLP: 17,226 parameters, 17,226 trainable, 10 outputs" in model
    assert batch.startswith("one batch  forward and backward on cpu: loss 2.")
    assert re.search(r"loading data \d.*, building the model \d+\.\d\d s, dry run \d", took)
    assert verdict == "no problem found"


@pytest.mark.usefixtures("in_process")
def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.check("digits-mlp", ["model.freeze=['layers.1.*']"], as_json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["trainable"] < report["params"] == 17226
    assert set(report["seconds"]) >= {"loading data", "building the model", "dry run"}
    assert report["loss"] == pytest.approx(2.3, abs=0.2)


@pytest.mark.usefixtures("in_process")
def test_a_loss_that_is_not_finite_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    command.check("digits-mlp", ["data.normalize={mean=[1e308], std=[5e-324]}"])
    assert capsys.readouterr().out.splitlines()[-1].startswith("the first loss is not finite; check the data")


def test_downloads_and_progress_are_printed_as_they_come(capsys: pytest.CaptureFixture[str]) -> None:
    phases = Phases()
    slow = [
        PhaseChanged(phase="measuring mean and std", done=5, total=70),
        PhaseChanged(phase="downloading weights", subject="weights.pth"),
    ]
    for phase in (PhaseChanged(phase="loading data"), *slow, PhaseChanged(phase="dry run")):
        phases(phase)
    printed = capsys.readouterr().out.splitlines()
    assert [PhaseChanged.model_validate_json(line) for line in printed] == slow

"""`torchconsole check`: the report about a preset, as text and as JSON."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from torchconsole.engine.analysis import start_check
from torchconsole.engine.analysis.check_report import Phases, check_report
from torchconsole.engine.config.catalogue import Catalogue
from torchconsole.engine.config.loading import load_preset, write_preset
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol.events import PhaseChanged
from torchconsole.engine.protocol.reports import ClassCount, DataColumn, Finding
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
@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_terminal_hears_at_once_what_the_check_does(
    is_terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    heard = []

    def fail(*_: object) -> None:
        heard.append(capsys.readouterr().err)
        raise RunError("the report failed")

    monkeypatch.setattr(command, "make_preset_report", fail)
    with pytest.raises(RunError):
        command.check("digits-mlp")
    assert heard == ["loading the data and making a dry run...\n" if is_terminal else ""]


@pytest.mark.usefixtures("in_process")
def test_what_the_dry_run_saw_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start_check, "find", lambda setup, dry_run: [])
    overrides = [
        "training.epochs=9",
        "schedule=[{name='StepLR', step_size=4, gamma=0.1}]",
        "optimizer.lr=0.1",
    ]
    assert command.check("digits-mlp", overrides, device="cpu") == 0
    printed = capsys.readouterr().out
    facts = {line[:11].strip(): line[11:] for line in printed.splitlines()}
    assert facts["data"] == "1,437 samples for training, 360 for validation"
    assert facts["classes"].startswith("10: 0 (142), 1 (14")
    assert facts["notes"].startswith("training data held in memory on cpu (0.4 MiB)")
    assert facts["input"] == "1x8x8 float32, batches of 64, 23 steps per epoch"
    assert facts["output"] == "10 for multiclass"
    assert facts["model"] == "MLP: 17,226 parameters, 17,226 trainable"
    assert re.match(r"on cpu in fp32: loss 2\.\d+ on the first batch", facts["dry run"])
    assert re.search(
        r"a step takes [\d.]+ ms, \d+ kB of memory\n +loading a batch takes [\d.]+ ms\n", printed
    )
    assert facts["memory"].startswith("parameters 67.3 kB, gradients 67.3 kB, optimizer 135 kB, activations ")
    assert facts["lr"] == "epoch 1: 0.1, epoch 5: 0.01, epoch 9: 0.001; StepLR by epoch"
    assert re.search(r"loading data \d.*, building the model \d+\.\d\d s, dry run \d", facts["took"])
    assert printed.splitlines()[-1] == "no problem found"


FOUND = [
    Finding(
        level=level,
        name=f"an-{level}",
        evidence="all 64 rows sum to 1",
        reason="the loss applies softmax itself",
        remedy="remove nn.Softmax (net.3)",
    )
    for level in ("error", "warning", "hint")
]


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("found", "status", "verdict"),
    [
        (
            FOUND,
            2,
            "1 error, 1 warning, 1 hint: a run would not start; fix the errors, or start it with --anyway",
        ),
        (FOUND[1:], 0, "1 warning, 1 hint; a run would start"),
    ],
)
def test_findings_are_printed_and_errors_have_their_status(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    found: list[Finding],
    status: int,
    verdict: str,
) -> None:
    monkeypatch.setattr(start_check, "find", lambda setup, dry_run: found)
    assert command.check("digits-mlp") == status
    *_, name, evidence, reason, remedy, last = capsys.readouterr().out.splitlines()
    assert name == "hint       an-hint"
    assert evidence == "           all 64 rows sum to 1"
    assert reason == "why        the loss applies softmax itself"
    assert remedy == "to fix it  remove nn.Softmax (net.3)"
    assert last.startswith(verdict)


def test_of_many_classes_the_largest_and_the_smallest_are_printed() -> None:
    many = [ClassCount(name=f"n{number}", samples=number + 10) for number in range(1000)]
    described = command._describe_classes(many)
    assert described == "1,000: largest n999 (1,009), smallest n0 (10) and 998 more"


def test_of_many_columns_the_numeric_ones_are_counted() -> None:
    columns = [DataColumn(name=f"x{number}", role="numeric") for number in range(300)]
    columns.append(DataColumn(name="id", role="dropped", detail="it names the row"))
    lines = list(command._describe_columns(columns))
    assert lines == ["id: dropped, it names the row", "and 300 more; 300 columns are numeric (see --json)"]


@pytest.mark.usefixtures("in_process")
def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.check("digits-mlp", ["model.freeze=['layers.1.*']"], as_json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["trainable"] < report["params"] == 17226
    assert set(report["seconds"]) >= {"loading data", "building the model", "dry run"}
    assert report["loss"] == pytest.approx(2.3, abs=0.2)


@pytest.mark.usefixtures("in_process")
def test_a_loss_that_is_not_finite_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.check("digits-mlp", ["data.normalize={mean=[1e308], std=[5e-324]}"]) == 2
    printed = capsys.readouterr().out
    assert "nonfinite-loss" in printed
    assert "no problem found" not in printed


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

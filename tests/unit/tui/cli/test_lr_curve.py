"""`torchconsole show --lr`: the learning rate that a run of the preset would have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.data_files import write_images
from tests.support.sessions import setup_for
from torchconsole.engine.analysis.report import lr_curve
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.protocol.reports import LearningRateCurve, LrAt
from torchconsole.tui.cli import lr_curve as command
from torchconsole.tui.cli import presets

PLATEAU = 'schedule=[{name="LinearLR", until=5}, {name="ReduceLROnPlateau", interval="epoch"}]'
GROUPS = 'optimizer.groups=[{match=["*.bias"], lr=0.5}]'


@pytest.mark.parametrize(
    "overrides",
    [
        ["training.epochs=2"],
        ["training.epochs=2", "training.grad_accum_steps=4"],
        ["training.epochs=3", "training.max_steps=30", "data.drop_last=true"],
        ["training.epochs=2", GROUPS, "optimizer.decay_norm_and_bias=false"],
    ],
)
def test_the_curve_is_that_of_a_run(overrides: list[str]) -> None:
    preset = load_preset("digits-mlp", overrides)
    setup = setup_for(preset)
    curve = lr_curve(preset)
    assert (curve.steps_per_epoch, curve.total_steps) == (setup.steps_per_epoch, setup.total_steps)
    assert curve.steps == list(range(1, setup.total_steps + 1))
    lrs = []
    for step in range(1, setup.total_steps + 1):
        lrs.append([group["lr"] for group in setup.optimizer.param_groups])
        setup.learning_rate.step()
        if step % setup.steps_per_epoch == 0:
            setup.learning_rate.epoch()
    assert np.array_equal(np.array(curve.lrs), np.array(lrs).T)


@pytest.mark.parametrize(
    ("schedule", "unit", "lrs"),
    [
        ('[{name="StepLR", step_size=2}]', "StepLR by epoch", [0.1, 0.1, 0.01]),
        ('[{name="StepLR", step_size=2, interval="step"}]', "StepLR by step", [0.1, 1e-12, 1e-24]),
        (
            '[{name="ReduceLROnPlateau", until=1}, {name="LinearLR", start_factor=1, end_factor=0}]',
            "ReduceLROnPlateau by val/loss until epoch 1, then LinearLR by step",
            [0.1, 0.1, 0.05],
        ),
        (
            '[{name="ChainedScheduler", schedulers=[{name="LinearLR"}, {name="StepLR", step_size=1}]}]',
            "LinearLR by step x StepLR by epoch",
            [0.1 / 3, 0.1 * (1 / 3 + 2 / 9) / 10, 0.1 * (1 / 3 + 4 / 9) / 100],
        ),
        ("[]", "", [0.1, 0.1, 0.1]),
    ],
)
def test_the_unit_and_the_lr_of_the_first_middle_and_last_epoch_are_told(
    schedule: str, unit: str, lrs: list[float]
) -> None:
    curve = lr_curve(
        load_preset("digits-mlp", ["training.epochs=3", "optimizer.lr=0.1", f"schedule={schedule}"])
    )
    assert curve.unit == unit
    assert [at.epoch for at in curve.epochs] == [1, 2, 3]
    assert [at.lr for at in curve.epochs] == pytest.approx(lrs, rel=1e-6)


def test_images_are_counted_but_only_a_few_are_read(tmp_path: Path) -> None:
    for part in ("train", "val"):
        write_images(tmp_path / part, {"a": 6, "b": 6})
    for path in tmp_path.rglob("*.png"):
        if path.stem not in ("000", "005"):
            path.write_bytes(b"not an image")
    settings = [f"data.root={tmp_path}", "data.batch_size=5", "training.epochs=2"]
    curve = lr_curve(load_preset("imagefolder-finetune", settings))
    assert (curve.steps_per_epoch, curve.total_steps) == (3, 6)


def print_curve(monkeypatch: pytest.MonkeyPatch, **facts: object) -> None:
    """Print a given curve instead of computing it."""
    curve = LearningRateCurve.model_validate(
        {"steps_per_epoch": 10, "total_steps": 40, "steps": list(range(1, 41)), **facts}
    )
    monkeypatch.setattr(command, "make_preset_report", lambda kind, name, preset: curve)
    monkeypatch.setenv("COLUMNS", "60")
    presets.show("digits-mlp", lr=True)


def test_a_chart_and_a_table_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = [LrAt(epoch=1, lr=0.1), LrAt(epoch=4, lr=0.1 / 31)]
    print_curve(
        monkeypatch, lrs=[[0.1 / step for step in range(1, 41)]], unit="StepLR by epoch", epochs=shown
    )
    chart, table = capsys.readouterr().out.split("\n\n")
    table, schedule, epochs = table.strip().rsplit("\n", 2)
    assert schedule == "schedule: StepLR by epoch"
    assert epochs == "lr at the start of epoch 1: 0.1, epoch 4: 0.003226"
    assert len(chart.splitlines()) == command.HEIGHT
    assert max(map(len, chart.splitlines())) <= 60
    assert chart.startswith("  0.1┤·⡄")
    heading, *lines = table.splitlines()
    assert heading.split() == ["STEP", "EPOCH", "LR"]
    assert lines[0].split() == ["1", "1", "0.1"]
    assert lines[-1].split() == ["40", "4", "0.0025"]
    assert len(lines) == command.MAX_ROWS


def test_groups_have_a_column_each_unless_their_lrs_are_equal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    print_curve(monkeypatch, lrs=[[0.1] * 40, [0.1] * 40, [0.3] * 40])
    heading, first, *_ = capsys.readouterr().out.split("\n\n")[1].splitlines()
    assert heading.split("  ")[2:] == ["LR OF GROUP 0,1", "LR OF GROUP 2"]
    assert first.split() == ["1", "1", "0.1", "0.3"]


def test_what_the_curve_leaves_out_is_noted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lr_curve(load_preset("digits-mlp", [PLATEAU, "training.epochs=1"])).metric == "val/loss"
    print_curve(monkeypatch, lrs=[[0.1] * 40], metric="val/loss", total_steps=90)
    *_, first, second = capsys.readouterr().out.splitlines()
    assert first == "part of the schedule depends on val/loss, shown as if constant"
    assert second == "only the first 40 of the run's 90 steps are shown"


def test_json_has_every_point(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    presets.show("digits-mlp", ["training.epochs=1"], lr=True, as_json=True)
    curve = json.loads(capsys.readouterr().out)
    assert curve["steps"] == list(range(1, curve["total_steps"] + 1))
    assert [len(lrs) for lrs in curve["lrs"]] == [curve["total_steps"]]

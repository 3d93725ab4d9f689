"""In a terminal every table fits its width; in a pipe it is complete."""

from __future__ import annotations

import os
import pty
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.support.fake_checkpoints import fake_checkpoint, flip_a_bit
from tests.support.runs import make_folder
from torchconsole.engine.protocol.info import DeviceInfo, LayerInfo, ModelSummary, WorstSample
from torchconsole.engine.protocol.model_reports import Calibration, ClassFigures, Confusion, EvaluationReport
from torchconsole.engine.protocol.reports import (
    CheckReport,
    ClassCount,
    DataColumn,
    Finding,
    LearningRateCurve,
)
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.record import RunRecord
from torchconsole.tui.cli import check, device, lr_curve, presets
from torchconsole.tui.cli.checkpoints import checkpoints
from torchconsole.tui.cli.evaluate import print_evaluation
from torchconsole.tui.cli.runs import runs
from torchconsole.tui.cli.summary import print_layers
from torchconsole.tui.cli.terminal import print_facts, print_table
from torchconsole.tui.table import Column

WIDTHS = (40, 80, 200)
LONG = "a-preset-with-a-name-that-is-much-too-long-for-a-narrow-terminal"
WIDE = "日本語のデータセットの名前"
NAME = "digits-mlp-20260102-030405"


@contextmanager
def terminal(columns: int) -> Iterator[Callable[[], list[str]]]:
    """Make stdout a real pseudo-terminal. Yields a function that closes it and returns its lines."""
    reader, writer = pty.openpty()
    termios.tcsetwinsize(writer, (24, columns))
    output = bytearray()

    def receive() -> None:
        try:
            while data := os.read(reader, 65536):
                output.extend(data)
        except OSError:  # the end, on Linux
            return

    thread = threading.Thread(target=receive)
    thread.start()
    stream, before = os.fdopen(writer, "w"), sys.stdout

    def close() -> list[str]:
        stream.close()
        thread.join()
        return output.decode().splitlines()

    sys.stdout = stream
    try:
        yield close
    finally:
        sys.stdout = before
        if not stream.closed:
            close()
        os.close(reader)


def printed(columns: int, command: Callable[[], object]) -> list[str]:
    """Run a command in a terminal, and return its lines after checking that none is too wide."""
    with terminal(columns) as close:
        command()
        lines = close()
    assert lines
    assert [line for line in lines if cell_len(line) > columns] == []
    return lines


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """Runs with names of several lengths."""
    folder = tmp_path / "several"
    best = {"metric": f"val/{LONG}", "value": 0.5, "step": 7}
    for name in (NAME, f"{LONG}-20260102-030405", WIDE):
        run = RunFolder(folder / name)
        run.path.mkdir(parents=True)
        record = RunRecord(
            name, str(run.path), preset=LONG, status="interrupted", host=LONG, best=best, lr=0.01
        )
        run.write_record(record)
    return folder


@pytest.mark.parametrize("columns", WIDTHS)
def test_runs_fit(runs_dir: Path, columns: int) -> None:
    heading, *lines = printed(columns, lambda: runs(runs_dir=runs_dir))
    assert len(lines) == 3, "one line per run"
    assert heading.split()[:2] == ["STATUS", "RUN"]
    assert any(NAME in line for line in lines)
    assert all("260102-030405" in line for line in lines if WIDE[0] not in line), "names differ in their ends"


def test_a_wide_terminal_shows_every_column_of_runs(runs_dir: Path) -> None:
    make_folder(runs_dir.parent / "short", status="finished")
    heading, _ = printed(80, lambda: runs(runs_dir=runs_dir.parent / "short"))
    assert {"STATUS", "RUN", "PROGRESS", "STEP", "BEST", "AGE"} <= set(heading.split())
    heading, *_ = printed(400, lambda: runs(runs_dir=runs_dir))
    assert heading.split() == ["STATUS", "RUN", "PROGRESS", "STEP", "BEST", "AGE", "HOST", "PRESET", "LR"]


def test_a_pipe_gets_the_whole_table(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs(runs_dir=runs_dir)
    out = capsys.readouterr().out
    assert f"{LONG}-20260102-030405" in out
    assert WIDE in out
    assert "…" not in out


def test_the_width_in_the_environment_takes_precedence(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    with terminal(200) as close:
        runs(runs_dir=runs_dir)
        assert all(cell_len(line) <= 40 for line in close())


@pytest.mark.parametrize("columns", WIDTHS)
def test_checkpoints_fit(tmp_path: Path, columns: int) -> None:
    folder = make_folder(tmp_path / "saved", status="finished")
    fake_checkpoint(folder, 1380, kept=True, links=("best", "last"))
    flip_a_bit(fake_checkpoint(folder, 690))
    fake_checkpoint(folder, 1500).rename(folder.checkpoints / "abandoned-step-00001500")
    heading, good, damaged, abandoned = printed(columns, lambda: checkpoints(str(folder.path)))
    assert abandoned.split()[0] == "abandoned-step-00001500"
    assert heading.split()[0] == "CHECKPOINT"
    assert good.split()[0] == "step-00001380"
    assert good.endswith("valid")
    assert not damaged.endswith("valid")


@pytest.mark.parametrize("columns", WIDTHS)
def test_presets_fit(tmp_path: Path, columns: int) -> None:
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / f"{LONG}.toml").write_text("title = ")
    heading, *lines = printed(columns, presets.presets)
    assert heading.split()[0] == "NAME"
    assert any(line.startswith("a-preset-with") for line in lines)


@pytest.mark.parametrize("columns", WIDTHS)
def test_layers_fit(columns: int) -> None:
    layers = [
        LayerInfo(name=LONG, type="Sequential", depth=3, output_shape=[1, 10], params=650, trainable=650),
        LayerInfo(
            name="0", type=LONG, depth=4, output_shape=[1, 512, 7, 7], params=10**9, trainable=0, macs=9
        ),
    ]
    report = ModelSummary(layers=layers, params=10**9, trainable=650, macs=10**12, input_shape=[1, 64])
    lines = printed(columns, lambda: print_layers(report))
    assert {"LAYER", "PARAMS"} <= set(lines[0].split())
    assert "1,000,000,000" in lines[2]


@pytest.mark.parametrize("columns", WIDTHS)
def test_an_evaluation_fits(columns: int) -> None:
    classes = [f"{number}-{LONG}" for number in range(8)]
    report = EvaluationReport(
        checkpoint=f"/runs/{LONG}/checkpoints/step-00001380",
        step=1380,
        epoch=3,
        part="val",
        samples=1000,
        device="cpu",
        averaged=True,
        metrics={"val/loss": 0.5, f"val/{LONG}/{LONG}": 0.25},
        tables={"confusion": [[125.0] * 8] * 8},
        classes=classes,
        per_class=[
            ClassFigures(name=name, samples=1250, predicted=90, precision=None, recall=0.125, f1=0.5)
            for name in classes
        ],
        confusions=[
            Confusion(true=name, predicted=LONG, samples=12, share=0.1234) for name in classes for _ in "ab"
        ],
        calibration=Calibration(error=0.0123, bins=15, confidence=0.95, accuracy=0.9),
        worst=[WorstSample(index=3, place=f"/data/{LONG}.png", loss=None, label=LONG, predicted=LONG)],
    )
    text = "\n".join(printed(columns, lambda: print_evaluation(report)))
    assert "overconfident by 0.0500" in " ".join(text.split())
    assert "(10 of 16 pairs)" in " ".join(text.split())
    assert text.count("0.1250  0.5000") == 8
    assert "n/a" in text
    assert "0.2500" in text
    assert text.count(" 125") == 64 or "not shown" in text, "numbers are never shortened"
    assert ("not shown" in text) is (columns < 80)


@pytest.mark.parametrize("columns", WIDTHS)
def test_the_learning_rate_fits(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    curve = LearningRateCurve(
        steps_per_epoch=10,
        total_steps=400,
        steps=list(range(1, 41)),
        lrs=[[0.1 * number] * 40 for number in range(1, 12)],
        metric=f"val/{LONG}",
    )
    monkeypatch.setattr(lr_curve, "make_preset_report", lambda kind, name, preset: curve)
    lines = printed(columns, lambda: presets.show("digits-mlp", lr=True))
    assert ["STEP", "EPOCH"] in [line.split()[:2] for line in lines]
    assert ("some parameter groups are not shown" in " ".join(lines)) is (columns < 200)


@pytest.mark.parametrize("columns", WIDTHS)
def test_facts_are_wrapped_between_words(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    report = CheckReport(
        device="cpu",
        task="multiclass",
        input_shape=[3, 224, 224],
        output_shape=[10],
        batch_size=64,
        step_seconds=0.01,
        batch_seconds=2.0,
        classes=[ClassCount(name=LONG, samples=number) for number in range(30)],
        columns=[DataColumn(name=LONG, role="dropped", detail=LONG)],
        findings=[Finding(level="error", name="twice", evidence=LONG, reason=LONG, remedy=LONG)],
        train_samples=1437,
        val_samples=360,
        steps_per_epoch=23,
        params=17226,
        trainable=17226,
        loss=2.3,
        seconds={"loading data": 1.0, "building the model": 2.0, "dry run": 3.0},
        notes=["training data held in memory on cpu (0.4 MiB)"],
    )
    monkeypatch.setattr(check, "make_preset_report", lambda kind, name, preset: report)
    lines = printed(columns, lambda: check.check("digits-mlp"))
    text = " ".join(" ".join(lines).split())
    assert "1,437 samples for training" in text
    assert "3x224x224" in text
    info = DeviceInfo(
        device="cpu",
        name="CPU",
        torch="2.13",
        threads=2,
        cpu=LONG,
        cpu_count=16,
        memory_total=1,
        notes=[LONG],
    )
    printed(columns, lambda: print_facts(device.device_facts(info), device.INDENT))


ODD = "a\x1b[31mb"


def test_names_are_escaped_before_they_are_measured() -> None:
    """An escape takes more cells than its character, and 日 takes two."""
    report = EvaluationReport(
        checkpoint="c", step=1, epoch=1, part="val", samples=40, device="cpu", averaged=False, metrics={},
        tables={"confusion": [[20.0, 0.0], [6.0, 14.0]]}, classes=[ODD, "日本"],
    )  # fmt: skip
    lines = printed(80, lambda: print_evaluation(report))
    head = next(number for number, line in enumerate(lines) if line.startswith("confusion: "))
    assert lines[head + 1 : head + 4] == [
        r"            a\x1b[31mb  日本",
        r"a\x1b[31mb          20     0",
        f"日本{6:>18}    14",
    ]


def test_headings_are_escaped() -> None:
    rows = printed(
        60, lambda: print_table([Column("CITY"), Column(ODD, right=True)], [["日本", "1"], ["x", "20"]])
    )
    assert rows == [r"CITY  a\x1b[31mb", f"日本{1:>12}", f"x{20:>15}"]

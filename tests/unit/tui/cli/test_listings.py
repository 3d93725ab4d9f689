"""What the listing commands print, for people and for programs."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.protocol.info import DeviceInfo, GpuInfo, LayerInfo, ModelSummary
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.record import RunRecord
from torchconsole.tui.cli import device, presets, runs, summary
from torchconsole.tui.run_listing import format_age


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)


def make_run(runs_dir: Path, name: str, **facts: object) -> None:
    folder = RunFolder(runs_dir / name)
    folder.path.mkdir(parents=True)
    folder.write_record(RunRecord(name, str(folder.path), **facts))  # type: ignore[arg-type]


def test_presets_lists_titles_needs_data_and_paths(capsys: pytest.CaptureFixture[str]) -> None:
    presets.presets()
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["NAME", "TITLE", "GROUP", "DATA", "NEEDS", "PATH"]
    (line,) = [line for line in lines if line.startswith("csv-regression ")]
    for words in ("Your table, predict a number", "Predict a number", "missing", "your table (data.root)"):
        assert words in line
    assert line.endswith("presets/csv-regression.toml")


def test_a_broken_preset_is_listed_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "broken.toml").write_text("title = ")
    presets.presets(as_json=True)
    listed = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert "not valid TOML" in listed["broken"]["problem"]
    assert listed["broken"]["data"] == "unknown"
    assert listed["digits-mlp"]["problem"] == ""
    assert listed["digits-mlp"]["group"] == "Classify images"
    assert listed["digits-mlp"]["data"] == "here"


def test_show_prints_toml_that_repeats_the_preset(capsys: pytest.CaptureFixture[str]) -> None:
    presets.show("digits-mlp", ["optimizer.lr=0.5"])
    shown = tomllib.loads(capsys.readouterr().out)
    presets.show("digits-mlp", ["optimizer.lr=0.5"], as_json=True)
    as_json = json.loads(capsys.readouterr().out)
    assert shown["optimizer"]["lr"] == as_json["optimizer"]["lr"] == 0.5


def test_runs_puts_live_ones_first_and_names_what_scripts_need(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = {"metric": "val/loss", "value": 0.08123, "step": 900}
    make_run(
        tmp_path,
        "old",
        status="finished",
        created=1.0,
        step=1380,
        epoch=30,
        total_epochs=60,
        best=best,
        lr=0.01,
    )
    make_run(tmp_path, "new", status="failed", created=2.0)
    runs.runs(as_json=True, runs_dir=tmp_path)
    listed = json.loads(capsys.readouterr().out)
    assert [run["name"] for run in listed] == ["new", "old"]
    assert {"name", "preset", "status", "pid", "host", "step", "epoch", "lr", "best"} <= listed[0].keys()
    assert listed[1]["best"] == best

    runs.runs(runs_dir=tmp_path)
    heading, _, old = capsys.readouterr().out.splitlines()
    assert heading.split() == ["STATUS", "RUN", "PROGRESS", "STEP", "BEST", "AGE", "HOST", "PRESET", "LR"]
    assert old.split()[:7] == ["finished", "old", "30/60", "50%", "1,380", "val/loss", "0.0812"]


def test_no_runs_is_an_empty_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs.runs(as_json=True, runs_dir=tmp_path)
    assert json.loads(capsys.readouterr().out) == []


def test_an_empty_list_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs.runs()
    assert capsys.readouterr().out == "no runs yet; start one with `torchconsole train PRESET`\n"
    runs.runs(runs_dir=tmp_path)
    assert capsys.readouterr().out == f"no runs in {tmp_path}\n"


def test_large_numbers_have_separators_except_in_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path, "long", status="finished", step=81367, epoch=1200, total_epochs=100000)
    runs.runs(runs_dir=tmp_path)
    assert capsys.readouterr().out.splitlines()[1].split()[2:5] == ["1,200/100,000", "1%", "81,367"]
    runs.runs(as_json=True, runs_dir=tmp_path)
    assert json.loads(capsys.readouterr().out)[0]["step"] == 81367


def test_a_hostile_name_does_not_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path, "evil\x1b[2J", status="finished")
    runs.runs(runs_dir=tmp_path)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "evil\\x1b[2J" in out


def test_the_layer_table_ends_with_totals(capsys: pytest.CaptureFixture[str]) -> None:
    layers = [
        LayerInfo(
            name="net",
            type="Sequential",
            depth=0,
            output_shape=[1, 10],
            params=650,
            trainable=650,
            macs=640,
            activations=2048,
        ),
        LayerInfo(name="net.0", type="Linear", depth=1, params=650, trainable=650),
    ]
    summary.print_layers(
        ModelSummary(layers=layers, params=650, trainable=650, macs=None, input_shape=[1, 64])
    )
    heading, net, inner, _, totals = capsys.readouterr().out.splitlines()
    assert heading.split() == ["LAYER", "TYPE", "OUTPUT", "PARAMS", "TRAINABLE", "MACS", "MEMORY"]
    assert net.split() == ["net", "Sequential", "1x10", "650", "650", "640", "2", "kB"]
    assert inner.startswith("  0 ")
    assert inner.split() == ["0", "Linear", "?", "650", "650", "?", "?"]
    assert totals == (
        "parameters 650, trainable 650, MACs per sample unknown, activations per sample unknown"
    )


def test_a_depth_limits_the_layers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = [
        LayerInfo(name=name, type="Linear", depth=name.count("."), params=1, trainable=1)
        for name in ("net", "net.0", "net.0.weight")
    ]
    made = ModelSummary(layers=layers, params=1, trainable=1, input_shape=[1])
    monkeypatch.setattr(summary, "make_preset_report", lambda *_: made)
    assert summary.summary("digits-mlp", depth=2, as_json=True) == 0
    assert [layer["name"] for layer in json.loads(capsys.readouterr().out)["layers"]] == ["net", "net.0"]


def test_a_depth_without_a_level_is_refused() -> None:
    with pytest.raises(TorchconsoleError, match="--depth 0: the tree has one level or more"):
        summary.summary("digits-mlp", depth=0)


def test_the_device_report_names_gpus_and_what_is_degraded() -> None:
    info = DeviceInfo(
        device="cuda:0",
        name="H200",
        torch="2.13",
        threads=2,
        cpu="EPYC",
        cpu_count=16,
        memory_total=128 * 1024**3,
        gpus=[GpuInfo(index=0, name="H200", memory_total=140 * 1024**3)],
        notes=["the driver is old"],
    )
    facts = dict(device.device_facts(info))
    assert facts["device"] == "cuda:0 (H200)"
    assert facts["gpu 0"] == "H200, 140.0 GiB"
    assert facts["memory"] == "128.0 GiB"
    assert facts["cuda"] == "none, cuDNN none"
    assert facts["note"] == "the driver is old"


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0s"), (0, "0s"), (59.9, "59s"), (60, "1m"), (7200, "2h"), (3 * 86400, "3d")]
)
def test_an_age_has_one_unit(seconds: float, text: str) -> None:
    assert format_age(seconds) == text

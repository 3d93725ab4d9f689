"""Whether a name on the command line means a preset or a run, and that it is said if it could be both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.fake_checkpoints import fake_checkpoint
from tests.support.runs import make_folder
from torchconsole.engine.config.preset_files import find_file
from torchconsole.engine.config.script import Script, write_script
from torchconsole.engine.errors import RunError, TorchconsoleError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.tui.cli import summary as command
from torchconsole.tui.cli.named_runs import (
    find_checkpoint,
    find_preset_or_run,
    find_run,
    find_target,
    load_settings,
)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = make_folder(tmp_path / "runs")
    folder.preset_file.write_bytes(find_file("digits-mlp").read_bytes())
    return folder


def test_a_preset_takes_precedence_where_it_is_allowed(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert find_preset_or_run("digits-mlp", run.path.parent, "profile") is None
    (tmp_path / "empty").mkdir()
    assert find_preset_or_run("digits-mlp", tmp_path / "empty", "profile") is None
    found = find_preset_or_run(run.name, run.path.parent, "profile")
    assert found is not None
    assert found.run == run
    assert capsys.readouterr().err == ""


def test_a_command_on_runs_takes_the_newest_one_of_a_preset(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = fake_checkpoint(run, 20)
    (run.checkpoints / "best").symlink_to(checkpoint.name)
    runs_dir = run.path.parent
    assert find_run("digits-mlp", runs_dir) == run
    for name in ("digits-mlp", "digits-mlp@20", "digits-mlp/checkpoints/step-20"):
        assert find_target(name, runs_dir, "evaluate").run == run
    assert capsys.readouterr().err == (
        f"torchconsole: digits-mlp is a preset: using its run {run.name}\n" * 4
    )
    assert (
        find_run(run.name, runs_dir) == find_run(run.name[:-2], runs_dir) == find_run(None, runs_dir) == run
    )
    assert find_target(f"{run.name}@best", runs_dir, "evaluate").run == run
    assert capsys.readouterr().err == ""


def test_a_run_without_a_checkpoint_is_passed_over_where_one_is_needed(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = fake_checkpoint(run, 20)
    for link in ("best", "last"):
        (run.checkpoints / link).symlink_to(checkpoint.name)
    runs_dir, record = run.path.parent, replace(run.read_record(), status="stopped")
    run.write_record(record)
    failed = make_folder(runs_dir, status="failed", created=record.created + 60)
    assert find_run("digits-mlp", runs_dir) == failed
    capsys.readouterr()
    for name in ("digits-mlp", "digits-mlp@best"):
        assert find_target(name, runs_dir, "resume").run == run
    assert capsys.readouterr().err == 2 * (
        f"torchconsole: digits-mlp is a preset: using its run {run.name}; {failed.name} is newer, but has no "
        "checkpoint\n"
    )
    for link in ("best", "last"):
        (run.checkpoints / link).unlink()
    assert find_target("digits-mlp", runs_dir, "resume").run == failed


def test_a_run_that_is_called_like_a_preset_is_said(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_folder(run.path.parent, "iris-mlp")
    runs_dir, record = run.path.parent, other.read_record()
    record.name, record.folder = "digits-mlp", str(runs_dir / "digits-mlp")
    other.write_record(record)
    other.path.rename(record.folder)
    assert find_run("digits-mlp", runs_dir).name == "digits-mlp"
    assert capsys.readouterr().err == "torchconsole: digits-mlp is a preset and a run: using the run\n"
    assert find_preset_or_run("digits-mlp", runs_dir, "profile") is None
    assert capsys.readouterr().err == "torchconsole: digits-mlp is a preset and a run: using the preset\n"


def test_a_run_that_is_refused_is_not_reported_as_an_unknown_preset(run: RunFolder, tmp_path: Path) -> None:
    write_script(Script(file=str(tmp_path / "train.py"), folder=str(tmp_path)), run.preset_file)
    with pytest.raises(RunError) as raised:
        find_preset_or_run(run.name, run.path.parent, "profile")
    assert str(raised.value).startswith(f"{run.name}: torchconsole cannot profile a program of yours")
    with pytest.raises(TorchconsoleError, match="no preset named 'nobody'") as unknown:
        find_preset_or_run("nobody", run.path.parent, "profile")
    assert str(unknown.value).splitlines()[-1].startswith("no run is named 'nobody'")


def test_the_settings_of_a_run_are_in_its_folder(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, folder = load_settings(run.name, ["model.hidden=[7]"], run.path.parent, "summarize")
    assert folder == run
    assert found.model.arguments["hidden"] == [7]
    asked: list[object] = []
    monkeypatch.setattr(command, "make_preset_report", lambda kind, name, preset: asked.append(preset))
    monkeypatch.setattr(command, "print_layers", lambda report: None)
    assert command.summary(run.name, overrides=["model.hidden=[7]"], runs_dir=run.path.parent) == 0
    assert asked == [found]
    outside = fake_checkpoint(run, 20).rename(tmp_path / "step-00000020")
    with pytest.raises(RunError, match="is not in a run's folder, so its preset is unknown"):
        load_settings(str(outside), None, None, "summarize")
    assert find_checkpoint(str(outside), None, "evaluate", "best", is_trusted=False) == outside

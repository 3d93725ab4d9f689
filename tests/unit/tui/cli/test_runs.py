"""Runs are filtered, sorted and deleted."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import make_folder, running, wait_until
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.registry import list_runs, register
from torchconsole.tui.cli import runs as runs_module
from torchconsole.tui.cli.runs import delete, runs


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def best(value: float, metric: str = "val/loss", mode: str = "min") -> dict[str, Any]:
    return {
        "best": {"metric": metric, "value": value, "step": 1},
        "details": {"early_stopping": {"mode": mode}},
    }


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """Runs of several kinds, the oldest first."""
    there = tmp_path / "runs"
    make_folder(there, "a", created=1.0, status="finished", host="box", total_steps=10, step=10, **best(0.3))
    make_folder(there, "b", created=2.0, status="failed", host="box", total_epochs=10, epoch=5)
    make_folder(there, "c", created=3.0, status="stopped", total_steps=100, step=10, **best(0.1))
    make_folder(there, "d", created=4.0, status="finished", **best(0.8, "val/accuracy", "max"))
    make_folder(there, "e", created=5.0, status="finished", **best(0.9, "val/accuracy", "max"))
    make_folder(there, "f", created=0.5, **running(host="elsewhere", boot_id="another", title="Far away"))
    return there


def listed(capsys: pytest.CaptureFixture[str]) -> str:
    return "".join(run["preset"] for run in json.loads(capsys.readouterr().out))


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("age", "fedcba"),
        ("name", "abcdef"),
        ("status", "bedafc"),
        ("progress", "abcfed"),
        ("best", "edcafb"),
    ],
)
def test_runs_are_sorted(
    several: Path, order: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runs(sort=order, as_json=True, runs_dir=several)
    assert listed(capsys) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [([], "fedcba"), (["finished"], "eda"), (["BOX", "finished"], "a"), (["far away"], "f"), (["x!"], "")],
)
def test_runs_are_filtered(
    several: Path, words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runs(words, as_json=True, runs_dir=several)
    assert listed(capsys) == expected


def test_a_filter_without_matches_says_so(several: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs(["nothing"], runs_dir=several)
    assert capsys.readouterr().out == "none of the 6 runs matches nothing\n"


def test_an_unknown_order_names_the_nearest_one() -> None:
    with pytest.raises(TorchconsoleError, match="unknown order 'progres', did you mean 'progress'"):
        runs(sort="progres")


def test_a_run_of_another_machine_is_listed_with_its_host(
    several: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs(["elsewhere"], runs_dir=several)
    (line,) = capsys.readouterr().out.splitlines()[1:]
    assert line.startswith("running")
    assert " elsewhere " in line


def test_a_run_is_deleted_with_its_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder(tmp_path / "runs", status="finished")
    kept = make_folder(tmp_path / "runs", "other", status="finished")
    for run in (folder, kept):
        register(run)
    assert delete([folder.name], yes=True) == 0
    assert capsys.readouterr().out == f"deleted {folder.path}\n"
    assert [run.name for run in list_runs()] == [kept.name]
    assert not folder.path.exists()


@pytest.mark.parametrize("answer", ["n", "", "whatever"])
def test_a_run_is_deleted_only_on_a_yes(tmp_path: Path, answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder(tmp_path / "runs", status="finished")
    monkeypatch.setattr(runs_module, "has_terminal", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: answer)
    assert delete([str(folder.path)]) == 0
    assert folder.path.exists()
    monkeypatch.setattr("builtins.input", lambda question: "y")
    delete([str(folder.path)])
    assert not folder.path.exists()


def test_without_a_terminal_yes_must_be_passed(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "runs", status="finished")
    with pytest.raises(TorchconsoleError, match="--yes"):
        delete([str(folder.path)])
    assert folder.path.exists()


def test_a_run_that_cannot_be_deleted_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A link to a run's folder is refused, because removing it would not remove the run."""
    kept, gone = (make_folder(tmp_path, name, status="finished") for name in ("kept", "gone"))
    link = tmp_path / "link"
    link.symlink_to(kept.path)
    assert delete([str(link), str(gone.path)], yes=True) == 1
    assert f"{link} is a link: delete the run itself with" in capsys.readouterr().err
    assert (kept.path.exists(), gone.path.exists()) == (True, False)


def test_a_live_run_is_never_deleted(
    standin: tuple[RunFolder, subprocess.Popen[bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, process = standin
    assert delete([str(folder.path)], yes=True) == 1
    wait_until(lambda: folder.load_record().status == "running")
    assert delete([str(folder.path)], yes=True) == 1
    assert "is running: stop it before you delete it" in capsys.readouterr().err
    folder.write_record(replace(folder.load_record(), status="finished"))
    assert delete([str(folder.path)], yes=True) == 1, "its worker still holds the lock"
    assert process.poll() is None
    assert folder.path.exists()


def test_a_live_run_of_another_machine_is_not_deleted(
    several: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert delete(["f-"], yes=True, runs_dir=several) == 1
    assert "is running on elsewhere: stop it before you delete it" in capsys.readouterr().err


def test_a_run_without_all_its_files_is_listed_with_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder(tmp_path, status="finished", problem="run.json could not be written: disk full")
    runs(runs_dir=tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("finished")
    assert lines[2] == f"{folder.name}: finished, but run.json could not be written: disk full"


def test_what_is_not_a_run_is_not_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder(tmp_path / "runs", status="finished")
    folder.run_file.write_text("{}")
    assert delete([str(folder.path)], yes=True) == 1
    assert f"If you do not need the folder: rm -r {folder.path}" in capsys.readouterr().err
    assert folder.preset_file.exists()


def test_what_is_not_torchconsoles_stays_unless_all_is_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(runs_module, "has_terminal", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "y")
    for everything in (False, True):
        folder = make_folder(tmp_path / "runs", status="finished")
        (folder.path / "thesis.tex").write_text("finished")
        (folder.path / "notes").mkdir()
        assert delete([folder.name], everything=everything, runs_dir=tmp_path / "runs") == 0
        assert folder.path.exists() is not everything
    some, all_of_it = asked
    assert "What is not torchconsole's stays: notes/, thesis.tex" in some
    assert "and also notes/, thesis.tex?" in all_of_it
    assert "left in place: notes/, thesis.tex\n" in capsys.readouterr().out


def test_runs_in_one_deleted_folder_share_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [
        make_folder(tmp_path / place, name) for place, name in (("old", "a"), ("old", "b"), ("other", "c"))
    ]
    for folder in folders:
        register(folder)
    for place in ("old", "other"):
        shutil.rmtree(tmp_path / place)
    assert runs(runs_dir=None) == 0
    printed = " ".join(capsys.readouterr().out.split())
    a, b, c = (folder.name for folder in folders)
    assert f"unreachable: 2 runs: {tmp_path}/old: No such file or directory; if deleted: " in printed
    assert f"torchconsole delete {a} {b} " in printed
    assert f"unreachable: {c}: {tmp_path}/other: " in printed

"""Runs are found from any folder, by the names that users type."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.runs import make_folder, running
from torchconsole.engine.errors import RunError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.registry import default_runs_dir, find_run, list_runs, register


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def names(runs_dir: Path | None = None) -> list[str]:
    return [record.name for record in list_runs(runs_dir)]


def test_registered_runs_are_found_live_first_then_newest(tmp_path: Path) -> None:
    folders = [
        make_folder(tmp_path / "a", "old", status="finished", created=1.0),
        make_folder(tmp_path / "b", "live", host="elsewhere", status="running", created=2.0),
        make_folder(tmp_path / "c", "new", status="failed", created=3.0),
    ]
    for folder in folders:
        register(folder)
        register(folder)
    assert names() == [folders[1].name, folders[2].name, folders[0].name]
    assert names(tmp_path / "a") == [folders[0].name]
    assert find_run(None).name == folders[1].name
    assert find_run(None, tmp_path / "c").name == folders[2].name


def test_a_deleted_run_is_not_listed(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, status="finished")
    register(folder)
    shutil.rmtree(folder.path)
    assert names() == []
    with pytest.raises(RunError, match="torchconsole train"):
        find_run(None)
    register(gone := make_folder(tmp_path / "disk" / "runs", status="finished"))
    entries = tmp_path / "state" / "torchconsole" / "runs"
    assert len(list(entries.iterdir())) == 1, "the entry of the deleted run is removed"
    (tmp_path / "disk").rename(tmp_path / "unmounted")
    (row,) = list_runs()
    assert (row.name, row.status) == (gone.name, "unreachable")
    assert f"torchconsole delete {gone.name}" in row.reason
    (tmp_path / "unmounted").rename(tmp_path / "disk")
    assert names() == [gone.name]


def test_a_run_with_two_paths_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of runs was moved to another disk with a link in its place, and an entry is not ours."""
    monkeypatch.setenv("TORCHCONSOLE_RUNS", str(tmp_path / "runs"))
    register(folder := make_folder(tmp_path / "runs", status="finished"))
    (tmp_path / "runs").rename(tmp_path / "moved")
    (tmp_path / "runs").symlink_to(tmp_path / "moved")
    forged = {"folder": f"{folder.path}/../{folder.name}"}
    (tmp_path / "state" / "torchconsole" / "runs" / "1.json").write_text(json.dumps(forged))
    assert names() == [folder.name]
    assert find_run(folder.name).path == tmp_path / "moved" / folder.name


def test_an_unregistered_run_is_found_only_through_its_folder(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "runs", status="finished")
    assert names() == []
    assert find_run(folder.name, tmp_path / "runs") == folder
    assert find_run(str(folder.path)) == folder


def test_a_run_of_another_machine_in_the_default_folder_is_listed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its registry is on that machine; a run that is also in this one is listed once."""
    monkeypatch.setenv("TORCHCONSOLE_RUNS", str(tmp_path / "shared"))
    theirs = make_folder(tmp_path / "shared", **running(host="elsewhere", boot_id="x"))
    register(ours := make_folder(tmp_path / "shared", status="finished"))
    assert names() == [theirs.name, ours.name]
    assert find_run(theirs.name) == theirs


def test_a_damaged_record_does_not_hide_the_others(tmp_path: Path) -> None:
    make_folder(tmp_path / "runs", "good", status="finished")
    make_folder(tmp_path / "runs", "bad").run_file.write_text("{")
    records = {record.name.partition("-")[0]: record for record in list_runs(tmp_path / "runs")}
    assert records["good"].status == "finished"
    assert records["bad"].status == "unreadable"
    assert "run.json" in records["bad"].reason


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("created", "yesterday"),
        ("status", "asleep"),
        ("step", None),
        ("socket", None),
        ("best.value", {"metric": "val/loss", "value": None, "step": 3}),
        ("best", [1]),
    ],
)
def test_a_record_with_a_wrong_type_is_listed_as_unreadable(
    tmp_path: Path, field: str, value: object
) -> None:
    folder = make_folder(tmp_path, **running())
    record = json.loads(folder.run_file.read_text())
    folder.run_file.write_text(json.dumps({**record, field.partition(".")[0]: value}))
    (found,) = list_runs(tmp_path)
    assert found.status == "unreadable"
    assert f"{field} is" in found.reason


def test_an_exact_name_is_preferred_to_a_prefix(tmp_path: Path) -> None:
    first = make_folder(tmp_path, "digits", status="finished")
    second = make_folder(tmp_path, "digits", status="finished")
    assert find_run(first.name, tmp_path) == first
    assert second.name.startswith(first.name) or first.name[:-1] == second.name[:-1]
    with pytest.raises(RunError) as error:
        find_run("digit", tmp_path)
    assert first.name in str(error.value)
    assert second.name in str(error.value)


def test_an_unambiguous_prefix_is_enough(tmp_path: Path) -> None:
    make_folder(tmp_path, "digits", status="finished")
    wine = make_folder(tmp_path, "wine", status="finished")
    assert find_run("wi", tmp_path) == wine
    with pytest.raises(RunError, match="no run is named 'mnist'"):
        find_run("mnist", tmp_path)


def test_an_unknown_name_is_answered_with_similar_ones(tmp_path: Path) -> None:
    folders = [make_folder(tmp_path, f"net-{number}", status="finished") for number in range(9)]
    with pytest.raises(RunError) as error:
        find_run(folders[4].name.replace("net-4", "nett-4"), tmp_path)
    assert str(error.value).endswith(f"did you mean {folders[4].name!r}?")
    with pytest.raises(RunError) as error:
        find_run("zzz", tmp_path)
    assert str(error.value).count("net-") == 3
    assert str(error.value).endswith(" and 6 more")


def test_runs_with_the_same_name_are_listed_by_folder(tmp_path: Path) -> None:
    for place in ("a", "b"):
        folder = make_folder(tmp_path / place, status="finished")
        folder.path.rename(tmp_path / place / "same")
        register(type(folder)(tmp_path / place / "same"))
    with pytest.raises(RunError) as error:
        find_run("same")
    assert str(tmp_path / "a" / "same") in str(error.value)


def test_a_lost_run_is_listed_as_lost(tmp_path: Path) -> None:
    make_folder(tmp_path, **running())
    assert list_runs(tmp_path)[0].status == "lost"


def test_a_lost_run_has_the_step_of_its_last_complete_line(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, **running(seq=7, step=540, epoch=5, lr=0.1))
    assert list_runs(tmp_path)[0].step == 540
    older = '{"seq": 7, "step": 540, "epoch": 5, "kind": "train", "lr": 0.1}\n'
    newer = '{"seq": 9, "step": 675, "epoch": 6, "kind": "train", "lr": 0.05}\n'
    folder.metrics_file.write_text(older * 1000 + newer + '{"seq": 10, "step": 68')
    (record,) = list_runs(tmp_path)
    assert (record.step, record.epoch, record.lr) == (675, 6, 0.05)
    folder.metrics_file.write_text(older.replace("7,", "6,").replace("540", "530"))
    assert list_runs(tmp_path)[0].step == 540


def test_the_runs_folder_is_the_option_else_the_variable_else_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHCONSOLE_RUNS", raising=False)
    assert default_runs_dir(None) == Path("runs")
    monkeypatch.setenv("TORCHCONSOLE_RUNS", "/big/disk")
    assert default_runs_dir(None) == Path("/big/disk")
    assert default_runs_dir(Path("here")) == Path("here")


def test_a_prefix_selects_the_only_live_run_if_a_live_one_is_needed(tmp_path: Path) -> None:
    ended = make_folder(tmp_path, "digits", status="finished")
    live = make_folder(tmp_path, "digits", host="elsewhere", status="running")
    assert find_run("digit", tmp_path, live=True) == live
    assert find_run(ended.name, tmp_path, live=True) == ended
    with pytest.raises(RunError, match="is ambiguous"):
        find_run("digit", tmp_path)


def test_a_presets_name_means_its_newest_run(tmp_path: Path) -> None:
    live = make_folder(tmp_path, "digits", host="elsewhere", status="running", created=1.0)
    newest = make_folder(tmp_path, "digits", status="finished", created=2.0)
    make_folder(tmp_path, "digits-cnn", status="finished", created=3.0)
    assert find_run("digits", tmp_path) == newest
    assert find_run("digits", tmp_path, live=True) == newest
    assert find_run("digits", tmp_path, live=True, by_preset="newest live") == live


def test_a_presets_name_without_a_live_run_means_its_newest_one(tmp_path: Path) -> None:
    make_folder(tmp_path, "digits", status="finished", created=1.0)
    newest = make_folder(tmp_path, "digits", status="failed", created=2.0)
    assert find_run("digits", tmp_path, live=True, by_preset="newest live") == newest


def test_the_name_of_a_run_is_preferred_to_that_of_a_preset(tmp_path: Path) -> None:
    make_folder(tmp_path, "other", preset="named", created=2.0)
    named = make_folder(tmp_path, "digits", created=1.0)
    exact = RunFolder(named.path.rename(tmp_path / "named"))
    assert find_run("named", tmp_path) == exact


def test_a_presets_name_can_be_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "digits", status="finished")
    with pytest.raises(RunError, match=f"'digits' is the name of a preset.*{folder.name}"):
        find_run("digits", tmp_path, by_preset="refuse")


def test_without_a_name_no_ended_run_is_selected_if_a_live_one_is_needed(tmp_path: Path) -> None:
    ended = make_folder(tmp_path, status="finished")
    with pytest.raises(RunError, match=f"no run is live.*{ended.name}"):
        find_run(None, tmp_path, live=True)
    assert find_run(None, tmp_path) == ended

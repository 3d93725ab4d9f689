"""Whatever is in a runs folder or the registry, all other runs are listed."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.drawn_runs import draw_runs
from tests.support.hostile import HOSTILE, as_stranger, replace_by, wrong_variants
from tests.support.runs import make_folder, running
from torchconsole.engine.errors import RunError, UnreachableError
from torchconsole.engine.run import patience, registry, rows
from torchconsole.engine.run.checkpoints import describe_checkpoints
from torchconsole.engine.run.deletion import delete_run, question
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.run.registry import find_run, list_runs, register
from torchconsole.tui.run_filter import matching
from torchconsole.tui.run_listing import HEADINGS, ORDERS, ordered, run_cells


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    entries = tmp_path / "state" / "torchconsole" / "runs"
    entries.mkdir(parents=True)
    return entries


@pytest.fixture
def good(tmp_path: Path) -> RunFolder:
    return make_folder(tmp_path / "runs", "good", status="finished")


def listed(runs_dir: Path | None = None) -> dict[str, RunRecord]:
    """List the runs as the commands and the menu do, and draw them."""
    records = list_runs(runs_dir)
    for order in ORDERS:
        assert len(draw_runs(ordered(matching(records, []), order))) == len(records)
    for record in records:
        assert len(run_cells(record, 1e9)) == len(HEADINGS)
        assert all(cell.isprintable() for cell in run_cells(record, 1e9))
    json.dumps([record.to_json() for record in records], allow_nan=False)
    return {record.name: record for record in records}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_record_is_one_row(name: str, good: RunFolder) -> None:
    bad = make_folder(good.path.parent, "bad")
    replace_by(name, bad.run_file)
    found = listed(good.path.parent)
    assert found[good.name].status == "finished"
    assert found[bad.name].status == "unreadable"
    assert found[bad.name].reason.startswith("run.json: ") or "not a run" in found[bad.name].reason
    with pytest.raises(RunError):
        find_run(bad.name, good.path.parent).read_record()


def test_no_value_in_a_record_stops_the_list(good: RunFolder) -> None:
    """Each key of run.json is missing or has a wrong value, in a folder of its own."""
    kept = json.loads(make_folder(good.path.parent, "bad", **running()).run_file.read_bytes())
    kept["memory_kills"] = {"/sys/fs/cgroup/\0/memory.events": 1, "/sys/fs/cgroup/\ud800/memory.events": 1}
    for number, (_, content) in enumerate(wrong_variants(kept)):
        folder = good.path.parent / f"bad-{number}"
        folder.mkdir()
        (folder / "run.json").write_bytes(content)
    assert listed(good.path.parent)[good.name].status == "finished"


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("file", ["metrics.jsonl", "worker.lock"])
def test_a_hostile_file_in_a_lost_run_is_one_row(name: str, file: str, good: RunFolder) -> None:
    bad = make_folder(good.path.parent, "bad", **running(boot_id="before", step=7))
    replace_by(name, bad.path / file)
    found = listed(good.path.parent)
    assert found[good.name].status == "finished"
    assert found[bad.name].status in ("interrupted", "unreadable")


@pytest.mark.parametrize(
    "line",
    [
        b'{"seq":"x"}',
        b'{"seq":9}',
        b'{"seq":9,"step":"x","epoch":1}',
        b'{"seq":NaN,"step":1,"epoch":1}',
        b"7",
    ],
)
def test_a_last_line_of_wrong_types_is_skipped(line: bytes, good: RunFolder) -> None:
    bad = make_folder(good.path.parent, "bad", **running(step=7))
    bad.metrics_file.write_bytes(b'{"seq": 5, "step": 8, "epoch": 2, "kind": "train"}\n' + line + b"\n")
    found = listed(good.path.parent)
    assert (found[bad.name].status, found[bad.name].step) == ("lost", 8)


def test_strange_folders_are_at_most_a_row(good: RunFolder) -> None:
    place = good.path.parent
    (place / "loop").symlink_to("loop")
    (place / "nowhere").symlink_to("absent")
    (place / "notes").mkdir()
    (place / "file").touch()
    make_folder(place, "x").path.rename(place / "esc\x1b[31m\n")
    make_folder(place, "y").path.rename(place / "bytes\udcff")
    found = listed(place)
    assert found.keys() == {good.name, "loop", "esc\x1b[31m\n", "bytes\udcff"}
    assert found["loop"].status == "unreadable"
    assert find_run("bytes\udcff", place).read_record().status == "starting"


def test_a_loop_of_links_is_one_error_wherever_it_is(good: RunFolder) -> None:
    (good.checkpoints / "best").symlink_to("best")
    (good.checkpoints / "step-00000001").symlink_to("step-00000001")
    assert describe_checkpoints(good) == []
    loop = RunFolder(good.path.parent / "loop")
    loop.path.symlink_to("loop")
    assert describe_checkpoints(loop) == []
    for use in (question, delete_run, RunFolder.read_record):
        with pytest.raises(RunError):
            use(loop)


def test_a_closed_folder_is_one_row(good: RunFolder) -> None:
    closed, shut = (make_folder(good.path.parent, name) for name in ("closed", "shut"))
    closed.path.chmod(0)
    shut.run_file.chmod(0)
    for parent in good.path.parents:
        if parent.stat().st_mode & 0o005 != 0o005:
            parent.chmod(0o755)
    with as_stranger():
        found = listed(good.path.parent)
        assert (found[good.name].status, found[closed.name].status) == ("finished", "unreadable")
        assert found[closed.name].reason == "run.json: cannot be read: Permission denied"
        assert found[shut.name].status == "unreadable"
        with pytest.raises(RunError, match="Permission denied"):
            find_run(str(closed.path)).read_record()
    closed.path.chmod(0o755)


def test_a_registered_run_in_a_closed_folder_is_one_row(tmp_path: Path, good: RunFolder) -> None:
    closed = make_folder(tmp_path / "closed", status="finished")
    for folder in (good, closed):
        register(folder)
    for parent in good.path.parents:
        if parent.stat().st_mode & 0o005 != 0o005:
            parent.chmod(0o755)
    closed.path.parent.chmod(0)
    with as_stranger():
        found = listed()
    closed.path.parent.chmod(0o755)
    assert found[good.name].status == "finished"
    assert (found[closed.name].status, found[closed.name].reason) == ("unreadable", "Permission denied")


ENTRIES = [
    '{"folder": 7}',
    '{"folder": "relative"}',
    '{"folder": "/a\\u0000b"}',
    '{"folder": "/\\ud800"}',
    "{}",
]


@pytest.mark.parametrize("name", [*HOSTILE, *ENTRIES])
def test_a_damaged_registry_entry_is_one_row(name: str, good: RunFolder, own_registry: Path) -> None:
    register(good)
    entry = own_registry / "0123456789abcdef.json"
    if name in HOSTILE:
        replace_by(name, entry)
    else:
        entry.write_text(name)
    found = listed()
    assert found[good.name].status == "finished"
    assert found[entry.name].status == "unreadable"
    assert found[entry.name].reason.endswith(f"remove it: rm {entry}")


def test_a_mount_that_is_away_keeps_its_entries(tmp_path: Path, own_registry: Path) -> None:
    """The runs folder is the mount itself: without it there is an empty folder of the same name."""
    folder = make_folder(tmp_path / "mount", status="finished")
    register(folder)
    (tmp_path / "mount").rename(tmp_path / "disk")
    (tmp_path / "mount").mkdir()
    assert listed()[folder.name].status == "unreachable"
    with pytest.raises(UnreachableError, match="nothing is mounted at"):
        find_run(folder.name)
    (tmp_path / "mount").rmdir()
    assert listed()[folder.name].status == "unreachable"
    (tmp_path / "disk").rename(tmp_path / "mount")
    assert listed()[folder.name].status == "finished"
    shutil.rmtree(folder.path)
    assert listed() == {}
    assert list(own_registry.iterdir()) == []


def test_a_run_that_will_not_come_back_can_be_removed_from_the_list(tmp_path: Path) -> None:
    register(folder := make_folder(tmp_path / "project" / "runs", status="finished"))
    (tmp_path / "project").rename(tmp_path / "trash")
    assert "No such file" in listed()[folder.name].reason
    absent = find_run(folder.name, by_preset="refuse")
    assert question(absent).startswith(f"{folder.path} is not there.")
    assert str(delete_run(absent)) == f"removed {folder.path} from your runs"
    assert listed() == {}
    assert (tmp_path / "trash" / "runs" / folder.name / "run.json").exists()


def test_entries_of_a_folder_that_was_made_again_go_with_the_next_run(
    tmp_path: Path, own_registry: Path
) -> None:
    register(make_folder(tmp_path / "runs", "old", status="finished"))
    (tmp_path / "runs").rename(tmp_path / "trash")
    register(new := make_folder(tmp_path / "runs", "new", status="finished"))
    assert listed().keys() == {new.name}
    assert len(list(own_registry.iterdir())) == 1


@pytest.fixture
def hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Reading a run named `hanging` waits for the event."""
    answer = threading.Event()

    def read(folder: RunFolder) -> RunRecord:
        if folder.name.startswith("hanging"):
            answer.wait()
        return folder.read_record()

    monkeypatch.setattr(registry, "read_row", read)
    monkeypatch.setattr(rows, "read_row", read)
    monkeypatch.setattr(patience, "SECONDS", 0.1)
    yield answer
    answer.set()


def test_a_disk_that_hangs_does_not_stop_the_list(
    tmp_path: Path, good: RunFolder, hang: threading.Event
) -> None:
    for folder in (good, stuck := make_folder(tmp_path / "nfs", "hanging", status="finished")):
        register(folder)
    for _ in range(2):
        found = listed()
        assert (found[good.name].status, found[stuck.name].status) == ("finished", "unreachable")
        assert found[stuck.name].reason.endswith("the disk does not answer")
    waiting = [thread for thread in threading.enumerate() if str(stuck.path.parent) in thread.name]
    assert len(waiting) == 1, "no second thread waits for it"
    hang.set()
    waiting[0].join()
    assert listed()[stuck.name].status == "finished"

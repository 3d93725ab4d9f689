"""A deletion removes what torchconsole wrote and nothing else; an interrupted one leaves a listed run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.deleting_process import FOREIGN, make_run
from tests.support.runs import make_folder, running, start_standin, wait_until
from torchconsole.engine.client import launcher
from torchconsole.engine.client.launcher import resume_run
from torchconsole.engine.errors import RunError
from torchconsole.engine.run import deletion
from torchconsole.engine.run.deletion import delete_run, question
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import WorkerLock
from torchconsole.engine.run.names import DELETING, LINKS, RUN_FILES
from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.run.registry import find_run, list_runs, register


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """An ended run with files that are not ours."""
    return make_run(tmp_path / "runs" / "run")


def files_below(path: Path) -> list[str]:
    return sorted(str(found.relative_to(path)) for found in path.rglob("*") if not found.is_dir())


def test_what_we_did_not_write_stays_in_place(run: RunFolder) -> None:
    done = delete_run(run)
    assert list(done.left) == ["checkpoints/step-00000002/figure.png", "notes/", "thesis.tex"]
    assert files_below(run.path) == sorted(FOREIGN)
    assert str(done).startswith(f"deleted the run in {run.path}; left in place: checkpoints/step-0")
    assert [path.name for path in run.path.parent.iterdir()] == [run.name]
    assert list_runs() == list_runs(run.path.parent) == []
    with pytest.raises(RunError, match="it has no run"):
        delete_run(run)


def test_everything_is_deleted_on_request(run: RunFolder) -> None:
    done = delete_run(run, everything=True)
    assert str(done) == f"deleted {run.path}"
    assert list(run.path.parent.iterdir()) == []
    assert list((run.path.parent.parent / "state").rglob("*.json")) == []


def test_every_name_that_we_write_is_removed(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, status="failed")
    for name in RUN_FILES:
        (folder.path / name).touch()
        (folder.path / f".{name}.4194304.tmp").touch()
    for link in LINKS:
        (folder.checkpoints / link).symlink_to("step-00000007")
        (folder.checkpoints / f".{link}.new").symlink_to("step-00000007")
    for prefix in ("", ".writing-", ".replaced-", ".removed-"):
        (folder.checkpoints / f"{prefix}step-00000007").mkdir()
    assert delete_run(folder).left == []
    assert list(tmp_path.glob("digits*")) == []


@pytest.mark.parametrize("name", ["run.json.bak", "metrics.csv", "worker.log.1", "step-7", ".run.json.swp"])
def test_names_that_resemble_ours_are_not_ours(tmp_path: Path, name: str) -> None:
    folder = make_folder(tmp_path, status="failed")
    (folder.path / name).touch()
    assert delete_run(folder).left == [name]


def test_a_folder_that_has_the_name_of_a_file_of_ours_stays(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, status="failed")
    (folder.path / "worker.log").mkdir()
    (folder.path / "worker.log" / "mine").touch()
    assert delete_run(folder).left == ["worker.log/"]


@pytest.mark.parametrize("kind", ["folder", "fifo", "link"])
def test_a_lock_that_is_no_file_is_no_obstacle(tmp_path: Path, kind: str) -> None:
    folder = make_folder(tmp_path / "runs", status="failed")
    if kind == "folder":
        folder.lock_file.mkdir()
    elif kind == "fifo":
        os.mkfifo(folder.lock_file)
    else:
        folder.lock_file.symlink_to(tmp_path / "mine")
    assert delete_run(folder).left == (["worker.lock/"] if kind == "folder" else [])


def test_links_are_removed_and_never_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "step-00000001").mkdir(parents=True)
    (outside / "step-00000001" / "state.pt").write_text("mine")
    folder = make_folder(tmp_path / "runs", status="failed")
    (folder.checkpoints / "step-00000001").symlink_to(outside / "step-00000001")
    folder.metrics_file.symlink_to(outside / "step-00000001" / "state.pt")
    (folder.path / "data").symlink_to(outside)
    assert delete_run(folder, everything=True).left == []
    folder = make_folder(tmp_path / "runs", status="failed")
    folder.checkpoints.rmdir()
    folder.checkpoints.symlink_to(outside)
    assert f"{outside}/ (checkpoints is a link to it)" in question(folder)
    delete_run(folder)
    assert not folder.path.exists()
    assert files_below(outside) == ["step-00000001/state.pt"]


@pytest.mark.parametrize(
    "content", ["{}", "[]", "", "{", '{"name": "x", "folder": "/x"}', '{"name": 3}', "\0" * 100]
)
def test_a_folder_without_a_valid_record_of_ours_is_not_deleted(run: RunFolder, content: str) -> None:
    before = files_below(run.path)
    run.run_file.write_text(content)
    for everything in (False, True):
        with pytest.raises(RunError, match="not deleted"):
            delete_run(run, everything=everything)
    assert files_below(run.path) == before


def test_a_record_alone_makes_no_run(run: RunFolder, tmp_path: Path) -> None:
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "thesis.tex").touch()
    shutil.copy(run.run_file, thesis)
    with pytest.raises(RunError, match="not the folder of a run in spite of its"):
        delete_run(RunFolder(thesis))
    assert files_below(thesis) == ["run.json", "thesis.tex"]


@pytest.mark.parametrize("name", [".", "..", "{run}", "{run}/checkpoints", "~", "/"])
def test_a_folder_that_somebody_is_in_is_not_deleted(
    run: RunFolder, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(run.path))
    monkeypatch.chdir(run.checkpoints)
    path = Path(name.format(run=run.path)).expanduser()
    with pytest.raises(RunError, match=r"leave it before you delete it|no run\.json"):
        delete_run(RunFolder(path.absolute()), everything=True)
    assert run.run_file.exists()


def test_the_home_folder_and_a_folder_of_runs_are_not_deleted(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(run.path / "inner")
    with pytest.raises(RunError, match="holds other runs: inner"):
        delete_run(run, everything=True)
    shutil.rmtree(run.path / "inner")
    monkeypatch.setenv("HOME", str(run.path / "notes"))
    with pytest.raises(RunError, match="your home folder is in it"):
        delete_run(run, everything=True)


def test_a_checkpoint_is_not_deleted(run: RunFolder) -> None:
    checkpoint = run.checkpoints / "step-00000002"
    shutil.copy(run.run_file, checkpoint)
    with pytest.raises(RunError, match="is a checkpoint"):
        delete_run(RunFolder(checkpoint))


def test_a_mounted_file_system_is_not_deleted(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mountinfo"
    place = str(run.path / "Läufe und notes").replace(" ", "\\040")
    table.write_text(f"36 35 98:0 / {place} rw - ext4 /dev/sda1 rw\n", encoding="utf-8")
    monkeypatch.setattr(deletion, "MOUNTS", table)
    with pytest.raises(RunError, match=r"something is mounted at .*/Läufe und notes; unmount it first"):
        delete_run(run, everything=True)


def test_a_folder_of_another_user_is_not_deleted(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    with pytest.raises(RunError, match="because it belongs to"):
        delete_run(run)
    assert run.run_file.exists()


def test_a_folder_that_is_write_protected_is_not_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may remove everything, so a test as root acts as somebody else."""
    somebody = os.geteuid() or 4_000_000
    with tempfile.TemporaryDirectory(prefix="tc-", dir="/tmp") as place:
        os.chown(place, somebody, -1)
        monkeypatch.setenv("XDG_STATE_HOME", f"{place}/state")
        before = os.geteuid()
        os.seteuid(somebody)
        try:
            run = make_run(Path(place, "runs", "run"))
            closed = run.checkpoints / "step-00000002"
            closed.chmod(0o500)
            with pytest.raises(RunError, match="may not remove files from checkpoints/step-00000002"):
                delete_run(run)
            assert run.run_file.exists()
            closed.chmod(0o700)
            delete_run(run)
            assert not run.run_file.exists()
        finally:
            os.seteuid(before)


def test_what_cannot_be_removed_leaves_a_run_that_can_be_deleted_again(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", fail)
        with pytest.raises(RunError, match="error; it is partly deleted, and `torchconsole delete run`"):
            delete_run(run)
    delete_run(find_run("run", by_preset="refuse"))
    assert list_runs() == []


@pytest.mark.parametrize("option", [(), ("--all",)])
def test_killed_anywhere_it_leaves_a_listed_run_or_nothing(tmp_path: Path, option: tuple[str, ...]) -> None:
    runs_dir = tmp_path / "runs"
    command = [sys.executable, "-m", "tests.support.deleting_process", str(runs_dir), *option]
    killed = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert killed > 15
    listed = {record.name: record for record in list_runs()}
    assert listed.keys() == {record.name for record in list_runs(runs_dir)}
    for number in range(1, killed + 1):
        record = listed.pop(name := f"run-{number}", None)
        rest = sorted(path for path in runs_dir.iterdir() if path.name in (name, name + DELETING))
        if record is None:
            assert not rest or files_below(rest[0]) == sorted(FOREIGN)
            continue
        assert [Path(record.folder)] == rest
        if record.status != "finished":
            assert record.status == "deleting"
            assert record.reason == f"partly deleted; `torchconsole delete {name}` finishes it"
            with pytest.raises(RunError, match=f"`torchconsole delete {name}` finishes it"):
                find_run(name)
        delete_run(find_run(name, by_preset="refuse"), everything=bool(option))
        assert not (runs_dir / (name + DELETING)).exists()
        assert option or files_below(runs_dir / name) == sorted(FOREIGN)
    assert not listed
    assert list_runs() == list_runs(runs_dir) == []


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads take turns ten times as often as usual, so that they meet in more places."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(interval / 10)
    yield
    sys.setswitchinterval(interval)


def test_two_deletions_at_the_same_time_remove_one_run(tmp_path: Path, switching: None) -> None:
    for number in range(100):
        folder = make_run(tmp_path / "runs" / f"run-{number}")
        with ThreadPoolExecutor(2) as both:
            done = [both.submit(delete_run, folder) for _ in range(2)]
        assert all(isinstance(one.exception(), RunError | None) for one in done)
        assert not all(one.exception() for one in done)
        assert files_below(folder.path) == sorted(FOREIGN)


@pytest.mark.parametrize("has_lock", [True, False])
def test_a_run_that_is_resumed_and_deleted_at_the_same_time_is_whole_or_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switching: None, has_lock: bool
) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("true"))
    for _ in range(100):
        folder = make_folder(tmp_path / "runs", status="stopped")
        if has_lock:
            folder.lock_file.touch()
        before = files_below(folder.path)
        with ThreadPoolExecutor(2) as both:
            deleted, resumed = both.submit(delete_run, folder), both.submit(resume_run, folder)
        assert isinstance(deleted.exception(), RunError | None)
        assert isinstance(resumed.exception(), RunError | None)
        if deleted.exception():
            assert set(files_below(folder.path)) >= set(before)
        else:
            assert not folder.path.exists()
        assert not folder.aside.path.exists()


def test_a_run_that_is_started_meanwhile_is_not_deleted(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = run.load_record()
    original = RunFolder.read_record

    def resumed(folder: RunFolder) -> object:
        record = original(folder)
        folder.write_record(replace(written, status="starting", updated=2.0))
        return record

    monkeypatch.setattr(RunFolder, "read_record", resumed)
    with pytest.raises(RunError, match="has just been started"):
        delete_run(run)
    assert run.load_record().status == "starting"
    assert run.checkpoints.exists()


def test_what_another_deletion_has_left_keeps_its_name(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = deletion.is_closed

    def deleted(descriptor: int) -> str:
        monkeypatch.setattr(deletion, "is_closed", original)
        closed = original(descriptor)
        monkeypatch.setattr(deletion, "_check_run", lambda folder, descriptor: written)
        return closed

    written = run.load_record()
    delete_run(run)
    monkeypatch.setattr(deletion, "is_closed", deleted)
    with pytest.raises(RunError, match="has just been started or deleted"):
        delete_run(run)
    assert files_below(run.path) == sorted(FOREIGN)


def test_a_run_that_is_being_resumed_is_neither_deleted_nor_resumed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("true"))
    folder = make_folder(tmp_path / "runs", status="stopped")
    before = folder.load_record()
    refused: list[str] = []
    write = RunFolder.write_record

    def meet(folder: RunFolder, record: RunRecord) -> None:
        for other in (delete_run, resume_run):
            with pytest.raises(RunError) as error:
                other(folder)
            refused.append(str(error.value))
        assert folder.load_record() == before
        write(folder, record)

    monkeypatch.setattr(launcher, "ENDING_SECONDS", 0.0)
    monkeypatch.setattr(RunFolder, "write_record", meet)
    resume_run(folder).process.wait()
    assert "still uses it" in refused[0]
    assert "still exiting" in refused[1]


def test_a_resume_of_a_run_that_is_deleted_meanwhile_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(tmp_path / "runs", status="stopped")
    monkeypatch.setattr("torchconsole.engine.client.launcher._await_end", delete_run)
    with pytest.raises(RunError, match=f"{folder.name}: cannot start, the run's folder was just removed"):
        resume_run(folder)
    with pytest.raises(RunError, match="cannot be locked: No such file"):
        WorkerLock(folder.lock_file).acquire()


def test_a_folder_that_only_has_the_name_of_an_interrupted_deletion_keeps_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "mine.deleting"
    (folder / "checkpoints" / "step-00000001").mkdir(parents=True)
    (folder / "worker.log").touch()
    delete_run(RunFolder(folder))
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["checkpoints", "worker.log"]
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    with pytest.raises(RunError, match="not deleted"):
        delete_run(RunFolder(folder))


@pytest.fixture
def live(tmp_path: Path) -> Iterator[RunFolder]:
    """A run whose worker is alive."""
    folder = make_folder(tmp_path / "runs")
    process = start_standin(folder)
    wait_until(lambda: folder.load_record().status == "running")
    yield folder
    process.kill()
    process.wait()


def test_a_live_run_is_not_deleted(live: RunFolder) -> None:
    with pytest.raises(RunError, match="is running: stop it before you delete it"):
        question(live)
    live.write_record(replace(live.load_record(), status="finished"))
    with pytest.raises(RunError, match=r"process \d+ still uses it"):
        delete_run(live)
    assert live.run_file.exists()


def test_a_lost_run_is_deleted(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "runs", **running())
    register(folder)
    delete_run(folder)
    assert not folder.path.exists()
    assert list_runs() == []

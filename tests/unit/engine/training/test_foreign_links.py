"""In a folder that others can write to, their links are not followed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.fake_checkpoints import fake_checkpoint
from tests.support.runs import make_folder
from torchconsole.engine import files
from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.run.checkpoints import Manifest
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.names import MANIFEST_FILE, STATE_FILE, TEMPORARY
from torchconsole.engine.run.resume_checks import inherit
from torchconsole.engine.session.record_writer import SpareFile
from torchconsole.engine.training import checkpoint
from torchconsole.engine.training.checkpoint import (
    clean_leftovers,
    keep_forever,
    point,
    rotate,
    write_checkpoint,
)

STRANGER = 54399


def manifest(step: int) -> Manifest:
    return Manifest(step=step, epoch=1, revision=0, kept=False, metrics={})


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can make the link of another user")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (file := tmp_path / "secret").write_text("mine alone")
    file.chmod(0o600)
    return file


def test_a_link_that_replaces_a_temporary_file_is_not_followed(
    tmp_path: Path, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody exchanges the file between its creation and the writing."""
    create = files._create

    def exchanged(path: Path, *arguments: int) -> int:
        mode = create(path, *arguments)
        path.unlink()
        path.symlink_to(secret)
        return mode

    monkeypatch.setattr(files, "_create", exchanged)
    with pytest.raises(OSError, match="symbolic links"):
        files.write_atomically(tmp_path / "run.json", b"forged")
    assert secret.read_text() == "mine alone"


def test_a_link_in_a_new_checkpoint_is_not_followed(
    tmp_path: Path, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = Path.mkdir

    def with_link(path: Path, *arguments: int, **options: bool) -> None:
        mkdir(path, *arguments, **options)
        if path.name.startswith(TEMPORARY):
            (path / STATE_FILE).symlink_to(secret)

    monkeypatch.setattr(Path, "mkdir", with_link)
    with pytest.raises(FileExistsError):
        write_checkpoint(tmp_path / "checkpoints", {"step": 1}, manifest(1))
    assert secret.read_text() == "mine alone"


def test_a_fifo_in_the_place_of_the_spare_file_stops_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "spare")
    spare = SpareFile(tmp_path / "spare")
    spare.reserve(10)
    assert spare.bytes == 0


@needs_root
def test_checkpoints_are_not_written_or_removed_through_a_foreign_link(tmp_path: Path) -> None:
    """A link of the user's own is followed: checkpoints may be on another disk."""
    steps, link = tmp_path / "steps", tmp_path / "checkpoints"
    for step in (1, 2, 3):
        write_checkpoint(steps, {"step": step}, manifest(step))
    (steps / f"{TEMPORARY}step-00000004").mkdir()
    before = sorted(steps.iterdir())
    link.symlink_to(steps)
    os.chown(link, STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(OSError, match=f"another user .uid {STRANGER}. has made"):
        write_checkpoint(link, {"step": 4}, manifest(4))
    with pytest.raises(OSError, match="another user"):
        rotate(link, keep=1)
    with pytest.raises(CheckpointError, match="another user"):
        clean_leftovers(link)
    assert sorted(steps.iterdir()) == before
    os.chown(link, os.getuid(), os.getgid(), follow_symlinks=False)
    clean_leftovers(link)
    rotate(link, keep=1)
    assert [path.name for path in steps.iterdir()] == ["step-00000003"]


@needs_root
def test_a_foreign_link_to_a_checkpoint_is_not_marked_or_removed(tmp_path: Path) -> None:
    theirs = write_checkpoint(tmp_path / "theirs", {"step": 1}, manifest(1))
    before = (theirs / MANIFEST_FILE).read_bytes()
    write_checkpoint(checkpoints := tmp_path / "checkpoints", {"step": 2}, manifest(2))
    (link := checkpoints / theirs.name).symlink_to(theirs)
    os.chown(link, STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(OSError, match="another user"):
        keep_forever(link, manifest(1))
    with pytest.raises(OSError, match="symbolic link"):
        rotate(checkpoints, keep=1)
    with pytest.raises(CheckpointError, match="symbolic link"):
        clean_leftovers(checkpoints)
    assert (theirs / MANIFEST_FILE).read_bytes() == before


@pytest.fixture
def parent(tmp_path: Path, secret: Path) -> RunFolder:
    """A run with links to a private file and to a private folder."""
    parent = make_folder(tmp_path / "runs", "parent")
    checkpoint = fake_checkpoint(parent, 30)
    parent.metrics_file.symlink_to(secret)
    (checkpoint / "secret").symlink_to(secret)
    (checkpoint / "all").symlink_to(secret.parent)
    return parent


def test_a_branched_run_discloses_nothing(parent: RunFolder, tmp_path: Path) -> None:
    branch = make_folder(tmp_path / "runs", "branch")
    checkpoint = parent.checkpoints / "step-00000030"
    inherit(parent, checkpoint, branch)
    assert {path.name for path in (branch.checkpoints / checkpoint.name).iterdir()} == {
        "state.pt",
        "manifest.json",
    }
    assert branch.metrics_file.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make the file of another user")
def test_a_branched_run_shares_no_file_with_another_user(parent: RunFolder, tmp_path: Path) -> None:
    checkpoint = parent.checkpoints / "step-00000030"
    os.chown(checkpoint / STATE_FILE, STRANGER, STRANGER)
    inherit(parent, checkpoint, branch := make_folder(tmp_path / "runs", "branch"))
    copied = branch.checkpoints / checkpoint.name
    assert not (copied / STATE_FILE).samefile(checkpoint / STATE_FILE)
    assert (copied / MANIFEST_FILE).samefile(checkpoint / MANIFEST_FILE)


def foreign_link(link: Path, target: Path) -> None:
    link.symlink_to(target)
    os.chown(link, STRANGER, STRANGER, follow_symlinks=False)


@pytest.mark.parametrize("what", ["link", "FIFO"])
def test_what_replaces_a_file_that_was_just_written_is_not_followed(
    what: str, tmp_path: Path, secret: Path
) -> None:
    """Its mode would be given to a private file, or the FIFO waited for."""

    def replace() -> None:
        with files.replacing(tmp_path / "run.json") as temporary:
            temporary.unlink()
            if what == "link":
                temporary.symlink_to(secret)
            else:
                os.mkfifo(temporary)

    with pytest.raises(OSError, match="symbolic links" if what == "link" else "not a regular file"):
        replace()
    assert secret.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "run.json").exists()


@needs_root
def test_nothing_is_written_through_a_foreign_link_in_the_place_of_the_run(tmp_path: Path) -> None:
    private = make_folder(tmp_path / "private", "run")
    fake_checkpoint(private, 1)
    before = {path: path.lstat().st_mtime_ns for path in private.path.rglob("*")}
    foreign_link(link := tmp_path / "link", private.path)
    run = RunFolder(link)
    with pytest.raises(OSError, match="another user"):
        run.write_record(private.load_record())
    with pytest.raises(OSError, match="another user"):
        files.open_own(run.metrics_file, os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError, match="another user"):
        write_checkpoint(run.checkpoints, {"step": 2}, manifest(2))
    with pytest.raises(OSError, match="another user"):
        point(run.checkpoints, "last", run.checkpoints / "step-00000002")
    assert {path: path.lstat().st_mtime_ns for path in private.path.rglob("*")} == before


@needs_root
def test_links_that_appear_while_a_checkpoint_is_written_are_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody exchanges the folder of checkpoints and the new one's between two steps of a save."""
    (private := tmp_path / "private").mkdir()
    checkpoints = tmp_path / "run" / "checkpoints"
    checkpoints.mkdir(parents=True)
    mkdir = Path.mkdir

    def exchanged(path: Path, *arguments: int, **options: bool) -> None:
        mkdir(path, *arguments, **options)
        if path.name.startswith(TEMPORARY) and checkpoints.is_dir():
            checkpoints.rename(tmp_path / "aside")
            foreign_link(checkpoints, private)

    monkeypatch.setattr(Path, "mkdir", exchanged)
    write_checkpoint(checkpoints, {"step": 1}, manifest(1))
    assert list(private.iterdir()) == []
    assert (tmp_path / "aside" / "step-00000001" / STATE_FILE).exists()

    def linked(path: Path, *arguments: int, **options: bool) -> None:
        if path.name.startswith(TEMPORARY):
            foreign_link(path, private)
        else:
            mkdir(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", linked)
    with pytest.raises(OSError, match="another user"):
        write_checkpoint(tmp_path / "aside", {"step": 2}, manifest(2))
    assert list(private.iterdir()) == []


@needs_root
def test_rotation_removes_nothing_through_a_link_that_appears_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, checkpoints = tmp_path / "private", tmp_path / "checkpoints"
    for step in (1, 2, 3):
        write_checkpoint(private, {"step": step}, manifest(step))
        write_checkpoint(checkpoints, {"step": step}, manifest(step))
    listed = checkpoint.list_checkpoints

    def exchanged(folder: Path) -> list[Path]:
        found = listed(folder)
        checkpoints.rename(tmp_path / "aside")
        foreign_link(checkpoints, private)
        return found

    monkeypatch.setattr(checkpoint, "list_checkpoints", exchanged)
    rotate(checkpoints, keep=1)
    assert len(list(private.iterdir())) == 3
    assert [path.name for path in (tmp_path / "aside").iterdir()] == ["step-00000003"]

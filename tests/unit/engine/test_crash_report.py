"""An unexpected error is one line; its traceback is kept in a file that the line names."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

import pytest

from torchconsole.engine.crash_report import MOST_KEPT, describe_crash, keep_traceback


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of kept tracebacks."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "torchconsole" / "crashes"


@pytest.fixture
def unwritable_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state folder that is a file, which binds root too."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))


def crash() -> Exception:
    try:
        raise ValueError("first line\nsecond line \udcff")
    except ValueError as error:
        return error


def test_the_line_names_the_file_with_the_traceback(state: Path) -> None:
    line = describe_crash(crash())
    (file,) = state.iterdir()
    assert line == f"ValueError: first line; its traceback is in {file}"
    text = file.read_text("utf-8")
    assert "Traceback (most recent call last)" in text
    assert "second line \\udcff" in text
    assert "Python 3." in text
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_without_a_state_folder_it_is_kept_in_the_temporary_folder(
    unwritable_state: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    file = keep_traceback(crash())
    assert file is not None
    assert file.parent == temporary


def test_without_any_folder_the_line_says_so(
    unwritable_state: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    assert describe_crash(crash()).endswith("its traceback could not be written to any folder")


def test_only_the_newest_are_kept(state: Path) -> None:
    state.mkdir(parents=True)
    (state / "notes.txt").touch()
    for number in range(MOST_KEPT + 5):
        (state / f"crash-20200101-{number:06}-1-x.txt").touch()
    file = keep_traceback(crash())
    assert file is not None
    assert len([*state.glob("crash-*")]) == MOST_KEPT
    assert file.exists()
    assert (state / "notes.txt").exists()

"""The user's folders, also of a user without a home."""

from __future__ import annotations

import errno
import os
import pwd
import stat
from pathlib import Path

import pytest

from torchconsole.engine import user_folders
from torchconsole.engine.config.user_code import is_trusted, trust
from torchconsole.engine.user_folders import NO_HOME, cannot_write, expand_user, is_private, make_private


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without HOME whom the user database does not know, as in some containers."""
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(_: object) -> pwd.struct_passwd:
        raise KeyError("unknown")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(pwd, "getpwnam", unknown)


@pytest.mark.parametrize("kind", ["state", "cache", "data", "config", "home"])
def test_without_a_home_nothing_is_found_or_written(homeless: None, kind: str) -> None:
    folder: Path = getattr(user_folders, f"{kind}_folder")()
    assert folder.is_relative_to(NO_HOME)
    assert not folder.exists()
    assert list(folder.glob("*")) == []
    with pytest.raises(NotADirectoryError):
        folder.mkdir(parents=True)


def test_xdg_variables_are_obeyed_unless_they_are_relative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", "/fast/cache")
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    assert user_folders.cache_folder() == Path("/fast/cache/torchconsole")
    assert user_folders.state_folder() == Path("/home/me/.local/state/torchconsole")


def test_the_name_of_an_unknown_user_is_the_name_of_a_file(homeless: None) -> None:
    assert expand_user("~nobody-at-all/x") == Path("~nobody-at-all/x")
    assert expand_user("~/x") == NO_HOME / "x"


def test_a_user_without_a_name_is_called_by_the_number(
    homeless: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_folders.os, "getuid", lambda: 12345)
    assert user_folders.user_name() == "12345"


def test_the_warning_names_the_folder_the_cause_and_the_consequence() -> None:
    error = OSError(errno.EROFS, "Read-only file system")
    path = Path("/home/me/.cache/torchconsole")
    assert cannot_write(path, error, "it is measured again next time") == (
        "/home/me/.cache/torchconsole: cannot be written (Read-only file system): "
        "it is measured again next time"
    )
    assert cannot_write(NO_HOME / ".cache", error, "nothing is kept") == (
        "your home folder is unknown, set HOME: nothing is kept"
    )


def test_others_cannot_write_to_a_private_folder_whatever_the_umask(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "torchconsole" / "trusted"
    before = os.umask(0)
    try:
        make_private(folder)
        (tmp_path / "open").mkdir()
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder.parent, folder.parent.parent)]
    assert modes == [0o700, 0o700, 0o700]
    assert not is_private(tmp_path / "open")
    assert not is_private(tmp_path / "missing")
    make_private(tmp_path / "open")
    assert is_private(tmp_path / "open")


def test_what_others_may_have_agreed_to_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    code = tmp_path / "code.py"
    code.write_text("print(1)")
    trust(code)
    assert is_trusted(code)
    (tmp_path / "torchconsole" / "trusted").chmod(0o777)
    assert not is_trusted(code)
    trust(code)
    assert is_trusted(code)

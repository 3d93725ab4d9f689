"""torch.compile never opens a cache that another user has made."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from torchconsole.engine.training.compile_cache import VARIABLE, use_private_compile_cache


@pytest.fixture
def default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that torch would use by default."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("LOGNAME", "me")
    monkeypatch.setenv(VARIABLE, "")
    return tmp_path / "torchinductor_me"


def test_the_default_cache_is_made_for_this_user_alone(default: Path) -> None:
    use_private_compile_cache()
    assert os.environ[VARIABLE] == ""
    assert default.stat().st_mode & 0o777 == 0o700


def test_an_own_cache_is_closed_to_others(default: Path) -> None:
    default.mkdir()
    default.chmod(0o777)
    use_private_compile_cache()
    assert os.environ[VARIABLE] == ""
    assert default.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", ["link", "file", "other user"])
def test_a_cache_of_somebody_else_is_not_used(
    default: Path, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    if kind == "link":
        (tmp_path / "theirs").mkdir()
        default.symlink_to(tmp_path / "theirs")
    elif kind == "file":
        default.touch()
    elif os.getuid() == 0:
        default.mkdir()
        os.chown(default, 12345, 12345)
    else:
        pytest.skip("only root can give a folder to another user")
    use_private_compile_cache()
    used = Path(os.environ[VARIABLE])
    assert used.is_dir()
    assert used.stat().st_mode & 0o777 == 0o700
    assert used != default
    assert "torch.compile's cache is not used" in caplog.text


def test_a_cache_that_the_user_names_is_used(default: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(default.parent / "mine"))
    use_private_compile_cache()
    assert os.environ[VARIABLE] == str(default.parent / "mine")

"""Folders of the user that are read-only, full or unknown: warnings, and the training starts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.program_user import User

TRAIN = ("train", "digits-mlp", "--headless", "--set", "training.epochs=1")


@pytest.fixture(params=["ro", "size=4k", "nr_inodes=1"])
def bad_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system that is read-only, or has no room, or no room for another file; needs root."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", request.param, "torchconsole-limits", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs root, and is not allowed in every container")
    if request.param.startswith("size"):
        (disk / "filler").write_bytes(bytes(4096))
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_training_needs_none_of_the_users_folders(user: User, bad_disk: Path) -> None:
    for kind in ("STATE", "CACHE", "DATA", "CONFIG"):
        user.env[f"XDG_{kind}_HOME"] = str(bad_disk / kind)
    done = user.run(*TRAIN)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert all(line.startswith(f"torchconsole: warning: {bad_disk}") for line in lines)
    assert any("each command reads again what torch offers" in line for line in lines)
    assert any("finds digits-mlp-" in line and "only with --runs-dir" in line for line in lines)
    (run,) = user.runs()
    assert run in user.run("runs").stdout


def test_a_user_without_a_home_and_a_name_can_train(user: User) -> None:
    """As in a container that runs under a number: the user database does not know it."""
    (user.folder / "sitecustomize.py").write_text(
        "import pwd\ndef getpwuid(_):\n    raise KeyError('unknown')\npwd.getpwuid = getpwuid\n"
    )
    user.env["PYTHONPATH"] = str(user.folder)
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        del user.env[name]
    done = user.run(*TRAIN)
    assert done.returncode == 0, done.stderr
    assert "your home folder is unknown, set HOME: `torchconsole runs` finds" in done.stderr
    assert not (user.folder / "~").exists()

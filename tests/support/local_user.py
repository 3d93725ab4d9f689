"""Another user of this machine, for tests that root runs: a uid of its own, without rights over others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.matrix import as_user
from tests.support.program_user import PROGRAM, User
from tests.support.tracebacks import assert_no_traceback

GROUP = 54300
"""A group of all these users, and of no others."""


class LocalUser(User):
    """A user with a uid of its own. Its home is private; its runs are in a folder that users share."""

    def __init__(self, uid: int, home: Path, sockets: str, cache: Path, runs_dir: Path, umask: int = 0o022):
        super().__init__(home, sockets, home / "cache")
        self.uid = uid
        self.umask = umask
        self.runs_dir = runs_dir
        self.env["TORCHCONSOLE_RUNS"] = str(runs_dir)
        self.env["PYTHONDONTWRITEBYTECODE"] = "1"
        self.env["TMPDIR"] = str(home)
        shutil.copytree(cache, home / "cache")
        for path in (home, *home.rglob("*")):
            os.chown(path, uid, uid)
        home.chmod(0o700)

    def call(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command as this user, in the user's working folder."""
        defaults: dict[str, Any] = {"cwd": self.folder, "env": self.env, "stdin": subprocess.DEVNULL}
        defaults |= {"capture_output": True, "text": True, "timeout": 60, "umask": self.umask}
        return subprocess.run(as_user(command, self.uid, str(GROUP)), **{**defaults, **options})

    def run(self, *arguments: str, timeout: float = 60, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `torchconsole` as this user until it ends; fail if it prints a traceback."""
        done = self.call([PROGRAM, *arguments], timeout=timeout, **options)
        assert_no_traceback(done.stdout, done.stderr)
        return done

    def python(self, code: str, *arguments: object) -> str:
        """Run Python code as this user, with Path, os and json imported; return what it prints."""
        code = f"import json, os, sys\nfrom pathlib import Path\n{code}"
        done = self.call([sys.executable, "-c", code, *map(str, arguments)])
        assert done.returncode == 0, done.stderr
        return done.stdout


def content_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return each file below a folder with its mode and content, to compare it later."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }

"""Commands that a launcher such as torchrun starts several times."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.program_user import PROGRAM, User

TORCHRUN = str(Path(sys.executable).with_name("torchrun"))


def torchrun(user: User, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `torchconsole` in two processes, as torchrun does."""
    words = [TORCHRUN, "--standalone", "--nproc_per_node=2", PROGRAM, *arguments]
    return subprocess.run(
        words, cwd=user.folder, env=user.env, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def test_programs_of_the_users_own_run_under_torchrun(user: User) -> None:
    (user.folder / "program.py").write_text("import os\nprint('rank', os.environ['RANK'])\n")
    done = torchrun(user, "run", "program.py", "--headless")
    assert done.returncode == 0, done.stderr
    (log,) = user.runs_dir.glob("*/worker.log")
    assert [line for line in log.read_text().splitlines() if line.startswith("rank")] == ["rank 0"]
    assert [line for line in done.stdout.splitlines() if line.startswith("rank")] == ["rank 1"]

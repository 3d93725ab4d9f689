"""Runs Python programs in a process that cannot import torchconsole, as on a machine without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REFUSING = Path(__file__).parent / "without_torchconsole"


def run_elsewhere(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `python ARGUMENTS` there."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REFUSING), "OMP_NUM_THREADS": "1", "HOME": str(cwd)}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, env=env, capture_output=True, text=True, timeout=110
    )


def output_elsewhere(*arguments: str | Path, cwd: Path) -> str:
    """Return what the program prints; it must succeed."""
    done = run_elsewhere(*arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout

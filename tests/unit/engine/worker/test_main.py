"""A worker that fails before it can serve anybody says why in its record; worker.log has the traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.runs import make_folder

PROGRAM = """
import sys
from torchconsole.engine.worker import main

def fail(*_):
    raise {error}

main.{name} = fail
sys.exit(main.main(sys.argv[1:]))
"""


def run_worker(folder: Path, name: str, error: str) -> subprocess.CompletedProcess[str]:
    """Run a worker in which a function raises an error."""
    program = PROGRAM.format(name=name, error=error)
    command = [sys.executable, "-P", "-c", program, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("ZeroDivisionError('a bug')", "ZeroDivisionError: a bug"),
        ("OSError(24, 'Too many open files')", "Too many open files: the limit is"),
    ],
)
def test_a_failure_of_the_server_is_recorded(tmp_path: Path, error: str, reason: str) -> None:
    folder = make_folder(tmp_path)
    done = run_worker(folder.path, "_initial_state", error)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    record = folder.load_record()
    assert record.status == "failed"
    assert reason in record.reason


def test_a_lock_that_cannot_be_taken_is_one_line(tmp_path: Path) -> None:
    done = run_worker(make_folder(tmp_path).path, "WorkerLock.acquire", "OSError(37, 'No locks available')")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.endswith("the run cannot be locked: No locks available")

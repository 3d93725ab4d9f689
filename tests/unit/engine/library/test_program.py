"""A program runs as `python` would run it."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from torchconsole.engine.config.script import Script
from torchconsole.engine.errors import TrainingError
from torchconsole.engine.library.program import run_program


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore what a program's start changes in the process."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", [*sys.argv])
    monkeypatch.setattr(sys, "stdin", sys.stdin)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.chdir(Path.cwd())
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


def run(folder: Path, source: str) -> str:
    """Run a program in this process; return the reason that is given for its end."""
    file = folder / "train.py"
    file.write_text(source)
    return run_program(Script(file=str(file), folder=str(Path.cwd())), lambda: True).reason


def test_annotations_are_evaluated_as_the_program_says(tmp_path: Path) -> None:
    run(tmp_path, "def f(rate: float): ...\nassert f.__annotations__ == {'rate': float}, f.__annotations__")


def test_an_error_names_the_last_line_of_the_program_not_of_the_standard_library(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"JSONDecodeError: .* \(train\.py, line 2\)$"):
        run(tmp_path, "import json\njson.loads('x')")


@pytest.mark.parametrize(
    ("end", "status"), [("", 0), ("sys.exit()", 0), ("sys.exit(3)", 3), ("sys.exit('no')", 1), ("1 / 0", 1)]
)
def test_a_forked_child_ends_with_its_own_status(tmp_path: Path, end: str, status: int) -> None:
    run(
        tmp_path,
        "import os, sys\nif pid := os.fork():\n    _, status = os.waitpid(pid, 0)\n"
        f"    assert os.waitstatus_to_exitcode(status) == {status}\nelse:\n    {end or 'pass'}",
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise SystemExit(4)", "the program ended with exit status 4$"),
        ("raise SystemExit(-1)", "the program ended with exit status 255$"),
        ("raise SystemExit('no data')", "the program ended with exit status 1: no data$"),
        (
            "x = 1\nif x:\n\ty = 1\n        z = 2",
            r"/train\.py:4: TabError: inconsistent use of tabs and spaces[^(]*$",
        ),
        ("x = 1\0", r"/train\.py: SyntaxError: source code string cannot contain null bytes$"),
    ],
)
def test_the_end_is_described_once(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        run(tmp_path, source)


def test_a_stop_ends_a_thread_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    source = """
import threading
from torchconsole.engine.library.watched_run import ProgramStopped
def fail(error): raise error
for error in (ProgramStopped("stop"), KeyError("mine")):
    thread = threading.Thread(target=fail, args=[error])
    thread.start()
    thread.join()
"""
    run(tmp_path, source)
    printed = capsys.readouterr().err
    assert "KeyError: 'mine'" in printed
    assert "ProgramStopped" not in printed


def test_a_linked_program_imports_what_is_beside_its_file(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "beside_the_file.py").write_text("")
    (tmp_path / "real" / "main.py").write_text("import beside_the_file")
    (tmp_path / "train.py").symlink_to(tmp_path / "real" / "main.py")
    run_program(Script(file=str(tmp_path / "train.py"), folder=str(tmp_path)), lambda: True)

"""A bug is one line and a file, in a command and on the screen; and no test misses a traceback."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.program_user import User
from tests.support.pseudo_terminal import Terminal

LINE = re.compile(r"torchconsole: error: unexpected error: ([^;]*); its traceback is in (\S+\.txt)")


@pytest.fixture
def buggy_user(user: User) -> User:
    """A user whose program has a bug: it cannot list runs."""
    (user.folder / "sitecustomize.py").write_text(
        "from torchconsole.engine.run import registry\n"
        "def list_runs(*_):\n"
        "    raise ZeroDivisionError('a bug')\n"
        "registry.list_runs = list_runs\n"
    )
    user.env["PYTHONPATH"] = str(user.folder)
    return user


def assert_reported(text: str) -> None:
    """Assert that an output has the line, and the file that it names the traceback."""
    found = LINE.search(re.sub(r"\s+", " ", text))
    assert found, text
    assert found[1] == "ZeroDivisionError: a bug"
    assert "Traceback (most recent call last)" in Path(found[2]).read_text()


def test_a_command_with_a_bug_prints_a_line(buggy_user: User) -> None:
    done = buggy_user.run("runs")
    assert done.returncode == 70
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert_reported(done.stderr)


def test_a_console_with_a_bug_restores_the_terminal_and_prints_a_line(
    buggy_user: User, open_terminal: Callable[..., Terminal]
) -> None:
    terminal = open_terminal(columns=400)
    assert terminal.wait_exit() == 70
    terminal.assert_restored()
    assert_reported(terminal.final_output)


INTERRUPT = """
import os, signal, sys

class Finder:
    def find_spec(self, name, *_):
        if name == "torchconsole.{module}":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize(
    ("module", "status"),
    [("engine.errors", -signal.SIGINT), ("tui.cli.parser", 130), ("engine.run.registry", 130)],
)
def test_an_interrupt_at_any_import_prints_nothing(user: User, module: str, status: int) -> None:
    (user.folder / "sitecustomize.py").write_text(INTERRUPT.format(module=module))
    user.env["PYTHONPATH"] = str(user.folder)
    done = user.run("runs")
    assert (done.stdout, done.stderr, done.returncode) == ("", "", status)


def test_a_traceback_fails_the_test_that_ran_the_program(user: User) -> None:
    (user.folder / "sitecustomize.py").write_text(
        "import traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.print_exc()\n"
    )
    user.env["PYTHONPATH"] = str(user.folder)
    with pytest.raises(AssertionError, match="printed a traceback"):
        user.run("--version")


def test_a_traceback_in_a_terminal_fails_the_test_too(user: User) -> None:
    command = "import rich.traceback; rich.traceback.install(); from rich.console import Console; 1 / 0"
    terminal = Terminal(user, "-c", command, program=sys.executable)
    terminal.wait_exit()
    with pytest.raises(AssertionError, match="printed a traceback"):
        terminal.close()

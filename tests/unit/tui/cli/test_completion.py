"""Shell completion, as the shells ask for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.runs import make_folder

PROGRAM = Path(sys.executable).with_name("torchconsole")
BASH = shutil.which("bash")


def ask_as_bash(words: str, position: int, **environment: str) -> list[str]:
    """What the completion function of bash gets for these words, the one at `position` being typed."""
    asked = {"_TORCHCONSOLE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(position)}
    done = subprocess.run(
        [PROGRAM], env={**os.environ, **asked, **environment}, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    return done.stdout.split()


def ask_as(shell: str, line: str) -> str:
    """What zsh or fish gets for a line that is typed up to its end."""
    asked = {
        "_TORCHCONSOLE_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    return subprocess.run(
        [PROGRAM], env={**os.environ, **asked}, capture_output=True, text=True, timeout=60, check=True
    ).stdout


def test_commands_are_completed() -> None:
    assert ask_as_bash("torchconsole att", 1) == ["attach"]
    assert {"resume", "runs"} <= set(ask_as_bash("torchconsole r", 1))


def test_options_are_completed() -> None:
    assert "--headless" in ask_as_bash("torchconsole train digits-mlp --h", 3)


def test_presets_are_completed() -> None:
    assert {"digits-cnn", "digits-mlp"} <= set(ask_as_bash("torchconsole train digits-", 2))


@pytest.mark.parametrize(
    "command", ["attach", "send", "resume", "events", "delete", "evaluate", "checkpoints"]
)
def test_runs_are_completed(command: str, tmp_path: Path) -> None:
    folder = make_folder(tmp_path, status="finished")
    found = ask_as_bash(f"torchconsole {command} digits-mlp-2", 2, TORCHCONSOLE_RUNS=str(tmp_path))
    assert folder.name in found


def test_keys_of_set_are_completed() -> None:
    assert ask_as_bash("torchconsole train digits-mlp --set training.ep", 4) == ["training.epochs"]


def test_values_of_a_key_that_takes_one_of_a_few_are_completed() -> None:
    words = "torchconsole train digits-mlp --set training.precision=b"
    assert ask_as_bash(words, 4) == ["training.precision=bf16"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_answered_too(shell: str) -> None:
    assert "attach" in ask_as(shell, "torchconsole att")
    assert "training.epochs" in ask_as(shell, "torchconsole train digits-mlp --set training.ep")


def test_a_damaged_register_completes_nothing_and_prints_no_error(tmp_path: Path) -> None:
    entry = tmp_path / "torchconsole" / "runs" / "broken.json"
    entry.parent.mkdir(parents=True)
    entry.write_text("{")
    assert ask_as_bash("torchconsole attach x", 2, XDG_STATE_HOME=str(tmp_path)) == []


@pytest.mark.skipif(BASH is None, reason="needs bash")
def test_bash_itself_completes(tmp_path: Path) -> None:
    assert BASH is not None
    script = subprocess.run(
        [PROGRAM, "--show-completion", "bash"],
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    program = tmp_path / "try.bash"
    program.write_text(
        f"{script}\nCOMP_WORDS=(torchconsole train digits-m)\nCOMP_CWORD=2\n"
        '_torchconsole_completion torchconsole digits-m train\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    path = f"{PROGRAM.parent}:{os.environ['PATH']}"
    done = subprocess.run([BASH, program], env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.stdout.split() == ["digits-mlp"], done.stderr

"""Shell completion, as the shells request it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pexpect
import pyte
import pytest

from tests.support.runs import make_folder, running, wait_until

PROGRAM = Path(sys.executable).with_name("torchconsole")


def ask_as_bash(words: str, position: int, **environment: str) -> list[str]:
    """Return what bash's completion function gets for these words while the one at `position` is typed."""
    asked = {"_TORCHCONSOLE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(position)}
    done = subprocess.run(
        [PROGRAM], env={**os.environ, **asked, **environment}, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    return done.stdout.split()


def ask_as(shell: str, line: str) -> str:
    """Return what zsh or fish gets while the end of this line is typed."""
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


def test_delete_completes_only_runs_that_have_ended_and_are_not_given_yet(tmp_path: Path) -> None:
    first, second = (make_folder(tmp_path, name, status="finished") for name in ("first", "second"))
    make_folder(tmp_path, "live", **running(host="elsewhere", boot_id="another"))
    line = f"torchconsole delete {first.name} "
    environment = {"TORCHCONSOLE_RUNS": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    assert ask_as_bash(line, 3, **environment) == [second.name]


def test_keys_of_set_are_completed() -> None:
    assert ask_as_bash("torchconsole train digits-mlp --set training.ep", 4) == ["training.epochs"]


def test_keys_of_the_preset_itself_are_completed(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('extends = "digits-mlp"\n[[schedule]]\nname = "CosineAnnealingLR"\n')
    words = f"torchconsole train --headless {tmp_path / 'own.toml'} --set schedule.0.un"
    assert ask_as_bash(words, 5) == ["schedule.0.until"]


def test_keys_of_a_program_are_completed(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("raise SystemExit")
    (tmp_path / "own.toml").write_text('[script]\nfile = "train.py"\n')
    preset = tmp_path / "own.toml"
    assert ask_as_bash(f"torchconsole train {preset} --set script.a", 4) == ["script.args"]
    assert ask_as_bash(f"torchconsole train {preset} --set training.ep", 4) == []


def test_values_of_a_key_with_fixed_choices_are_completed() -> None:
    words = "torchconsole train digits-mlp --set training.precision=b"
    assert ask_as_bash(words, 4) == ["training.precision=bf16"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_zsh_and_fish_get_completions(shell: str) -> None:
    assert "attach" in ask_as(shell, "torchconsole att")
    assert "training.epochs" in ask_as(shell, "torchconsole train digits-mlp --set training.ep")


def test_a_damaged_register_completes_nothing_and_prints_no_error(tmp_path: Path) -> None:
    entry = tmp_path / "torchconsole" / "runs" / "broken.json"
    entry.parent.mkdir(parents=True)
    entry.write_text("{")
    assert ask_as_bash("torchconsole attach x", 2, XDG_STATE_HOME=str(tmp_path)) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_itself_completes_after_the_installation(shell: str, tmp_path: Path) -> None:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"needs {shell}")
    env = {
        "HOME": str(tmp_path),
        "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
    }
    # typer would install for the shell that runs this test.
    named = {**env, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    subprocess.run([PROGRAM, "--install-completion", shell], env=named, check=True, capture_output=True)
    screen = pyte.Screen(80, 24)
    stream = pyte.ByteStream(screen)
    process = pexpect.spawn(path, ["-i"], cwd=str(tmp_path), env=env, dimensions=(24, 80), timeout=None)

    def is_shown(text: str) -> bool:
        with suppress(pexpect.TIMEOUT):
            stream.feed(process.read_nonblocking(65536, timeout=0.05))
        return any(text in line for line in screen.display)

    try:
        process.send("echo rea''dy\n")
        wait_until(lambda: is_shown("ready"), "the shell's prompt")
        process.send("torchconsole train digits-m\t")
        wait_until(lambda: is_shown("torchconsole train digits-mlp"), f"the completion by {shell}")
    finally:
        process.close(force=True)

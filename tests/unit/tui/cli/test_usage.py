"""The command line in scripts: exit statuses, one line per mistake, and no questions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from torchconsole.tui.cli import parser

PROGRAM = str(Path(sys.executable).with_name("torchconsole"))
COMMANDS = [command.__name__.replace("_", "-") for command in parser.COMMANDS]


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the program without a terminal, in its own home."""
    env = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "XDG_STATE_HOME": str(cwd), "LANG": "C.UTF-8"}
    env["XDG_CACHE_HOME"] = os.environ["XDG_CACHE_HOME"]
    return subprocess.run(
        [PROGRAM, *arguments],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "needs a terminal"),
        (["--runs-dir", "elsewhere"], "needs a terminal"),
        (["--runs-dir"], "requires an argument"),
        (["--runs-dir", "elsewhere", "show", "digits-mlp"], "show takes no --runs-dir"),
        (["--runs-dir", "/nope/x", "runs"], "folder /nope/x does not exist"),
        (["--runs-dir", ".", "runs", "--runs-dir", "/nope/x"], "folder /nope/x does not exist"),
        (["runs", "--runs-dir", "/nope/x"], "folder /nope/x does not exist"),
        (["trian"], "No such command 'trian'"),
        (["journal", "r1"], "No such command 'journal'; use `torchconsole events RUN` (see"),
        (["log"], "use `torchconsole events RUN --follow`"),
        (["--runs-dir", "runs", "ls", "-l"], "No such command 'ls'; use `torchconsole runs`"),
        (["tail", "r1"], "No such command 'tail'; use `torchconsole events RUN --follow`"),
        (["kill", "r1"], "use `torchconsole send RUN stop`"),
        (["pause", "r1"], "use `torchconsole send RUN pause`"),
        (["send", "nobody", "frobnicate"], "freeze, unfreeze, rollback, set, stop"),
        (["train"], "Missing argument 'PRESET'"),
        (["train", "digits-mpl"], "did you mean 'digits-mlp'?"),
        (["train", "digits-mlp", "--detach", "--headless"], "--detach and --headless exclude each other"),
        (["train", "digits-mlp", "--set", "training.epochs"], "write key=value"),
        *(
            (
                [*command, "--device", "gpu"],
                "error: --device: must be auto, cpu, mps, cuda or cuda:N, got 'gpu'",
            )
            for command in (
                ["check", "digits-mlp"],
                ["evaluate", "nobody"],
                ["predict", "nobody", "x.csv"],
                ["features", "nobody", "--list"],
            )
        ),
        (["train", "digits-mlp", "--device", "gpu"], "must be auto, cpu, mps, cuda or cuda:N, got 'gpu'"),
        (["train", "digits-mlp", "--name", "a b"], "--name a b: use letters, digits and . _ + = - only"),
        (["submit", "digits-mlp", "--gpus", "-1"], "--gpus: must be 0 or more, got -1"),
        (
            ["train", "digits-mlp", "--nproc", "two"],
            "--nproc two: must be auto or a whole number of 1 or more",
        ),
        (["train", "digits-mlp", "--nnodes", "2"], "--nnodes and --rdzv-endpoint belong together"),
        (["resume", "nobody", "--rdzv-endpoint", "a:1"], "there is no run"),
        (["show", "digits-mlp", "--bogus"], "No such option"),
        (["show", "gone.toml"], "preset file"),
        (["attach"], "without one use `torchconsole runs` and `torchconsole send`"),
        (["attach", "nobody"], "there is no run"),
        (["resume", "nobody"], "there is no run"),
        (["send", "nobody", "pause"], "there is no run"),
        (["send", "nobody", "puase"], "did you mean 'pause'?"),
        (["send", "nobody", "lr"], "lr needs a value"),
        (["send", "nobody", "lr", "fast"], "lr fast: 'fast' is not a number"),
        (["send", "nobody", "lr", "-1"], "lr -1: a learning rate cannot be negative"),
        (["send", "nobody", "lr", "-1e-3"], "lr -1e-3: a learning rate cannot be negative"),
        (["send", "nobody", "pause", "--bogus"], "No such option: --bogus"),
        (["send", "nobody", "pause", "--timeout", "-1"], "--timeout: must be 0 or more seconds, got -1"),
        (["send", "nobody", "pause", "5"], "pause takes no value"),
        (
            ["predict", "nobody", "a.png", "--pictures", "--json"],
            "--pictures: shows images in the terminal only",
        ),
        (["features", "nobody", "a.png", "--layer", "fc"], "features needs INPUT..., --layer and -o FILE"),
        (["features", "nobody", "a.png", "--layer", "fc", "-o", "a.csv"], "must end with .npz or .parquet"),
        (["features", "nobody", "-", "-", "--layer", "fc", "-o", "a.npz"], "read once only"),
        (["evaluate", "nobody", "--part", "all"], "'--part': 'all' is not one of 'val', 'test', 'train'"),
        (["send", "nobody"], "Missing argument 'COMMAND' (see `torchconsole send --help`)"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments: list[str], expected: str, tmp_path: Path) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("torchconsole: error: ")
    assert expected in line


def test_a_pipe_to_evaluate_on_is_refused(tmp_path: Path) -> None:
    command = f"{PROGRAM} evaluate nobody --on <(echo a,b)"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "a pipe can be read once only; write what comes from it to a file" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_every_mistake_of_a_preset_has_its_line(tmp_path: Path) -> None:
    done = run("show", "digits-mlp", "--set", "data.batch_size=x", "--set", "training.epoch=3", cwd=tmp_path)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("torchconsole: error: ") for line in lines)
    assert "data.batch_size" in lines[0]
    assert "--set data.batch_size=x: " in lines[0]
    assert "--set training.epoch=3: " in lines[1]
    assert "did you mean 'epochs'?" in lines[1]


def test_control_characters_in_a_mistake_are_escaped(tmp_path: Path) -> None:
    done = run("show", "\x1b[31mred", cwd=tmp_path)
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert "x1b[31mred" in done.stderr


def test_version_and_help(tmp_path: Path) -> None:
    assert run("--version", cwd=tmp_path).stdout.startswith("torchconsole 0.")
    help_text = run("--help", cwd=tmp_path).stdout
    for command in COMMANDS:
        assert f"\n  {command} " in help_text
    assert "..." not in help_text.partition("Commands:")[2]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_fits_a_terminal(command: str, tmp_path: Path) -> None:
    done = run(command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: torchconsole {command}")
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    outside_examples = re.sub(r"'[^']*'", "", done.stdout)
    assert not re.search(r"\[\[|\]\]|[{}<>]", outside_examples)


def test_arguments_are_shown_as_they_are_typed(tmp_path: Path) -> None:
    assert "Usage: torchconsole attach [OPTIONS] [RUN]\n" in run("attach", "--help", cwd=tmp_path).stdout
    send = run("send", "--help", cwd=tmp_path).stdout
    assert "Usage: torchconsole send [OPTIONS] RUN COMMAND [VALUE]\n" in send
    assert "\n  VALUE    For lr: 0.01" in send


def test_a_closed_pipe_is_not_an_error(tmp_path: Path) -> None:
    pipeline = f"{PROGRAM} show digits-mlp | true"
    done = subprocess.run(["bash", "-c", pipeline], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr == ""

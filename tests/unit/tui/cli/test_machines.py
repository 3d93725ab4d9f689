"""The command of torchrun on each of several machines."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Literal

import pytest

from tests.support.fake_checkpoints import fake_checkpoint
from tests.support.runs import make_folder
from torchconsole.engine.client.processes import ONE
from torchconsole.engine.config.loading import dump_preset, load_preset
from torchconsole.engine.config.preset_files import find_file
from torchconsole.engine.config.script import Script, write_script
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.run.own_programs import note_program
from torchconsole.tui.cli.machines import start_here, torchrun_words
from torchconsole.tui.cli.parser import run_command

ON_TWO = ["--nnodes", "2", "--rdzv-endpoint", "a:29500"]


class Replaced(Exception):  # noqa: N818 - no error: the process would be torchrun now
    """Raised in place of starting torchrun."""


@pytest.fixture(autouse=True)
def no_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    def execv(path: str, words: list[str]) -> None:
        raise Replaced(words)

    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setenv("PYTHONSAFEPATH", "1")  # set by the command, so that it is taken back


def test_torchrun_gets_its_options_and_torchconsole_all_others() -> None:
    typed = ["train", "demo", "--nnodes", "2", "--set", "training.epochs=3", "--nproc=4"]
    words = torchrun_words([*typed, "--rdzv-endpoint=a:29500", "--name", "x"], 2, "a:29500", 4, 3)
    assert words == [
        *[
            sys.executable,
            "-P",
            "-m",
            "torch.distributed.run",
            "--rdzv_backend=c10d",
            "--rdzv_endpoint=a:29500",
        ],
        *["--nnodes=2", "--nproc_per_node=4", "--max_restarts=3", "-m", "torchconsole", "train", "demo"],
        *["--set", "training.epochs=3", "--name", "x", "--headless"],
    ]
    assert torchrun_words(["train", "demo", "--quiet"], 2, "a:29500", 4, 0)[-1] == "--quiet"


@pytest.mark.parametrize(("machines", "endpoint"), [(2, ""), (1, "a:29500"), (0, "a:29500")])
def test_one_of_the_two_options_alone_is_refused(machines: int, endpoint: str) -> None:
    with pytest.raises(TorchconsoleError, match="--nnodes and --rdzv-endpoint belong together"):
        start_here(["train", "demo"], machines, endpoint, ONE, 0, detach=False)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--set", "training.epoch=3"], "did you mean 'epochs'?"),
        (["--name", "a b"], "--name a b: use letters"),
        (["--name", "taken"], "--name taken: exists already"),
        (["--from", "none.pt"], "file none.pt does not exist"),
        (["--detach"], "--detach: with --nnodes the command becomes a torchrun"),
        (["--quiet", "--json"], "--quiet and --json exclude each other"),
    ],
)
def test_a_mistake_is_reported_before_torchrun_starts(words: list[str], reason: str, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    command = ["train", "digits-mlp", *ON_TWO, "--runs-dir", str(tmp_path)]
    with pytest.raises(TorchconsoleError, match=re.escape(reason)):
        run_command([*command, *words])
    with pytest.raises(Replaced):
        run_command(command)


def test_a_resume_is_checked_before_torchrun_starts(
    tmp_path: Path,
) -> None:
    run = make_folder(tmp_path, status="stopped")
    run.preset_file.write_bytes(find_file("digits-mlp").read_bytes())
    command = ["resume", run.name, *ON_TWO, "--runs-dir", str(tmp_path)]
    with pytest.raises(TorchconsoleError, match="did you mean 'epochs'"):
        run_command([*command, "--set", "training.epoch=3"])
    with pytest.raises(TorchconsoleError, match="--detach: with --nnodes"):
        run_command([*command, "--detach"])
    with pytest.raises(Replaced):
        run_command(command)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("finished", " is complete: training.epochs is 2 and 2 are done"),
        ("running", " is running (pid 1 on elsewhere)"),
    ],
)
def test_a_run_that_cannot_be_resumed_starts_no_torchrun(
    tmp_path: Path, status: Literal["finished", "running"], reason: str
) -> None:
    run = make_folder(tmp_path, "run-a", status=status, host="elsewhere", pid=1, epoch=2, step=9)
    run.preset_file.write_bytes(dump_preset(load_preset("digits-mlp", ["training.epochs=2"])).encode())
    fake_checkpoint(run, 9, epoch=2)
    with pytest.raises(TorchconsoleError, match=re.escape(reason)):
        run_command(["resume", run.name, *ON_TWO, "--runs-dir", str(tmp_path)])


def test_the_preset_says_how_many_processes_each_machine_starts(tmp_path: Path) -> None:
    command = ["train", "digits-mlp", *ON_TWO, "--runs-dir", str(tmp_path)]
    with pytest.raises(Replaced) as replaced:
        run_command([*command, "--set", "distributed.processes=3"])
    assert "--nproc_per_node=3" in replaced.value.args[0]
    with pytest.raises(Replaced) as replaced:
        run_command([*command, "--set", "distributed.processes=3", "--nproc", "2"])
    assert "--nproc_per_node=2" in replaced.value.args[0]


@pytest.mark.parametrize("words", [["--nproc", "2"], ON_TWO, ON_TWO[2:], ["--anyway"]])
def test_options_that_a_program_cannot_have_are_refused_at_its_resume(
    words: list[str], tmp_path: Path
) -> None:
    run = make_folder(tmp_path, status="stopped")
    program = tmp_path / "train.py"
    program.touch()
    write_script(Script(file=str(program), folder=str(tmp_path)), run.preset_file)
    note_program(run, ["model"], "")
    with pytest.raises(TorchconsoleError, match=rf"{words[0]} is not for a program of yours \(train\)"):
        run_command(["resume", run.name, *words, "--runs-dir", str(tmp_path)])

"""The script for sbatch, and what `submit` refuses before it calls sbatch."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from torchconsole.tui.cli import parser

FAKE = '#!/bin/bash\ncat > "{folder}/job.sh"\n{command}\n'


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, whose path has a space, with a folder `bin` as the whole PATH."""
    folder = tmp_path / "my project"
    (folder / "bin").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", str(folder / "bin"))
    monkeypatch.delenv("TORCHCONSOLE_RUNS")
    return folder


def add_sbatch(folder: Path, command: str) -> None:
    sbatch = folder / "bin" / "sbatch"
    sbatch.write_text(FAKE.format(folder=folder, command=command).replace("cat", "/bin/cat"))
    sbatch.chmod(0o755)


def script_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert parser.run_command(["submit", "--print", *arguments]) == 0
    return capsys.readouterr().out


def options_of(script: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH ")]


def test_the_script_asks_slurm_for_what_was_said(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    script = script_of(capsys, "digits-mlp", "--time", "04:00:00", "--set", "training.epochs=3", "--anyway")
    assert script.startswith("#!/bin/bash\n#SBATCH --job-name=digits-mlp\n")
    assert options_of(script) == [
        "--job-name=digits-mlp",
        "--nodes=1",
        "--ntasks-per-node=1",
        "--gpus-per-node=1",
        "--time=04:00:00",
        "--signal=B:USR1@120",
        "--requeue",
        "--open-mode=append",
        f"--output='{here}/runs/digits-mlp-%j.out'",
        f"--chdir='{here}'",
    ]
    assert "name=digits-mlp-$SLURM_JOB_ID\n" in script
    assert f"run='{here}/runs'/$name\n" in script
    train = f" train digits-mlp --set training.epochs=3 --headless --anyway --runs-dir '{here}/runs' --name"
    assert train in script
    assert ' resume "$run" --headless --anyway &' in script


def test_the_script_is_one_for_bash(capsys: pytest.CaptureFixture[str]) -> None:
    script = script_of(capsys, "digits-mlp", "--set", "title=It's a $HOME `test`")
    subprocess.run(["/bin/bash", "-n"], input=script, text=True, check=True)
    assert """--set 'title=It'"'"'s a $HOME `test`'""" in script


def test_a_name_and_a_job_without_gpus(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    script = script_of(capsys, "digits-mlp", "--name", "baseline", "--gpus", "0")
    assert "name=baseline\n" in script
    options = options_of(script)
    assert options[0] == "--job-name=baseline"
    assert f"--output='{here}/runs/baseline.out'" in options
    assert not any("gpus" in option or "time" in option for option in options)


def test_several_gpus_are_trained_on_by_tasks_of_srun(capsys: pytest.CaptureFixture[str]) -> None:
    script = script_of(capsys, "digits-mlp", "--nodes", "2", "--gpus", "8")
    assert options_of(script)[1:4] == ["--nodes=2", "--ntasks-per-node=8", "--gpus-per-node=8"]
    assert '    srun --wait=300 "$torchconsole" resume "$run" --headless &\n' in script
    assert '    srun --wait=300 "$torchconsole" train digits-mlp ' in script
    assert '    scancel --signal=TERM "$SLURM_JOB_ID"\n' in script
    assert "srun" not in script_of(capsys, "digits-mlp")
    assert "--nproc" not in script


@pytest.mark.parametrize(("given", "gpus"), [([], 3), (["--gpus", "1"], 1), (["--gpus", "8"], 8)])
def test_a_preset_for_several_processes_gets_a_gpu_for_each(
    capsys: pytest.CaptureFixture[str], given: list[str], gpus: int
) -> None:
    """A single task trains alone then: it would start the other processes itself."""
    script = script_of(capsys, "digits-mlp", "--set", "distributed.processes=3", *given)
    assert options_of(script)[2:4] == [f"--ntasks-per-node={gpus}", f"--gpus-per-node={gpus}"]
    assert ("--nproc 1" in script) == (gpus == 1)


def test_options_after_two_dashes_are_those_of_sbatch(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--partition=gpu", "-A", "lab 3", "--comment", "a b", "--exclusive", "-n2", "--mem=4G"]
    script = script_of(capsys, "digits-mlp", "--", *words)
    assert options_of(script)[-6:] == [
        "--partition=gpu",
        "-A 'lab 3'",
        "--comment='a b'",
        "--exclusive",
        "-n2",
        "--mem=4G",
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--gpus", "-1"], "--gpus: must be 0 or more, got -1"),
        (["--nodes", "0"], "--nodes: must be 1 or more, got 0"),
        (["--", "gpu"], "gpu: after --, expected options of sbatch"),
        (["--", "--mem=4G", "8"], "8: after --, expected options of sbatch"),
        (["--", "--comment=a\nb"], "an option of several lines"),
        (["--name", "a b"], "--name a b: use letters"),
        (["--name", "taken"], "--name taken: exists already in "),
        (["--print", "--json"], "--print and --json exclude each other"),
        (["--set", "training.epoch=3"], "did you mean 'epochs'?"),
        ([], "sbatch is not on the PATH"),
    ],
)
def test_mistakes_are_told_before_anything_is_submitted(
    arguments: list[str], expected: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from torchconsole.engine.errors import TorchconsoleError

    (here / "runs" / "taken").mkdir(parents=True)
    with pytest.raises(TorchconsoleError) as refusal:
        parser.run_command(["submit", "digits-mlp", *arguments])
    assert expected in str(refusal.value)


def test_a_preset_that_runs_a_program_is_refused(here: Path) -> None:
    from torchconsole.engine.errors import TorchconsoleError

    (here / "train.py").write_text("")
    (here / "mine.toml").write_text('title = "Mine"\n[script]\nfile = "train.py"\n')
    with pytest.raises(TorchconsoleError, match="only presets with data and a model can be submitted"):
        parser.run_command(["submit", "mine.toml"])


def test_the_job_is_reported_with_how_to_watch_and_to_steer_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_sbatch(here, "echo '4711;east'")
    assert parser.run_command(["submit", "digits-mlp"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"submitted job 4711: run digits-mlp-4711 in {here}/runs/digits-mlp-4711",
        f"output: {here}/runs/digits-mlp-4711.out",
        "once it has started (squeue --job 4711):",
        "  watch it from here:  torchconsole attach digits-mlp-4711",
        "  steer it:            srun --jobid 4711 --overlap --pty torchconsole attach digits-mlp-4711",
    ]
    assert (here / "job.sh").read_text().startswith("#!/bin/bash\n")
    assert (here / "runs").is_dir()
    assert parser.run_command(["submit", "digits-mlp", "--name", "baseline", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "job": "4711",
        "run": "baseline",
        "folder": f"{here}/runs/baseline",
    }


def test_a_refusal_of_sbatch_is_told_in_its_own_words(here: Path) -> None:
    from torchconsole.engine.errors import TorchconsoleError

    add_sbatch(here, "echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1")
    with pytest.raises(
        TorchconsoleError, match=r"sbatch refused the job: .*invalid partition specified: gpu"
    ):
        parser.run_command(["submit", "digits-mlp"])

"""`torchconsole submit`: train a preset in a job of Slurm, which is requeued until the run is complete."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.text import printable
from torchconsole.tui.cli.options import Anyway, AsJson, Overrides, PresetName, RunsDir, Trust
from torchconsole.tui.cli.presets import load_checked_preset, require_trust
from torchconsole.tui.cli.terminal import print_json
from torchconsole.tui.cli.train import check_free_name

BODY = """
# {seconds} s before the time limit, Slurm sends USR1 to this script alone. Then the run saves a checkpoint
# and ends, and the job is requeued: its next start continues the run with the very next sample.
name={name}
run={runs}/$name
torchconsole={program}
saved() {{ readlink "$run/checkpoints/last"; }}
before=$(saved)

if [ -e "$run/run.json" ]; then
    {srun}"$torchconsole" resume "$run" {resume} &
else
    {srun}"$torchconsole" train {train} --name "$name" &
fi
training=$!

requeue() {{
    {stop}
    for _ in {{1..{patience}}}; do kill -0 "$training" 2>/dev/null || break; sleep 1; done
    if grep -qs '"status": "finished"' "$run/run.json"; then exit 0; fi
    if [ "$(saved)" = "$before" ]; then
        echo "not requeued: the time limit is too short for a single step" >&2
    else
        scontrol requeue "$SLURM_JOB_ID"
    fi
}}
trap requeue USR1
trap : TERM  # Slurm sends TERM to all processes; this one waits until the run is saved

while wait "$training"; status=$?; [ $status -gt 128 ] && kill -0 "$training" 2>/dev/null; do :; done
exit $status
"""
"""The commands of a job. It is not requeued without a new checkpoint: the next start would get no further."""

STOP, STOP_TASKS = 'kill -TERM "$training"', 'scancel --signal=TERM "$SLURM_JOB_ID"'
"""How a job stops its run. srun would kill its tasks if it got SIGTERM itself."""

WAIT_SECONDS = 300
"""How long srun waits for the other tasks once one has ended: one that is suspended would keep the job."""

SIGNAL_SECONDS = 120
"""From Slurm's signal to the time limit."""

PATIENCE_SECONDS = 90
"""Longest wait for the run to save and end; the job is requeued then all the same."""


Gpus = Annotated[
    int | None,
    typer.Option(
        "--gpus",
        metavar="N",
        help="Number of GPUs on each machine (default: one for each of the preset's processes).",
    ),
]
TimeLimit = Annotated[
    str,
    typer.Option(
        "--time",
        metavar="TIME",
        help="Time limit of each start, such as 04:00:00 (default: that of the partition).",
    ),
]


@dataclass(frozen=True)
class Job:
    """What a job runs: a preset, with these words for `train` and for `resume`, in these folders."""

    preset: str
    train: Sequence[str]
    resume: Sequence[str]
    runs: Path
    folder: Path
    name: str = ""
    """Of the run; without one, that of the preset and the job's number."""


def submit(
    preset: PresetName,
    sbatch: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- SBATCH OPTIONS", help="Options of sbatch, such as --partition=gpu."),
    ] = None,
    overrides: Overrides = None,
    nodes: Annotated[int, typer.Option("--nodes", metavar="N", help="Number of machines.")] = 1,
    gpus: Gpus = None,
    time: TimeLimit = "",
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Name of the run (default: PRESET-JOB).")
    ] = "",
    print_only: Annotated[
        bool, typer.Option("--print", help="Print the script for sbatch instead of calling sbatch.")
    ] = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
    trust: Trust = False,
    anyway: Anyway = False,
) -> int:
    """Train a preset in a job of Slurm.

    Before the time limit, the run is saved and the job is requeued; its next start continues the run, until
    it is complete. Words after -- are options of sbatch. The preset is read when the job starts.
    """
    from torchconsole.engine.run.registry import default_runs_dir

    if print_only and as_json:
        raise TorchconsoleError("--print and --json exclude each other; use one of them")
    _check_size(nodes, 1 if gpus is None else gpus)
    _refuse_program(preset, overrides)
    loaded = load_checked_preset(preset, overrides)
    processes = loaded.distributed.processes
    if gpus is None:
        gpus = processes if isinstance(processes, int) else 1
    runs = default_runs_dir(runs_dir).absolute()
    check_free_name(name, runs)
    require_trust(loaded, trust)
    # A single task would start the preset's processes itself, on its one GPU.
    alone = ["--nproc", "1"] if nodes * gpus == 1 and processes != 1 else []
    job = _job(preset, overrides or [], alone, runs, name, anyway=anyway)
    script = job_script(job, nodes, gpus, time, sbatch or [])
    if print_only:
        print(script, end="")
        return 0
    runs.mkdir(parents=True, exist_ok=True)
    number = _call_sbatch(script)
    _report(number, name or f"{_stem(job.preset)}-{number}", runs, as_json=as_json)
    return 0


def _job(
    preset: str, overrides: Sequence[str], more: Sequence[str], runs: Path, name: str, *, anyway: bool
) -> Job:
    """Return the job that trains a preset with `overrides` and `more` words, in the present folder."""
    from torchconsole.engine.config.preset_index import find_preset

    changes = [word for override in overrides for word in ("--set", override)]
    both = ["--headless", *(["--anyway"] if anyway else [])]
    train = [preset, *changes, *more, *both, "--runs-dir", str(runs)]
    return Job(find_preset(preset).name, train, both, runs, Path.cwd(), name)


def job_script(job: Job, nodes: int, gpus: int, time: str, sbatch: Sequence[str]) -> str:
    """Return the script for sbatch. Options in `sbatch` come last, and so take precedence.

    Raises TorchconsoleError for a word that does not fit into a line.
    """
    stem, tasks = _stem(job.preset), max(gpus, 1)
    options = [
        f"--job-name={job.name or stem}",
        f"--nodes={nodes}",
        f"--ntasks-per-node={tasks}",
        *([f"--gpus-per-node={gpus}"] if gpus else []),
        *([f"--time={time}"] if time else []),
        f"--signal=B:USR1@{SIGNAL_SECONDS}",
        "--requeue",
        "--open-mode=append",
        f"--output={job.runs}/{job.name or f'{stem}-%j'}.out",
        f"--chdir={job.folder}",
        *_own_options(sbatch),
    ]
    if any("\n" in word for word in [*options, *job.train]):
        raise TorchconsoleError("a line of the script for sbatch cannot hold an option of several lines")
    body = BODY.format(
        seconds=SIGNAL_SECONDS,
        patience=PATIENCE_SECONDS,
        name=shlex.quote(job.name) if job.name else f"{stem}-$SLURM_JOB_ID",
        runs=shlex.quote(str(job.runs)),
        srun=f"srun --wait={WAIT_SECONDS} " if nodes * tasks > 1 else "",
        stop=STOP_TASKS if nodes * tasks > 1 else STOP,
        program=shlex.quote(str(_program())),
        train=shlex.join(job.train),
        resume=shlex.join(job.resume),
    )
    return "".join(["#!/bin/bash\n", *(f"#SBATCH {_quoted(option)}\n" for option in options), body])


def _own_options(words: Sequence[str]) -> list[str]:
    """Return one text for each option: a word that is no option is the value of the one before."""
    options: list[str] = []
    for word in words:
        if word.startswith("-"):
            options.append(word)
        elif options and "=" not in options[-1]:
            options[-1] += f"{' ' if len(options[-1]) == 2 else '='}{word}"
        else:
            raise TorchconsoleError(f"{word}: after --, expected options of sbatch such as --partition=gpu")
    return options


def _quoted(option: str) -> str:
    """Return an option as sbatch reads it in a script: its value quoted if it has to be."""
    for separator in ("=", " "):
        name, found, value = option.partition(separator)
        if found:
            return f"{name}{found}{shlex.quote(value)}"
    return option


def _stem(preset: str) -> str:
    from torchconsole.engine.run.folder import safe_name

    return safe_name(preset)


def _program() -> Path:
    """Return the absolute path of the program `torchconsole` that a job runs: the one of this environment."""
    beside_python = Path(sys.executable).with_name("torchconsole")
    return beside_python if beside_python.exists() else Path(sys.argv[0]).absolute()


def _check_size(nodes: int, gpus: int) -> None:
    for option, value, least in (("--nodes", nodes, 1), ("--gpus", gpus, 0)):
        if value < least:
            raise TorchconsoleError(f"{option}: must be {least} or more, got {value}")


def _refuse_program(preset: str, overrides: Sequence[str] | None) -> None:
    from torchconsole.engine.config.script_presets import load_script

    if load_script(preset, overrides or []) is not None:
        raise TorchconsoleError(
            f"{preset} runs a program of yours, and only presets with data and a model can be submitted; put "
            f"`torchconsole train {preset} --headless` into a script for sbatch"
        )


def _call_sbatch(script: str) -> str:
    """Submit the script, and return the job's number. Raises TorchconsoleError with sbatch's own words."""
    try:
        done = subprocess.run(["sbatch", "--parsable"], input=script, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise TorchconsoleError(
            "sbatch is not on the PATH: submit from a machine that has Slurm, or take the script with --print"
        ) from error
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise TorchconsoleError(f"sbatch refused the job: {said}")
    return done.stdout.strip().partition(";")[0]  # JOB, or JOB;CLUSTER


def _report(job: str, run: str, runs: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"job": job, "run": run, "folder": str(runs / run)})
        return
    print(printable(f"submitted job {job}: run {run} in {runs / run}"))
    print(printable(f"output: {runs / run}.out"))
    print(f"once it has started (squeue --job {job}):")
    print(printable(f"  watch it from here:  torchconsole attach {run}"))
    print(printable(f"  steer it:            srun --jobid {job} --overlap --pty torchconsole attach {run}"))

"""A stand-in for Slurm: `sbatch` and `scontrol` note what they get, and a test is the scheduler."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.support.program_user import User
from torchconsole.engine.run.folder import RunFolder

JOB = "4711"

COMMANDS = ("sbatch", "scontrol", "srun", "scancel")

SBATCH = """#!/bin/bash
[ "$*" = --parsable ] || { echo "sbatch: error: unexpected $*" >&2; exit 1; }
cat > "$FAKE_SLURM/job.sh"
echo 4711
"""
SCONTROL = """#!/bin/bash
echo "$*" >> "$FAKE_SLURM/requeues"
"""
SRUN = """#!/bin/bash
[ "$1" != --wait=300 ] || shift
for ((task = 0; task < SLURM_NTASKS; task++)); do
    SLURM_PROCID=$task SLURM_LOCALID=$task SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=$SLURM_NTASKS "$@" &
    tasks+=($!)
done
echo "${tasks[*]}" > "$FAKE_SLURM/tasks"
for task in "${tasks[@]}"; do wait $task || status=$?; done
exit ${status:-0}
"""
SCANCEL = """#!/bin/bash
[ "$*" = "--signal=TERM 4711" ] || { echo "scancel: error: unexpected $*" >&2; exit 1; }
kill -TERM $(< "$FAKE_SLURM/tasks")
"""


class Slurm:
    """Takes the jobs of a user, one at a time."""

    def __init__(self, user: User) -> None:
        self.user = user
        self._folder = user.home / "slurm"
        self._folder.mkdir()
        for name, script in zip(COMMANDS, (SBATCH, SCONTROL, SRUN, SCANCEL), strict=True):
            self._add(name, script)
        user.env |= {"PATH": f"{self._folder}:{user.env['PATH']}", "FAKE_SLURM": str(self._folder)}
        self._restarts = -1
        self._jobs: list[subprocess.Popen[str]] = []

    def _add(self, name: str, script: str) -> None:
        (self._folder / name).write_text(script)
        (self._folder / name).chmod(0o755)

    @property
    def script(self) -> str:
        """The script that was submitted."""
        return (self._folder / "job.sh").read_text()

    def options(self) -> dict[str, str]:
        """Return the script's long options with their values."""
        words = [line.split(maxsplit=1)[1] for line in self.script.splitlines() if line.startswith("#SBATCH")]
        return {name: value for name, _, value in (word.partition("=") for word in words)}

    def start(self) -> subprocess.Popen[str]:
        """Start the job, or start it again, in a session of its own; its output is appended."""
        self._restarts += 1
        options = self.options()
        output = options["--output"].replace("%j", JOB)
        counted = {"SLURM_RESTART_COUNT": str(self._restarts)} if self._restarts else {}
        tasks = int(options["--nodes"]) * int(options["--ntasks-per-node"])
        counted |= {"SLURM_NTASKS": str(tasks), "SLURM_JOB_NODELIST": "localhost"}
        with Path(output).open("a") as out:
            job = subprocess.Popen(
                ["bash", str(self._folder / "job.sh")],
                cwd=options["--chdir"],
                env={**self.user.env, "SLURM_JOB_ID": JOB, "SLURM_PROCID": "0", **counted},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                text=True,
                start_new_session=True,
            )
        self._jobs.append(job)
        return job

    def warn(self, job: subprocess.Popen[str]) -> int:
        """Send the signal before the time limit, to the script alone; return the exit status of the job."""
        os.kill(job.pid, signal.SIGUSR1)
        return job.wait(timeout=110)

    def cancel(self, job: subprocess.Popen[str], folder: RunFolder) -> None:
        """Send SIGTERM to all processes of the job, as scancel and a preemption do."""
        self._signal(job, folder, signal.SIGTERM)

    def kill(self, job: subprocess.Popen[str], folder: RunFolder) -> None:
        """Kill all processes of the job, as a node does that fails."""
        self._signal(job, folder, signal.SIGKILL)
        job.wait()

    def _signal(self, job: subprocess.Popen[str], folder: RunFolder, number: signal.Signals) -> None:
        worker = folder.load_record().pid
        assert worker is not None
        os.kill(worker, number)
        os.killpg(job.pid, number)

    def end(self) -> None:
        """Kill what is left of the jobs."""
        for job in self._jobs:
            with suppress(ProcessLookupError):
                os.killpg(job.pid, signal.SIGKILL)
            job.wait()

    def take_requeues(self) -> list[str]:
        """Return what scontrol was called with since the last time."""
        file = self._folder / "requeues"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return lines

"""Commands that a launcher such as torchrun starts several times."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.program_user import PROGRAM, User

TORCHRUN = str(Path(sys.executable).with_name("torchrun"))


def torchrun(user: User, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `torchconsole` in two processes, as torchrun does."""
    words = [TORCHRUN, "--standalone", "--nproc_per_node=2", PROGRAM, *arguments]
    return subprocess.run(
        words, cwd=user.folder, env=user.env, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def test_a_preset_is_not_trained_by_each_process_of_torchrun(user: User) -> None:
    done = torchrun(user, "train", "digits-mlp", "--headless")
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("torchconsole: error: ")]
    assert lines
    assert all("2 processes of this command (WORLD_SIZE=2)" in line for line in lines)
    assert not user.runs_dir.exists()


def test_a_run_is_not_resumed_by_each_task_of_srun(user: User) -> None:
    run = user.start()
    user.send(run, "stop")
    before = user.record(run)
    user.env |= {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}
    done = user.run("resume", run, "--headless")
    assert done.returncode == 2
    assert "srun has started 2 tasks of this command" in done.stderr
    assert user.record(run) == before


def test_programs_of_the_users_own_run_under_torchrun(user: User) -> None:
    (user.folder / "program.py").write_text("import os\nprint('rank', os.environ['RANK'])\n")
    done = torchrun(user, "run", "program.py", "--headless")
    assert done.returncode == 0, done.stderr
    logs = [file.read_text() for file in user.runs_dir.glob("*/worker.log")]
    assert sorted(line for log in logs for line in log.splitlines() if line.startswith("rank")) == [
        "rank 0",
        "rank 1",
    ]

"""Finds out whether a launcher such as torchrun or srun has started this command several times."""

from __future__ import annotations

import os

from torchconsole.engine.errors import RunError


def refuse_ranks() -> None:
    """Raise RunError if this process is one of several: each of them would train on all of the data.

    srun gives its tasks no terminal. A shell in an allocation, which may have the variables of srun too, has
    one.
    """
    if "RANK" in os.environ and (processes := _count("WORLD_SIZE")) > 1:
        raise RunError(
            _refusal(f"{processes} processes of this command (WORLD_SIZE={processes})", "torchrun")
        )
    is_task = "SLURM_PROCID" in os.environ and not any(map(os.isatty, (0, 1, 2)))
    if is_task and (tasks := _count("SLURM_STEP_NUM_TASKS")) > 1:
        raise RunError(_refusal(f"{tasks} tasks of this command (SLURM_STEP_NUM_TASKS={tasks})", "srun"))


def _refusal(what: str, launcher: str) -> str:
    once = "without the launcher" if launcher == "torchrun" else "with `srun --ntasks=1`"
    return (
        f"a launcher such as {launcher} has started {what}, and each would train on all of the data: "
        f"start it once, {once} (a program that uses torch.distributed itself: `torchconsole run PROGRAM`)"
    )


def _count(variable: str) -> int:
    """Return the number in an environment variable; 1 if there is none."""
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else 1

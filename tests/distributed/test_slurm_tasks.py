"""Jobs of Slurm with several tasks, which train together."""

from __future__ import annotations

import socket

from tests.support.program_user import User, wait_until
from tests.support.ranks import METRICS, SECONDS, STEPS, Logged, by_step
from tests.support.slurm import JOB, Slurm


def test_a_job_of_two_tasks_is_requeued_and_continues_exactly(user: User, undisturbed_digits: Logged) -> None:
    slurm = Slurm(user)
    with socket.create_server(("127.0.0.1", 0)) as free:
        user.env["MASTER_PORT"] = str(free.getsockname()[1])
    done = user.run("submit", "digits-mlp", "--nodes", "2", "--gpus", "0", *STEPS)
    assert done.returncode == 0, done.stderr
    run = f"digits-mlp-{JOB}"
    try:
        job = slurm.start()
        wait_until(lambda: user.last_step(run), "the first step", SECONDS)
        user.send(run, "pause")
        slurm.warn(job)
        assert slurm.take_requeues() == [f"requeue {JOB}"]
        assert user.record(run)["status"] == "stopped"
        assert slurm.start().wait(timeout=SECONDS) == 0
    finally:
        slurm.end()
    assert user.record(run)["status"] == "finished"
    assert slurm.take_requeues() == []
    assert by_step(user, run, *METRICS) == undisturbed_digits

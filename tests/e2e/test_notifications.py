"""`[notify] command` of a detached run: it gets the run's end, and cannot hold up or end the run."""

from __future__ import annotations

import json
import os
import signal

from tests.support.program_user import User, wait_until


def configure(user: User, command: str) -> None:
    """Write config.toml."""
    folder = user.home / "config" / "torchconsole"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "config.toml").write_text(f"[notify]\ncommand = {json.dumps(command)}\n")
    (folder / "config.toml").chmod(0o600)


def test_a_detached_run_tells_its_end(user: User) -> None:
    got = user.home / "got"
    configure(user, f"cat >> '{got}'; echo >> '{got}'")
    done = user.run("train", "digits-mlp", "--set", "training.epochs=2", "--detach")
    assert done.returncode == 0, done.stderr
    wait_until(lambda: got.exists() and "all epochs done" in got.read_text(), "the message")
    found = {content["event"]: content for content in map(json.loads, got.read_text().splitlines())}
    # The starting command may watch the run for so long that its best is not told.
    assert {"finished"} <= set(found) <= {"best", "finished"}
    end = found["finished"]
    assert (end["status"], end["name"]) == ("finished", done.stdout.strip())
    assert end["text"].startswith(f"run {end['name']} finished after step 46; all epochs done; best val/")


def test_a_command_that_hangs_does_not_hold_up_the_end_of_a_run(user: User) -> None:
    pid_file = user.home / "pid"
    configure(user, f"echo $$ > '{pid_file}'; sleep 1000")
    done = user.run("train", "digits-mlp", "--set", "training.epochs=1", "--headless")
    assert done.returncode == 0, done.stderr
    pid = int(wait_until(lambda: pid_file.exists() and pid_file.read_text(), "the command"))
    os.kill(pid, signal.SIGKILL)  # it is still there: the run has not waited for it


def test_a_command_that_fails_is_a_line_in_the_log_of_the_worker(user: User) -> None:
    configure(user, "echo 'no such channel' >&2; exit 2")
    run = user.start()
    assert user.run("send", run, "stop").returncode == 0
    log = user.runs_dir / run / "worker.log"
    line = "notify.command: exit status 2: no such channel"
    wait_until(lambda: line in log.read_text(), "the line")
    assert log.read_text().count(line) == 1
    assert user.record(run)["status"] == "stopped"

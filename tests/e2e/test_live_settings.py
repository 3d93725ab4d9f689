"""`send RUN set KEY=VALUE`: what is changed is on record, and a resume after a kill has it."""

from __future__ import annotations

import os
import signal
import tomllib
from typing import Any

from tests.support.program_user import User, wait_until

CHANGED = ("training.clip_norm=1.0", "title=a name = with signs", "checkpoint.save_every_steps=7")


def preset_of(user: User, run: str) -> dict[str, Any]:
    return tomllib.loads((user.runs_dir / run / "preset.toml").read_text())


def test_a_changed_setting_survives_a_kill(user: User) -> None:
    run = user.start("--set", "training.log_every=1")
    answers = [user.send(run, "set", setting) for setting in CHANGED]
    assert answers[0].endswith(": training.clip_norm unset -> 1.0")
    preset = preset_of(user, run)
    assert (preset["title"], preset["training"]["clip_norm"]) == ("a name = with signs", 1.0)
    assert user.record(run)["title"] == "a name = with signs"
    last = user.lines(run, "journal.jsonl")[-1]
    newest = user.runs_dir / run / "checkpoints" / "last"
    wait_until(lambda: newest.is_symlink() and int(newest.readlink().name[5:]) >= last["step"], "the save")
    os.kill(user.worker(run), signal.SIGKILL)
    wait_until(lambda: user.record(run)["status"] == "lost", "the end")
    resumed = user.run("resume", run, "--detach")
    assert resumed.returncode == 0, resumed.stderr
    user.send(run, "stop")
    commands = [line["command"]["type"] for line in user.lines(run, "journal.jsonl")]
    assert commands == ["ChangeSetting"] * 3 + ["StopRun"]
    assert preset_of(user, run) == preset
    logged = [line for line in user.lines(run, "metrics.jsonl") if line["kind"] == "train"]
    assert all("grad_norm" in line for line in logged if line["step"] > last["step"])


def test_what_cannot_be_changed_is_refused_with_the_way_out(user: User) -> None:
    run = user.start()
    for setting, reason in (
        ("training.clip_nrom=1", "training.clip_nrom: unknown key, did you mean 'clip_norm'?"),
        ("training.epochs=9", "torchconsole resume RUN --set training.epochs=9"),
        ("data.batch_size=9", "data.batch_size never changes within a run"),
    ):
        done = user.run("send", run, "set", setting)
        assert (done.returncode, done.stdout) == (1, "")
        assert reason in done.stderr
    assert not (user.runs_dir / run / "journal.jsonl").exists()
    user.send(run, "stop")

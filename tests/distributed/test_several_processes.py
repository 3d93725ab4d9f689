"""Several processes that torchrun starts train one model, and are steered like one."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest
import torch

from tests.support.program_user import ENDLESS, User, wait_until
from tests.support.ranks import Torchrun, by_step

pytestmark = pytest.mark.timeout(900)  # some tests start five trainings one after the other

METRICS = ("train/loss", "lr", "grad_norm", "val/loss", "val/accuracy", "val/f1", "val/auroc")

IMAGES = """
title = "Images"
[data]
name = "digits"
[[data.transforms.train]]
name = "RandomCrop"
size = 8
padding = 1
[[data.transforms.train]]
name = "RandomErasing"
p = 0.5
[[model.layers]]
name = "Conv2d"
out_channels = 4
kernel_size = 3
[[model.layers]]
name = "ReLU"
[[model.layers]]
name = "Flatten"
[[model.layers]]
name = "Linear"
[loss]
l2 = 0.001
[[metrics]]
name = "Accuracy"
[[metrics]]
name = "AUROC"
[[metrics]]
name = "F1Score"
average = "macro"
[ema]
decay = 0.9
[training]
epochs = 2
log_every = 1
clip_norm = 1.0
threads = 1
"""
"""Its last batch is uneven, and with 3 processes of 32 samples some have none of it."""

SMALL = ("--set", "training.log_every=1", "--set", "training.epochs=3", "--set", "training.threads=1")


def settings(*changes: str) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


def differences(user: User, run: str, other: str) -> dict[tuple[int, str], float]:
    """Return how far the values of `run` are from all those of `other`."""
    own, others = by_step(user, run, *METRICS), by_step(user, other, *METRICS)
    assert own.keys() >= others.keys()  # a run that has ended once has one evaluation more
    return {key: abs(own[key] - others[key]) for key in others}


@pytest.mark.parametrize(
    ("processes", "in_memory"), [pytest.param(2, "true", marks=pytest.mark.quick), (3, "false")]
)
def test_losses_and_metrics_are_those_of_one_process_with_the_same_effective_batch(
    user: User, torchrun: Torchrun, processes: int, in_memory: str
) -> None:
    user.write_preset("images", IMAGES)
    more = settings(f"data.in_memory={in_memory}", "data.num_workers=0", "training.grad_accum_steps=2")
    several = torchrun.train(processes, "images", *more, *settings(f"data.batch_size={48 // processes}"))
    done = user.run("train", "images", "--headless", *more, *settings("data.batch_size=48"))
    assert done.returncode == 0, done.stderr
    (one,) = set(user.runs()) - {several}
    found = differences(user, several, one)
    assert len(found) > 90
    assert max(found.values()) < 1e-5
    state = json.loads((user.runs_dir / several / "run.json").read_text())["details"]
    assert (state["processes"], state["batch_size"]) == (processes, 96)


def test_a_recurrent_model_trains_as_in_one_process(user: User, torchrun: Torchrun) -> None:
    """Its layer computes with a list of its weights, which must stay the weights that are trained."""
    several = torchrun.train(2, "sequence-lstm", *SMALL, *settings("data.batch_size=32"))
    done = user.run("train", "sequence-lstm", "--headless", *SMALL)
    assert done.returncode == 0, done.stderr
    (one,) = set(user.runs()) - {several}
    assert max(differences(user, several, one).values()) < 1e-5


def steps_until_a_pause(user: User, run: str, *steps: str) -> int:
    """Send `step` and, once the run pauses, a change; return the steps between them."""

    def applied_at(text: str) -> int:
        found = re.match(r"applied at step ([\d,]+): ", text)
        assert found, text
        return int(found[1].replace(",", ""))

    begin = applied_at(user.send(run, "step", *steps))

    def is_paused() -> bool:
        record = user.record(run)
        return record["status"] == "paused" and record["step"] > begin

    wait_until(is_paused, "the pause")
    return applied_at(user.send(run, "lr", "x1.1")) - begin


@pytest.mark.parametrize("processes", [pytest.param(2, marks=pytest.mark.quick), 3])
def test_every_command_is_applied_by_all_processes_at_one_step(
    user: User, torchrun: Torchrun, processes: int
) -> None:
    process = torchrun.start(processes, "train", "digits-mlp", *ENDLESS)
    run = torchrun.wait_for_step(process, 3)
    paused_at, colon, effect = user.send(run, "pause").partition(": ")
    assert effect == "paused"
    for command in (["lr", "x0.5"], ["hold", "0.001"], ["save"], ["eval"], ["freeze", "layers.1"]):
        assert user.send(run, *command).startswith(paused_at + colon)
    user.send(run, "unfreeze", "layers.1")
    user.send(run, "unpause")
    assert steps_until_a_pause(user, run, "5") == 5
    assert steps_until_a_pause(user, run) == 1
    user.send(run, "unpause")
    for command in (["release"], ["freeze", "layers.4"], ["stats"], ["eval"], ["unfreeze", "layers.4"]):
        user.send(run, *command)
    torchrun.wait_for_step(process, user.last_step(run) + 20)
    user.send(run, "stop")
    status, output = torchrun.wait(process)
    assert status == 0, output
    assert user.record(run)["status"] == "stopped"


def test_a_run_that_stopped_resumes_exactly_with_as_many_processes(user: User, torchrun: Torchrun) -> None:
    """The model has dropout, which each process draws for itself."""
    undisturbed = torchrun.train(2, "digits-mlp", *SMALL)
    stopped = torchrun.train(2, "digits-mlp", *SMALL, *settings("training.max_steps=17"))
    status, output = torchrun.run(2, "resume", stopped, *settings("training.max_steps=36"))
    assert status == 0, output
    assert max(differences(user, stopped, undisturbed).values()) == 0.0
    assert "not bit-exact" not in output


def test_another_number_of_processes_keeps_the_effective_batch_or_is_refused(
    user: User, torchrun: Torchrun
) -> None:
    run = torchrun.train(2, "digits-mlp", *SMALL, *settings("training.max_steps=10", "model.dropout=0.0"))
    refused = torchrun.run(3, "resume", run, *settings("training.max_steps=20"))
    assert refused[0] != 0
    assert "its 128 samples cannot be divided by 3" in refused[1]
    resumed = user.run("resume", run, "--nproc", "1", "--headless", *settings("training.max_steps=30"))
    assert resumed.returncode == 0, resumed.stderr
    assert "data.batch_size 64 -> 128 keeps the 128 samples of all" in resumed.stdout
    assert "processes 2 -> 1" in resumed.stdout
    undisturbed = torchrun.train(
        2, "digits-mlp", *SMALL, *settings("training.max_steps=30", "model.dropout=0.0")
    )
    assert max(differences(user, run, undisturbed).values()) < 1e-5
    status, output = torchrun.run(2, "resume", run, *settings("training.max_steps=36"))
    assert status == 0, output
    assert "data.batch_size 128 -> 64" in output


def test_a_checkpoint_is_that_of_one_process_with_the_random_states_of_all(
    user: User, torchrun: Torchrun
) -> None:
    run = torchrun.train(2, "digits-mlp", *SMALL, *settings("training.max_steps=3"))
    state = torch.load(user.runs_dir / run / "checkpoints/last/state.pt", weights_only=True)
    assert not any(name.startswith("module.") for name in state["model"])
    first, second = (each["torch"] for each in state["ranks"])
    assert not torch.equal(first, second)
    assert torch.equal(first, state["random"]["torch"])
    evaluated = user.run("evaluate", run, "--json")
    assert evaluated.returncode == 0, evaluated.stderr


def test_periodic_saves_and_the_time_limit_are_decided_for_all(user: User, torchrun: Torchrun) -> None:
    limits = settings("training.max_minutes=0.05", "checkpoint.save_every_minutes=0.01")
    limits += settings("checkpoint.keep=-1", "training.eval_every=100000")
    run = torchrun.train(2, "digits-mlp", *ENDLESS, *limits)
    assert "the time is up" in user.record(run)["reason"]
    assert len(list((user.runs_dir / run / "checkpoints").glob("step-*"))) >= 3
    assert not (user.runs_dir / run / "journal.jsonl").exists()


def test_a_signal_to_any_process_saves_and_stops_all(user: User, torchrun: Torchrun) -> None:
    process = torchrun.start(2, "train", "digits-mlp", *ENDLESS)
    run = torchrun.wait_for_step(process, 3)
    os.kill(torchrun.follower(1), signal.SIGTERM)
    status, output = torchrun.wait(process)
    assert status == 0, output
    record = user.record(run)
    assert (record["status"], record["reason"]) == ("stopped", "SIGTERM")
    assert (user.runs_dir / run / "checkpoints/last/state.pt").exists()


def test_the_run_says_that_a_process_has_ended_and_keeps_its_checkpoint(
    user: User, torchrun: Torchrun
) -> None:
    process = torchrun.start(2, "train", "digits-mlp", *ENDLESS)
    run = torchrun.wait_for_step(process, 3)
    user.send(run, "save")
    os.kill(torchrun.follower(1), signal.SIGKILL)
    status, _ = torchrun.wait(process)
    assert status != 0
    record = wait_until(lambda: (r := user.record(run))["status"] != "running" and r, "the end")
    assert record["status"] in ("failed", "stopped"), record
    assert list((user.runs_dir / run / "checkpoints").glob("step-*"))


def test_the_mistake_that_one_process_finds_is_named(user: User, torchrun: Torchrun, tmp_path: Path) -> None:
    user.write_preset("own", 'title = "Own"\n[data]\nname = "data.py:Rows"\n[model]\nname = "MLP"\n')
    (user.folder / "data.py").write_text(
        "import os, torch\n"
        "class Rows(torch.utils.data.Dataset):\n"
        "    def __init__(self):\n"
        "        if os.environ['RANK'] == '1':\n"
        "            raise OSError('the disk is not mounted here')\n"
        "    def __len__(self):\n"
        "        return 64\n"
        "    def __getitem__(self, index):\n"
        "        return torch.full((4,), float(index)), index % 2\n"
    )
    status, output = torchrun.run(2, "train", "own", "--trust")
    assert status != 0
    reason = next(line for line in output.splitlines() if "process 1 on" in line)
    assert "the disk is not mounted here" in reason


def test_detached_processes_are_refused(user: User, torchrun: Torchrun) -> None:
    status, output = torchrun.run(2, "train", "digits-mlp", "--detach")
    assert status != 0
    assert "--detach: a launcher has started 2 processes to train together" in output
    assert user.runs() == []


@pytest.mark.parametrize("processes", [2, 3])
def test_a_setting_changes_in_all_processes_at_one_step_and_stays(
    user: User, torchrun: Torchrun, processes: int
) -> None:
    """Each step compares their parameters. A resume from the step of the change trains as the run did."""
    options = settings("distributed.checksum_every=1", "training.log_every=1", "schedule=[]")
    process = torchrun.start(processes, "train", "digits-mlp", *ENDLESS, *options)
    run = torchrun.wait_for_step(process, 3)
    paused_at, colon, _ = user.send(run, "pause").partition(": ")
    changed = user.send(run, "set", "training.clip_norm=0.05")
    assert changed == f"{paused_at}{colon}training.clip_norm unset -> 0.05"
    user.send(run, "set", "training.eval_every=5")
    user.send(run, "set", "training.eval_interval=step")
    refused = user.run("send", run, "set", "training.epochs=3")
    assert refused.returncode == 1
    user.send(run, "save")
    begin = user.last_step(run)
    user.send(run, "unpause")
    torchrun.wait_for_step(process, begin + 12)
    user.send(run, "stop")
    status, output = torchrun.wait(process)
    assert status == 0, output
    clipped = [step for step, name in by_step(user, run, "grad_norm")]
    end = user.record(run)["step"]
    assert clipped == list(range(begin + 1, end + 1))

    before = set(user.runs())
    more = settings(f"training.max_steps={end}")
    status, output = torchrun.run(processes, "resume", f"{run}@{begin}", *more)
    assert status == 0, output
    (again,) = set(user.runs()) - before
    # The sum over three processes depends on how torch has divided the gradients, in a first step otherwise.
    assert max(differences(user, again, run).values()) <= (0.0 if processes == 2 else 1e-5)
    evaluated = [step for step, _ in by_step(user, again, "val/loss") if step > begin]
    assert {step for step in range(begin + 1, end) if step % 5 == 0} <= set(evaluated)

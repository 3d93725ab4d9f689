"""Several processes train one model of which each holds a part."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from tests.support.program_user import ENDLESS, User, wait_until
from tests.support.ranks import Torchrun, by_step

pytestmark = pytest.mark.timeout(900)  # some tests start five trainings one after the other

METRICS = ("train/loss", "lr", "grad_norm", "val/loss", "val/ema_loss", "val/accuracy")

MODEL = """
title = "Images"
[data]
name = "digits"
[[data.transforms.train]]
name = "RandomCrop"
size = 8
padding = 1
[[model.layers]]
name = "Conv2d"
out_channels = 5
kernel_size = 3
[[model.layers]]
name = "BatchNorm2d"
[[model.layers]]
name = "ReLU"
[[model.layers]]
name = "Flatten"
[[model.layers]]
name = "Linear"
out_features = 33
[[model.layers]]
name = "Dropout"
p = {dropout}
[[model.layers]]
name = "Linear"
[loss]
l2 = 0.001
[optimizer]
name = "AdamW"
lr = 0.005
decay_norm_and_bias = false
[ema]
decay = 0.9
[distributed]
strategy = "fsdp"
[training]
epochs = 4
log_every = 1
clip_norm = 1.0
threads = 1
"""
"""With 2 or 3 processes, the parts of its weights differ in size."""

ONE_CHANNEL = MODEL.format(dropout=0.0).replace('[[model.layers]]\nname = "BatchNorm2d"\n', "")
"""The statistics of batch normalization are those of a process's own samples."""


def settings(*changes: str) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


def differences(user: User, run: str, other: str) -> dict[tuple[int, str], float]:
    """Return how far the values of `run` are from all those of `other`."""
    own, others = by_step(user, run, *METRICS), by_step(user, other, *METRICS)
    assert own.keys() >= others.keys()  # a run that has ended once has one evaluation more
    return {key: abs(own[key] - others[key]) for key in others}


def last_checkpoint(user: User, run: str) -> Path:
    return (user.runs_dir / run / "checkpoints/last").resolve()


@pytest.mark.quick
def test_losses_are_those_of_one_process_with_the_same_effective_batch(
    user: User, torchrun: Torchrun
) -> None:
    user.write_preset("images", ONE_CHANNEL)
    more = settings("training.grad_accum_steps=2", "training.epochs=8")
    several = torchrun.train(2, "images", *more, *settings("data.batch_size=48"))
    done = user.run("train", "images", "--headless", *more, *settings("data.batch_size=96"))
    assert done.returncode == 0, done.stderr
    (one,) = set(user.runs()) - {several}
    found = differences(user, several, one)
    assert max(step for step, _ in found) >= 50
    assert max(found.values()) < 1e-5
    files = {path.name for path in last_checkpoint(user, several).iterdir()}
    assert files == {"state.pt", "manifest.json", ".metadata", "__0_0.distcp", "__1_0.distcp"}


def test_a_run_that_stopped_resumes_exactly_with_as_many_processes(user: User, torchrun: Torchrun) -> None:
    """The model has dropout, which each process draws for itself, and batch normalization."""
    user.write_preset("images", MODEL.format(dropout=0.2))
    size = settings("data.batch_size=48")
    undisturbed = torchrun.train(2, "images", *size)
    stopped = torchrun.train(2, "images", *size, *settings("training.max_steps=17"))
    status, output = torchrun.run(2, "resume", stopped, *settings("training.max_steps=60"))
    assert status == 0, output
    assert max(differences(user, stopped, undisturbed).values()) == 0.0
    assert "not bit-exact" not in output


def test_another_number_of_processes_resumes_with_the_effective_batch(user: User, torchrun: Torchrun) -> None:
    user.write_preset("images", ONE_CHANNEL)
    size = settings("data.batch_size=48")
    undisturbed = torchrun.train(2, "images", *size, *settings("training.max_steps=40"))
    run = torchrun.train(2, "images", *size, *settings("training.max_steps=12"))
    alone = user.run("resume", run, "--nproc", "1", "--headless", *settings("training.max_steps=20"))
    assert alone.returncode == 0, alone.stderr
    assert "not bit-exact: the run was trained by 2 processes" in alone.stdout
    assert "data.batch_size 48 -> 96 keeps the 96 samples of all" in alone.stdout
    files = {path.name for path in last_checkpoint(user, run).iterdir()}
    assert files == {"state.pt", "manifest.json"}
    for processes, steps in ((2, 28), (3, 40)):
        status, output = torchrun.run(processes, "resume", run, *settings(f"training.max_steps={steps}"))
        assert status == 0, output
        assert f"data.batch_size {96 // (processes - 1)} -> {96 // processes}" in output
    assert max(differences(user, run, undisturbed).values()) < 1e-5


def test_one_process_may_have_a_batch_less_to_evaluate(user: User, torchrun: Torchrun) -> None:
    """It has 120 samples of the validation set, and the two others 121."""
    user.write_preset("images", MODEL.format(dropout=0.2))
    sizes = settings("data.batch_size=48", "data.val_split=362", "data.eval_batch_size=120")
    limits = settings("training.max_steps=2", "distributed.timeout=1", "training.clip_norm_type=inf")
    run = torchrun.train(3, "images", *sizes, *limits)
    evaluated = user.run("evaluate", f"{run}@last", "--json", "--weights", "model")
    metrics = json.loads(evaluated.stdout)["metrics"]
    assert metrics["val/loss"] == pytest.approx(by_step(user, run, "val/loss")[2, "val/loss"], abs=1e-6)


def test_a_kill_within_a_save_leaves_the_last_whole_checkpoint(user: User, torchrun: Torchrun) -> None:
    user.write_preset("images", MODEL.format(dropout=0.2))
    process = torchrun.start(2, "train", "images", *ENDLESS, *settings("checkpoint.save_every_steps=1"))
    run = torchrun.wait_for_step(process, 3)
    leader = user.record(run)["pid"]
    checkpoints = user.runs_dir / run / "checkpoints"

    def is_saving() -> bool:
        """Whether the leader, which is stopped then, has begun a checkpoint."""
        os.kill(leader, signal.SIGSTOP)
        if list(checkpoints.glob(".writing-*/__0_0.distcp")):
            return True
        os.kill(leader, signal.SIGCONT)
        return False

    wait_until(is_saving, "a checkpoint that is being written")
    os.kill(leader, signal.SIGKILL)
    assert torchrun.wait(process)[0] != 0
    assert list(checkpoints.glob(".writing-*"))
    newest = max(checkpoints.glob("step-*"))
    listed = json.loads(user.run("checkpoints", run, "--json").stdout)
    assert not any(each["problem"] for each in listed)
    steps = int(newest.name.removeprefix("step-")) + 3
    status, output = torchrun.run(2, "resume", run, *settings(f"training.max_steps={steps}"))
    assert status == 0, output
    assert f"resumed from {newest.name}" in output
    assert not list(checkpoints.glob(".writing-*"))
    assert user.record(run)["step"] == steps


def test_a_damaged_part_is_found_and_the_checkpoint_before_it_is_used(user: User, torchrun: Torchrun) -> None:
    user.write_preset("images", MODEL.format(dropout=0.2))
    limits = settings("training.max_steps=6", "checkpoint.save_every_steps=3", "checkpoint.keep=-1")
    run = torchrun.train(2, "images", *limits)
    part = last_checkpoint(user, run) / "__1_0.distcp"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    resumed = user.run("resume", run, "--nproc", "1", "--headless", *settings("training.max_steps=8"))
    assert resumed.returncode == 0, resumed.stderr
    assert "skipped a damaged checkpoint" in resumed.stdout
    assert "resumed from step-00000003" in resumed.stdout


@pytest.mark.quick
def test_every_command_is_applied_by_all_processes_at_one_step(user: User, torchrun: Torchrun) -> None:
    user.write_preset("images", MODEL.format(dropout=0.2))
    process = torchrun.start(2, "train", "images", *ENDLESS)
    run = torchrun.wait_for_step(process, 3)
    paused_at, colon, effect = user.send(run, "pause").partition(": ")
    assert effect == "paused"
    for command in (["lr", "x0.5"], ["hold", "0.001"], ["save"], ["eval"], ["freeze", "0"]):
        assert user.send(run, *command).startswith(paused_at + colon)
    user.send(run, "unfreeze", "0")
    user.send(run, "unpause")
    for command in (["release"], ["freeze", "4"], ["eval"], ["unfreeze", "4"], ["save"]):
        user.send(run, *command)
    refused = user.run("send", run, "stats")
    assert refused.returncode == 1
    assert "each process holds a part of every weight" in refused.stderr
    torchrun.wait_for_step(process, user.last_step(run) + 20)
    user.send(run, "stop")
    status, output = torchrun.wait(process)
    assert status == 0, output
    assert user.record(run)["status"] == "stopped"


def test_one_process_uses_the_weights_of_all(user: User, torchrun: Torchrun, tmp_path: Path) -> None:
    user.write_preset("images", MODEL.format(dropout=0.2))
    run = torchrun.train(2, "images", *settings("training.max_steps=20"))
    dcp_to_torch_save(last_checkpoint(user, run), tmp_path / "gathered.pt")
    gathered = torch.load(tmp_path / "gathered.pt", weights_only=True)
    weights = {name.removeprefix("model."): value for name, value in gathered.items() if "model." in name}
    exported = user.run("export", run, "--weights", "model", "-o", str(tmp_path / "weights.safetensors"))
    assert exported.returncode == 0, exported.stderr
    found = load_file(tmp_path / "weights.safetensors")
    assert len(weights) == 8
    assert all(torch.equal(found[name], value) for name, value in weights.items())
    evaluated = user.run("evaluate", f"{run}@20", "--json", "--weights", "model")
    assert evaluated.returncode == 0, evaluated.stderr
    metrics = json.loads(evaluated.stdout)["metrics"]
    assert metrics["val/loss"] == pytest.approx(by_step(user, run, "val/loss")[20, "val/loss"], abs=1e-6)
    warm = user.run("train", "images", "--from", run, "--headless", *settings("training.max_steps=1"))
    assert warm.returncode == 0, warm.stderr
    assert "tensors loaded from" in warm.stdout


def test_the_best_weights_are_restored_to_all_processes(user: User, torchrun: Torchrun) -> None:
    user.write_preset("images", MODEL.format(dropout=0.2))
    worse = settings("optimizer.lr=0.3", "training.clip_norm=100", "early_stopping.patience=2")
    run = torchrun.train(2, "images", *worse, *settings("early_stopping.restore_best=true"))
    record = user.record(run)
    best = record["best"]
    assert best["step"] < record["step"]
    assert f"the weights are those of step {best['step']}" in record["reason"]
    evaluated = user.run("evaluate", f"{run}@last", "--json", "--weights", "model")
    metrics = json.loads(evaluated.stdout)["metrics"]
    assert metrics["val/loss"] == pytest.approx(best["value"], abs=1e-6)
    more = settings("training.epochs=8", f"training.max_steps={record['step'] + 3}")
    status, output = torchrun.run(2, "resume", run, *more)
    assert status == 0, output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("distributed.cpu_offload=true", "this training runs on the CPU; set it to false"),
        ("optimizer={name='Rprop', lr=0.01}", "Rprop has no step for sharded weights"),
    ],
)
def test_what_cannot_be_sharded_is_refused(user: User, torchrun: Torchrun, change: str, message: str) -> None:
    user.write_preset("images", MODEL.format(dropout=0.2))
    status, output = torchrun.run(2, "train", "images", *settings(change))
    assert status != 0
    assert message in output

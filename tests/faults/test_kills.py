"""SIGKILL at every moment of a run: what is resumed is to the last bit the run that was never killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.fault_counts import every
from tests.support.fault_runs import STEPS, STEPS_PER_EPOCH, SUBJECT, Outcome, Runs
from tests.support.runs import lines_of, wait_until
from tests.support.subject import KILL_IN

Tally = Callable[[str], None]

HALVE: dict[str, Any] = {"type": "SetLearningRate", "factor": 0.5}
PAUSE, GO_ON, SAVE = {"type": "PauseRun"}, {"type": "UnpauseRun"}, {"type": "SaveCheckpoint"}
SCRIPT: dict[str, list[Any]] = {
    "log@4": [HALVE],
    "log@9": [PAUSE, GO_ON],
    "log@13": [PAUSE, HALVE, SAVE, GO_ON],
}
"""What people do to the run: it changes the course, and so it must not be lost."""


@pytest.fixture(scope="module")
def whole_runs() -> dict[tuple[str, ...], Outcome]:
    return {}


@pytest.fixture
def whole(runs: Runs, whole_runs: dict[tuple[str, ...], Outcome]) -> Callable[..., Outcome]:
    """The outcome of the run that nobody killed."""

    def outcome(*overrides: str, script: dict[str, Any] | None = None) -> Outcome:
        key = (*overrides, *(script or {}))
        if key not in whole_runs:
            whole_runs[key] = runs.finish(runs.make(*overrides), script=script)
        return whole_runs[key]

    return outcome


def test_killed_at_every_step_and_resumed_with_other_loader_workers(
    runs: Runs, whole: Callable[..., Outcome], tally: Tally
) -> None:
    expected = whole(script=SCRIPT)
    assert [step for step, _ in expected.losses] == [*range(1, STEPS + 1)]
    steps = every(range(1, STEPS + 1))
    for step in steps:
        folder = runs.make(f"data.num_workers={(0, 1, 3)[step % 3]}")
        runs.kill(folder, f"log@{step}", SCRIPT)
        runs.change(folder, f"data.num_workers={(0, 1, 3)[(step + 1) % 3]}")
        assert runs.resume(folder, SCRIPT) == expected, f"killed at step {step}"
    tally(f"1, 15, 19, 20: killed at {len(steps)} of {STEPS} steps, resumed bit-identically")


EVERYTHING = (
    f"data.name={SUBJECT}:in_memory",
    'data.transforms.batch=[{ name = "MixUp", alpha = 0.4 }]',
    "ema.decay=0.9",
    "training.precision=fp16",
    "training.grad_accum_steps=4",
    "training.clip_norm=1.0",
    "checkpoint.save_every_steps=1",
)
"""Images in memory, transformed in whole batches and mixed; a scaler, averaged weights, and groups of batches
that an epoch's end cuts short."""

BATCHES = 18


def test_killed_in_every_batch_with_all_techniques_at_once(
    runs: Runs, whole: Callable[..., Outcome], tally: Tally
) -> None:
    """Also in mid-accumulation: the group's batches are all trained again."""
    expected = whole(*EVERYTHING)
    batches = every(range(1, BATCHES + 1))
    for batch in batches:
        folder = runs.make(*EVERYTHING)
        assert runs.start(folder, **{KILL_IN: f"train {batch}"})
        assert runs.wait() == -9, folder.log_file.read_text()
        assert runs.resume(folder) == expected, f"killed in batch {batch}"
    tally(
        f"1, 17: killed in {len(batches)} of {BATCHES} batches with a scaler, accumulation, EMA and MixUp, "
        "resumed bit-identically"
    )


@pytest.mark.parametrize("kill", ["EpochCompleted@6", "EvaluationCompleted@6", "CommandApplied@6", "log@7"])
def test_killed_around_the_end_of_an_epoch(
    runs: Runs, whole: Callable[..., Outcome], kill: str, tally: Tally
) -> None:
    folder = runs.make("checkpoint.save_every_steps=1")
    runs.kill(folder, kill, {"log@6": [SAVE]})
    assert runs.resume(folder) == whole()
    tally(f"17: killed at {kill}, with a checkpoint at every step: no batch repeated, none left out")


def test_killed_in_an_evaluation_with_a_save_asked_for(
    runs: Runs, whole: Callable[..., Outcome], tally: Tally
) -> None:
    """All of the evaluation runs again after the resume."""
    folder = runs.make("data.eval_batch_size=4")
    asked = {f"EpochCompleted@{STEPS_PER_EPOCH}": [SAVE]}
    assert runs.start(folder, script=asked, **{KILL_IN: "eval 4"})
    assert runs.wait() == -9
    outcome = runs.resume(folder)
    assert outcome == whole("data.eval_batch_size=4")
    assert [step for step, _ in outcome.evaluations] == [6, 12, 18]
    tally("18: killed in the 4th of 6 batches of an evaluation: all of it again")


def test_an_lr_that_was_changed_outlives_a_kill(
    runs: Runs, whole: Callable[..., Outcome], tally: Tally
) -> None:
    """Nobody has to save for it."""
    folder = runs.make("checkpoint.save_every_steps=1000")
    runs.kill(folder, "CheckpointSaved@4", {"log@4": [HALVE, PAUSE]})
    assert runs.resume(folder) == whole(script={"log@4": [HALVE]})
    tally("19: lr changed and killed before any other save: resumed with the change")


def test_paused_saved_killed_is_as_never_paused(
    runs: Runs, whole: Callable[..., Outcome], tally: Tally
) -> None:
    folder = runs.make("checkpoint.save_every_steps=1000")
    pid = runs.start(folder, script={"log@9": [PAUSE, SAVE]})
    wait_until((folder.checkpoints / "step-00000009" / "manifest.json").exists, "the checkpoint")
    os.kill(pid, signal.SIGKILL)
    assert runs.wait() == -9
    assert runs.resume(folder) == whole()
    tally("20: paused, saved, killed, resumed: as never paused")


def test_killed_before_its_first_checkpoint_it_starts_again(
    runs: Runs, whole: Callable[..., Outcome]
) -> None:
    folder = runs.make("checkpoint.save_every_steps=1000")
    runs.kill(folder, "log@3")
    assert runs.resume(folder) == whole()
    [resumed] = [line for line in lines_of(folder.metrics_file) if line["kind"] == "resumed"]
    assert resumed["step"] == 0

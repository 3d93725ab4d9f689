"""SIGKILL at every moment of a run: the resumed run is bit-identical to one that was never killed."""

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
PAUSE, UNPAUSE, SAVE = {"type": "PauseRun"}, {"type": "UnpauseRun"}, {"type": "SaveCheckpoint"}
SCRIPT: dict[str, list[Any]] = {
    "log@4": [HALVE],
    "log@9": [PAUSE, UNPAUSE],
    "log@13": [PAUSE, HALVE, SAVE, UNPAUSE],
}
"""Changes that influence the results, so they must not be lost."""


@pytest.fixture(scope="module")
def outcomes() -> dict[tuple[str, ...], Outcome]:
    return {}


@pytest.fixture
def undisturbed(runs: Runs, outcomes: dict[tuple[str, ...], Outcome]) -> Callable[..., Outcome]:
    """Return the outcome of the same run without a kill."""

    def outcome(*overrides: str, script: dict[str, Any] | None = None) -> Outcome:
        key = (*overrides, *(script or {}))
        if key not in outcomes:
            outcomes[key] = runs.finish(runs.make(*overrides), script=script)
        return outcomes[key]

    return outcome


def test_a_kill_at_any_step_changes_nothing_even_with_other_loader_workers(
    runs: Runs, undisturbed: Callable[..., Outcome], tally: Tally
) -> None:
    expected = undisturbed(script=SCRIPT)
    assert [step for step, _ in expected.losses] == [*range(1, STEPS + 1)]
    steps = every(range(1, STEPS + 1))
    for step in steps:
        folder = runs.make(f"data.num_workers={(0, 1, 3)[step % 3]}")
        runs.kill(folder, f"log@{step}", SCRIPT)
        runs.change(folder, f"data.num_workers={(0, 1, 3)[(step + 1) % 3]}")
        assert runs.resume(folder, SCRIPT) == expected, f"killed at step {step}"
    tally(f"killed at {len(steps)} of {STEPS} steps, resumed bit-identically")


ALL_TECHNIQUES = (
    f"data.name={SUBJECT}:in_memory",
    'data.transforms.batch=[{ name = "MixUp", alpha = 0.4 }]',
    "ema.decay=0.9",
    "training.precision=fp16",
    "training.grad_accum_steps=4",
    "training.clip_norm=1.0",
    "checkpoint.save_every_steps=1",
)
"""Images in memory, batch transforms with MixUp, a gradient scaler, averaged weights, and accumulation over
groups of batches, of which the last in each epoch is shorter."""

BATCHES = 18


def test_a_kill_in_any_batch_changes_nothing_with_all_techniques(
    runs: Runs, undisturbed: Callable[..., Outcome], tally: Tally
) -> None:
    """If the kill comes during an accumulation, all batches of the group are trained again."""
    expected = undisturbed(*ALL_TECHNIQUES)
    batches = every(range(1, BATCHES + 1))
    for batch in batches:
        folder = runs.make(*ALL_TECHNIQUES)
        assert runs.start(folder, **{KILL_IN: f"train {batch}"})
        assert runs.wait() == -9, folder.log_file.read_text()
        assert runs.resume(folder) == expected, f"killed in batch {batch}"
    tally(
        f"killed in {len(batches)} of {BATCHES} batches with a scaler, accumulation, EMA and MixUp, "
        "resumed bit-identically"
    )


@pytest.mark.parametrize("kill", ["EpochCompleted@6", "EvaluationCompleted@6", "CommandApplied@6", "log@7"])
def test_a_kill_around_the_end_of_an_epoch_repeats_and_skips_no_batch(
    runs: Runs, undisturbed: Callable[..., Outcome], kill: str, tally: Tally
) -> None:
    folder = runs.make("checkpoint.save_every_steps=1")
    runs.kill(folder, kill, {"log@6": [SAVE]})
    assert runs.resume(folder) == undisturbed()
    tally(f"killed at {kill}, with a checkpoint at every step: no batch repeated, none skipped")


def test_an_evaluation_that_was_killed_is_repeated_in_full(
    runs: Runs, undisturbed: Callable[..., Outcome], tally: Tally
) -> None:
    """A save was requested during the evaluation."""
    folder = runs.make("data.eval_batch_size=4")
    script = {f"EpochCompleted@{STEPS_PER_EPOCH}": [SAVE]}
    assert runs.start(folder, script=script, **{KILL_IN: "eval 4"})
    assert runs.wait() == -9
    outcome = runs.resume(folder)
    assert outcome == undisturbed("data.eval_batch_size=4")
    assert [step for step, _ in outcome.evaluations] == [6, 12, 18]
    tally("killed in batch 4 of 6 of an evaluation: repeated in full")


def test_a_changed_lr_survives_a_kill(runs: Runs, undisturbed: Callable[..., Outcome], tally: Tally) -> None:
    """The change itself triggers a save."""
    folder = runs.make("checkpoint.save_every_steps=1000")
    runs.kill(folder, "CheckpointSaved@4", {"log@4": [HALVE, PAUSE]})
    assert runs.resume(folder) == undisturbed(script={"log@4": [HALVE]})
    tally("lr changed, then killed before any other save: resumed with the change")


def test_a_pause_and_a_save_before_the_kill_change_nothing(
    runs: Runs, undisturbed: Callable[..., Outcome], tally: Tally
) -> None:
    folder = runs.make("checkpoint.save_every_steps=1000")
    pid = runs.start(folder, script={"log@9": [PAUSE, SAVE]})
    wait_until((folder.checkpoints / "step-00000009" / "manifest.json").exists, "the checkpoint")
    os.kill(pid, signal.SIGKILL)
    assert runs.wait() == -9
    assert runs.resume(folder) == undisturbed()
    tally("paused, saved, killed, resumed: bit-identical to a run that was never paused")


def test_a_run_killed_before_its_first_checkpoint_starts_again(
    runs: Runs, undisturbed: Callable[..., Outcome]
) -> None:
    folder = runs.make("checkpoint.save_every_steps=1000")
    runs.kill(folder, "log@3")
    assert runs.resume(folder) == undisturbed()
    [resumed] = [line for line in lines_of(folder.metrics_file) if line["kind"] == "resumed"]
    assert resumed["step"] == 0

"""What is told about runs out of view, and the title of the window."""

from __future__ import annotations

from dataclasses import replace

import pytest

from torchconsole.engine.protocol.info import Best
from torchconsole.engine.protocol.run_state import RunState
from torchconsole.engine.run.record import RunRecord
from torchconsole.tui.attention import Attention, SeenRun, window_title

LIVE = SeenRun("/runs/a", "a", "running", "", 100, 0.25, 0.12345, ("val/loss", 0.5, 50), is_live=True)
ENDED = replace(LIVE, status="finished", reason="all epochs done", is_live=False, step=400, progress=1.0)
BETTER = replace(LIVE, best=("val/loss", 0.25, 90))


def told(*looks: SeenRun, in_view: str = "", is_away: bool = False, every: float = 1.0) -> list[str]:
    attention = Attention()
    found = []
    for number, run in enumerate(looks):
        found += attention.look([run], in_view, is_away=is_away, now=number * every)
    return found


def test_the_end_of_a_run_out_of_view_is_told_once() -> None:
    text = "run a finished after step 400; all epochs done; best val/loss 0.5000 at step 50"
    assert told(LIVE, LIVE, ENDED, ENDED) == [text]
    assert told(LIVE, ENDED, in_view="/runs/b") == [text]


def test_a_run_that_is_looked_at_is_not_told_unless_nobody_is_there() -> None:
    assert told(LIVE, BETTER, ENDED, in_view="/runs/a") == []
    assert len(told(LIVE, ENDED, in_view="/runs/a", is_away=True)) == 1


def test_a_run_that_had_ended_before_is_not_told() -> None:
    assert told(ENDED, ENDED) == []


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        ("failed", "the loss was not finite at step 7", "run a has diverged after step 400; the loss was"),
        ("failed", "out of memory", "run a failed after step 400; out of memory"),
        ("lost", "killed by SIGKILL", "run a lost after step 400; killed by SIGKILL"),
    ],
)
def test_how_a_run_has_failed_is_said(status: str, reason: str, words: str) -> None:
    (text,) = told(LIVE, replace(ENDED, status=status, reason=reason))
    assert text.startswith(words)


def test_a_new_best_is_told_but_not_often() -> None:
    best = [replace(LIVE, best=("val/loss", 1 / number, number)) for number in range(1, 30)]
    assert told(replace(LIVE, best=None), best[0]) == []
    assert told(LIVE, BETTER, BETTER) == ["run a has a new best val/loss 0.2500 at step 90"]
    assert len(told(*best, every=60.0)) == 3


@pytest.mark.parametrize(
    ("run", "title"),
    [
        (None, "torchconsole"),
        (LIVE, "25% loss 0.123 · a"),
        (replace(LIVE, status="paused", loss=None), "25% paused · a"),
        (replace(LIVE, progress=None), "step 100 loss 0.123 · a"),
        (ENDED, "finished · a"),
    ],
)
def test_the_title_has_percent_and_loss(run: SeenRun | None, title: str) -> None:
    assert window_title(run) == title


def test_a_state_and_a_record_of_a_run_tell_the_same() -> None:
    best = Best(metric="val/loss", value=0.5, step=3)
    state = RunState(name="a", folder="/runs/a", status="running", step=5, total_steps=10, best=best)
    record = RunRecord("a", "/runs/a", status="running", step=5, total_steps=10, best=best.model_dump())  # type: ignore[arg-type]
    assert SeenRun.of_state(state) == SeenRun.of_record(record)

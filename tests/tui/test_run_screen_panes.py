"""The panes of the run screen: chosen, enlarged, scrolled, and the log as the story of the run."""

from __future__ import annotations

import pytest

from tests.tui.scripted import BEGINNING, NOON, ScriptedRun, epochs, running
from tests.tui.watching import watching
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import SetLearningRate

FINISHED = ev.RunFinished(status="finished", reason="all 60 epochs done", step=1380, epoch=60, time=NOON)


@pytest.mark.parametrize(
    ("key", "pane"),
    [("1", "BatchNorm2d"), ("2", "training on cuda:0"), ("3", "lr x0.5"), ("tab", "training on")],
)
async def test_number_keys_choose_the_pane(key: str, pane: str) -> None:
    change = ev.CommandApplied(id="1", command=SetLearningRate(factor=0.5), step=40, by="me@pts/1", time=NOON)
    async with watching(ScriptedRun(*BEGINNING, change)) as console:
        await console.press(key)
        await console.shows(pane)


async def test_a_pane_chosen_twice_is_enlarged_and_back() -> None:
    async with watching(running()) as console:
        before = console.text
        await console.press("1")
        await console.shows("total", "classifier")
        assert "early stopping" not in console.text
        await console.press("1")
        assert console.text == before


def changes(count: int) -> list[ev.Event]:
    """So many changes of the lr."""
    return [
        ev.CommandApplied(
            id=str(step),
            command=SetLearningRate(factor=0.5),
            step=step,
            by="me@pts/1",
            detail=f"lr {step} -> {step / 2}",
            time=NOON,
        )
        for step in range(1, count + 1)
    ]


async def test_interventions_stay_at_the_newest_until_they_are_scrolled() -> None:
    async with watching(ScriptedRun(*BEGINNING, *changes(60))) as console:
        await console.press("3")
        await console.shows("lr 60 -> 30.0", "15:06:40  me@pts/1")
        for width, height in ((120, 40), (80, 24), (100, 30)):
            await console.pilot.resize_terminal(width, height)
            await console.shows("lr 60 -> 30.0", "15:06:40  me@pts/1")
        await console.press("3")
        await console.shows("lr 60 -> 30.0", "lr 42 -> 21.0")
        await console.press("pageup", "pageup")
        await console.until(lambda: "lr 60 ->" not in console.text)
        await console.press("3")
        console.run.say(*changes(61)[60:])
        await console.settle()
        assert "lr 6" not in console.text
        await console.press("end")
        await console.shows("lr 61 -> 30.5")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_an_enlarged_pane_has_the_screen_for_itself(size: tuple[int, int]) -> None:
    async with watching(ScriptedRun(*BEGINNING, *changes(60)), size=size) as console:
        before = console.text
        await console.press("3")
        await console.press("3")
        await console.shows("lr 60 -> 30.0", f"lr {60 - size[1] + 8} ->")
        assert "BatchNorm2d" not in console.text
        await console.press("2")
        await console.shows("step 60: lr 60 -> 30.0 · by me@pts/1")
        assert "15:06:40  me@pts/1" not in console.text
        await console.press("2", "1")
        assert console.text == before


async def test_the_log_is_the_story_of_the_run() -> None:
    async with watching(ScriptedRun(), size=(100, 40)) as console:
        changed = ev.CommandApplied(
            id="1",
            command=SetLearningRate(factor=0.5),
            step=40,
            by="me@pts/1",
            detail="lr 1 -> 0.5",
            time=NOON,
        )
        loading = ev.PhaseChanged(phase="loading data", time=NOON)
        console.run.say(loading, *BEGINNING, *epochs(1, 2), changed, FINISHED)
        await console.press("2")
        await console.shows(
            "15:06:40 loading data",
            "15:06:40 training on cuda:0",
            "15:06:40 training begins",
            "15:06:40 step 23: val/loss 1.9102, val/accuracy 0.3633",
            "15:06:40 step 23: saved step-00000023 (best)",
            "15:06:40 step 40: lr 1 -> 0.5 · by me@pts/1",
            "15:06:40 finished: all 60 epochs done",
        )


async def test_the_log_of_a_run_in_files_is_told_as_far_as_they_go() -> None:
    changed = ev.CommandApplied(
        id="1", command=SetLearningRate(factor=0.5), step=40, by="me@pts/1", detail="lr 1 -> 0.5", time=NOON
    )
    printed = "2025-06-15 15:06:40,123 ERROR no room\nTraceback (most recent call last):".splitlines()
    failed = ev.RunFailed(reason="no room", time=NOON + 60)
    logged = [ev.LogWritten(message=line, time=NOON) for line in printed]
    run = ScriptedRun(*logged, *epochs(1, 2), changed, failed, live=False)
    async with watching(run, size=(100, 40)) as console:
        await console.press("2")
        await console.shows(
            "15:06:40 error: no room", "15:06:40 Traceback", "15:07:40 error: failed: no room"
        )
        told = [
            console.text.index(words) for words in ("run created", "step 23: val", "lr 1 ->", "step 46: val")
        ]
        assert told == sorted(told)


async def test_a_wide_screen_shows_all_panes_at_once() -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2)), size=(120, 40)) as console:
        await console.shows("BatchNorm2d", "training on cuda:0", "nothing was changed during this run")

"""The panes of the run screen: choosing, enlarging and scrolling them, and what they show."""

from __future__ import annotations

import pytest

from tests.support.scripted import BEGINNING, NOON, ScriptedRun, epochs, running
from tests.support.watching import watching
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import RunEvaluation, SetLearningRate
from torchconsole.engine.protocol.info import ConfusionMatrix

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


async def test_choosing_a_pane_again_enlarges_it_and_restores_it() -> None:
    async with watching(running()) as console:
        before = console.text
        await console.press("1")
        await console.shows("total", "classifier")
        assert "early stopping" not in console.text
        await console.press("1")
        assert console.text == before


def changes(count: int) -> list[ev.Event]:
    """Return `count` changes of the lr."""
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


async def test_the_changes_follow_the_newest_until_they_are_scrolled() -> None:
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
        console.run.emit(*changes(61)[60:])
        await console.settle()
        assert "  lr 6" not in console.text
        await console.press("end")
        await console.shows("  lr 61 -> 30.5")


@pytest.mark.parametrize("width", [40, 80, 120, 200])
async def test_a_long_change_is_wrapped_completely(width: int) -> None:
    """In a pane of any width; the author is on a line below if there is no room at the right."""
    metrics = ", ".join(f"val/metric_{number} 0.{number}" for number in range(1, 7))
    evaluated = ev.CommandApplied(
        id="1", command=RunEvaluation(), step=40, by="me@pts/1", detail=metrics, time=NOON
    )
    async with watching(ScriptedRun(*BEGINNING, evaluated), size=(width, 40)) as console:
        await console.press("3")
        await console.press("3")
        await console.shows("step 40", *metrics.split(), "15:06:40  me@pts/1")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_an_enlarged_pane_uses_the_whole_screen(size: tuple[int, int]) -> None:
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


async def test_the_log_shows_the_events_of_the_run() -> None:
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
        console.run.emit(loading, *BEGINNING, *epochs(1, 2), changed, FINISHED)
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


async def test_the_log_of_an_ended_run_is_rebuilt_from_its_files() -> None:
    changed = ev.CommandApplied(
        id="1", command=SetLearningRate(factor=0.5), step=40, by="me@pts/1", detail="lr 1 -> 0.5", time=NOON
    )
    printed = [("error", "no room"), ("info", "Traceback (most recent call last):")]
    failed = ev.RunFailed(reason="no room", time=NOON + 60)
    logged = [ev.LogWritten(level=level, message=line, time=NOON) for level, line in printed]
    run = ScriptedRun(*logged, *epochs(1, 2), changed, failed, live=False)
    async with watching(run, size=(100, 40)) as console:
        await console.press("2")
        await console.shows(
            "15:06:40 error: no room", "15:06:40 Traceback", "15:07:40 error: failed: no room"
        )
        positions = [
            console.text.index(words) for words in ("run created", "step 23: val", "lr 1 ->", "step 46: val")
        ]
        assert positions == sorted(positions)


async def test_a_wide_screen_shows_all_panes_at_once() -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2)), size=(120, 40)) as console:
        await console.shows("BatchNorm2d", "training on cuda:0", "no changes to this run")


def evaluated(classes: list[str], step: int = 23) -> ev.EvaluationCompleted:
    """Return an evaluation in which ten samples of each class are mistaken for the next class."""
    counts: list[list[int | float]] = [[0] * len(classes) for _ in classes]
    for number in range(len(classes)):
        counts[number][number] = 90 + number
        counts[number][(number + 1) % len(classes)] = 10
    confusion = ConfusionMatrix(classes=classes, counts=counts)
    metrics = {"val/loss": 0.5}
    return ev.EvaluationCompleted(
        step=step, epoch=1, metrics=metrics, seconds=0.1, confusion=confusion, time=NOON
    )


async def test_the_confusion_matrix_has_the_class_names_of_the_data() -> None:
    async with watching(ScriptedRun(*BEGINNING), size=(80, 24)) as console:
        await console.press("4")
        await console.shows("no confusion matrix: not evaluated yet")
        console.run.emit(evaluated(["cat", "dog", "\x1b[31mowl"]))
        await console.press("4")
        await console.shows(
            "true \\ predicted  cat  dog  \\x1b[31mowl",
            "cat                90   10            ·",
            "dog                 ·   91           10",
            "\\x1b[31mowl        10    ·           92",
            "after step 23",
        )


async def test_a_normalized_confusion_matrix_shows_shares() -> None:
    confusion = ConfusionMatrix(classes=["no", "yes"], counts=[[0.75, 0.25], [0.0, 1.0]])
    event = ev.EvaluationCompleted(step=1, epoch=1, metrics={}, seconds=0.1, confusion=confusion, time=NOON)
    async with watching(ScriptedRun(*BEGINNING, event), size=(80, 24)) as console:
        await console.press("4")
        await console.shows("no                0.75  0.25", "yes                  ·  1.00")


async def test_a_large_confusion_matrix_scrolls_both_ways_and_keeps_the_class_names_visible() -> None:
    names = [f"class {number}" for number in range(40)]
    async with watching(ScriptedRun(*BEGINNING, evaluated(names)), size=(80, 24)) as console:
        await console.press("4")
        await console.press("4")
        await console.shows("true \\ predicted  class 0  class 1", "class 9   ")
        assert "class 39" not in console.text
        await console.press("end")
        await console.until(lambda: "class 39   " in console.text and "after step 23" in console.text)
        await console.press_at_once(*["right"] * 400)
        await console.shows("class 38  class 39", "129", "true \\ predicted")


async def test_side_by_side_the_matrix_replaces_the_layers() -> None:
    async with watching(ScriptedRun(*BEGINNING, evaluated(["cat", "dog"])), size=(120, 40)) as console:
        await console.shows("1 layers  4 confusion", "BatchNorm2d")
        await console.press("4")
        await console.shows("1 layers  4 confusion", "cat                90   10", "training on")
        assert "BatchNorm2d" not in console.text
        await console.press("2")
        await console.shows("cat                90   10")
        await console.press("1")
        await console.shows("BatchNorm2d")

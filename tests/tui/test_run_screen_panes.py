"""The panes of the run screen: choosing, enlarging and scrolling them, and what they show."""

from __future__ import annotations

import pytest

from tests.support.scripted import BEGINNING, NOON, TELEMETRY, ScriptedRun, epochs, running
from tests.support.watching import watching
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import RunEvaluation, SetLearningRate, UnpauseRun
from torchconsole.engine.protocol.info import StepTimes
from torchconsole.tui import themed_app

FINISHED = ev.RunFinished(status="finished", reason="all 60 epochs done", step=1380, epoch=60, time=NOON)


@pytest.mark.parametrize(
    ("key", "pane"),
    [
        ("2", "training on cuda:0"),
        ("3", "lr x0.5"),
        ("4", "Not evaluated yet"),
        ("5", "BatchNorm2d"),
        ("6", "AMD EPYC 9654"),
        ("7", "no checkpoint yet"),
        ("8", "early_stopping.patience"),
        ("tab", "training on"),
    ],
)
async def test_number_keys_choose_the_pane(key: str, pane: str) -> None:
    change = ev.CommandApplied(id="1", command=SetLearningRate(factor=0.5), step=40, by="me@pts/1", time=NOON)
    async with watching(ScriptedRun(*BEGINNING, change)) as console:
        await console.press(key)
        await console.shows(pane)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (40, 12), (200, 60)], ids="{0[0]}x{0[1]}".format)
async def test_a_pane_is_enlarged_by_its_key_and_left_by_escape(size: tuple[int, int]) -> None:
    async with watching(running(), size=size) as console:
        before = console.text
        await console.press("5")
        opened = console.text
        await console.shows("Conv2d")
        await console.press("5")
        await console.shows("Conv2d")
        assert size[0] < 100 or "train 0." not in console.text
        if size[0] >= 100:  # on smaller terminals, the pane has all room from the start
            await console.press("escape")
        assert console.text == opened
        await console.press("5", "5")
        assert console.text == opened
        await console.press("escape")
        assert console.text == before
        await console.press("escape")
        assert console.text == before


async def test_a_pane_leaves_a_strip_of_the_losses_visible() -> None:
    async with watching(running(), size=(120, 40)) as console:
        await console.press("2")
        await console.shows("training on cuda:0", "train 0.7029", "val 0.8029")
        await console.press("2")
        assert "val 0.8029" not in console.text


async def test_the_charts_are_enlarged_too() -> None:
    async with watching(running(), size=(120, 40)) as console:
        before = console.text
        await console.press("1")
        await console.shows("train 0.7029")
        assert "early stopping" not in console.text
        await console.press("escape")
        assert console.text == before


async def test_keys_that_steer_work_in_every_pane() -> None:
    async with watching(running(), size=(120, 40)) as console:
        for key in "2345678":
            await console.press(key, "s")
        assert len(console.run.commands) == 7


async def test_a_click_on_a_tab_opens_its_pane() -> None:
    async with watching(running(), size=(120, 40)) as console:
        column = console.text.splitlines()[1].index("5 model")
        await console.pilot.click("#message", offset=(column + 1, 0))
        await console.shows("BatchNorm2d")


async def test_a_click_on_what_stands_in_place_of_the_tabs_opens_no_pane() -> None:
    async with watching(running(), size=(80, 24)) as console:
        await console.pilot.click("#message", offset=(12, 0))
        await console.settle()
        assert console.app.run_screen.pane == "charts"


async def test_a_click_on_a_key_that_a_message_names_is_that_key() -> None:
    paused = (ev.RunPaused(step=0), ev.PhaseChanged(phase="paused", time=NOON))
    async with watching(ScriptedRun(*BEGINNING, *paused), size=(120, 40)) as console:
        await console.shows("‖ paused at step 0")
        line = next(y for y, text in enumerate(console.text.splitlines()) if "space unpause" in text)
        await console.pilot.click(offset=(console.text.splitlines()[line].index("unpause"), line))
        await console.until(lambda: console.run.commands == [UnpauseRun()])


async def test_a_click_on_a_key_that_the_banner_names_is_that_key() -> None:
    failed = ev.RunFailed(reason="ValueError: no", time=NOON)
    async with watching(ScriptedRun(*BEGINNING, failed, live=False), size=(120, 40)) as console:
        await console.shows("2 log")
        lines = console.text.splitlines()
        line = next(y for y, text in enumerate(lines) if y > 1 and "2 log" in text)
        await console.pilot.click(offset=(lines[line].index("2 log") + 3, line))
        await console.until(lambda: console.app.run_screen.pane == "log")


@pytest.mark.parametrize(
    ("panel", "pane"),
    [("device-panel", "device"), ("log", "log"), ("classes-panel", "classes")],
)
async def test_a_double_click_on_a_panel_opens_its_pane(panel: str, pane: str) -> None:
    async with watching(running(), size=(200, 60)) as console:
        await console.pilot.click(f"#{panel}")
        assert console.app.run_screen.pane == "charts"
        await console.pilot.click(f"#{panel}", times=2)
        assert console.app.run_screen.pane == pane
        assert console.app.run_screen.query_one(f"#{pane}").display


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
        await console.shows("lr 60 -> 30.0", "15:06:40 step 60", "me@pts/1")
        for width, height in ((120, 40), (80, 24), (100, 30)):
            await console.pilot.resize_terminal(width, height)
            await console.shows("lr 60 -> 30.0", "15:06:40 step 60", "me@pts/1")
        await console.shows("lr 60 -> 30.0", "lr 52 -> 26.0")
        await console.press("pageup", "pageup")
        await console.until(lambda: "lr 60 ->" not in console.text)
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
        await console.shows("15:06:40 step 40", *metrics.split(), "me@pts/1")


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
            "15:06:40 · loading data",
            "15:06:40   training on cuda:0",
            "15:06:40 · training begins",
            "15:06:40 • step 23      val/loss  1.9102  val/accuracy  0.3633",
            "15:06:40 ★ step 23      saved step-00000023",
            "15:06:40 ◆ step 40      lr 1 -> 0.5",
            "by me@pts/1",
            "15:06:40 ■ finished: all 60 epochs done",
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
        await console.shows("15:06:40 ✗ no room", "15:06:40   Traceback", "15:07:40 ✗ failed: no room")
        positions = [
            console.text.index(words) for words in ("run created", "• step 23", "lr 1 ->", "• step 46")
        ]
        assert positions == sorted(positions)


async def test_a_screen_of_normal_size_shows_the_newest_lines_of_the_log() -> None:
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2)), size=(120, 40)) as console:
        await console.shows("saved step-00000046", "best")


@pytest.mark.parametrize("variable", ["NO_COLOR", "signs"])
async def test_the_device_pane_uses_letters_without_colors_or_signs(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
    else:
        monkeypatch.setattr(themed_app, "ascii_encoding", lambda: "ascii")
    times = StepTimes(parts={"data_wait": 0.01, "forward": 0.03, "backward": 0.06})
    run = ScriptedRun(*BEGINNING)
    async with watching(run, size=(120, 40)) as console:
        run.emit(ev.TelemetryMeasured(telemetry=TELEMETRY.model_copy(update={"step_times": times})))
        await console.press("6")
        await console.shows("dddd", "ffff", "bbbb", "b backward 60 %")

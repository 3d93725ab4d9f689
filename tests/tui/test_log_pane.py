"""The log pane: searching, filtering, following, and the traceback after a failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.scripted import BEGINNING, NOON, ScriptedRun, running
from tests.support.watching import Console, watching
from tests.unit.tui.test_traceback_lines import PLAIN
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.info import Best
from torchconsole.tui.run_log import Entry
from torchconsole.tui.widgets import log_pane
from torchconsole.tui.widgets.log_pane import LogPane


def written(*messages: str, level: ev.LogLevel = "info") -> list[ev.Event]:
    """Return events of the log."""
    return [ev.LogWritten(level=level, message=message, time=NOON) for message in messages]


def pane(console: Console) -> LogPane:
    """Return the pane."""
    return console.app.run_screen.query_one(LogPane)


async def test_words_are_searched_and_n_goes_from_match_to_match() -> None:
    lines = written(*(f"line {number} {'needle' * (number % 10 == 3)}" for number in range(60)))
    async with watching(ScriptedRun(*BEGINNING, *lines), size=(120, 40)) as console:
        await console.press("2", "slash")
        await console.press(*"Needle")
        await console.press("enter")
        await console.shows("/Needle", "1 of 6", "n N")
        first = pane(console).highlighted
        await console.press("n", "n")
        await console.shows("3 of 6")
        await console.press("N", "N", "N")
        await console.shows("6 of 6", "line 53 needle")
        await console.press("n")
        assert pane(console).highlighted == first
        await console.press("escape")
        assert "needle  " in console.text
        assert "/Needle" not in console.text
        assert console.app.run_screen.pane == "log"
        await console.press("escape")
        assert console.app.run_screen.pane == "charts"


async def test_a_level_filters() -> None:
    events = [*written("fine"), *written("careful", level="warning"), *written("bad", level="error")]
    printed = written("printed by the training", level="output")
    async with watching(ScriptedRun(*BEGINNING, *events, *printed), size=(80, 24)) as console:
        await console.press("slash", *"level:warning", "enter")
        await console.shows("! careful", "✗ bad", "2 shown")
        assert "fine" not in console.text
        await console.press("slash", *"level:output", "enter")
        await console.shows("printed by the training", "1 shown")
        await console.press("slash", "escape")
        await console.shows("fine")


async def test_keys_of_lists_work_in_the_pane_only_with_the_focus() -> None:
    lines = written(*(f"line {number}" for number in range(200)))
    async with watching(ScriptedRun(*BEGINNING, *lines), size=(120, 40)) as console:
        await console.press("k", "g")
        assert pane(console).follows
        await console.press("2")
        await console.press("g")
        await console.shows("training on cuda:0", "run created")
        await console.press("ctrl+d", "j")
        assert pane(console).highlighted > 5
        await console.press("ctrl+u", "k")
        assert pane(console).highlighted == 0
        console.run.emit(*written("the newest"))
        await console.settle()
        assert "the newest" not in console.text.partition("╰")[0]
        await console.press("G")
        await console.shows("the newest")
        console.run.emit(*written("newer still"))
        await console.shows("newer still")


async def test_the_wheel_and_a_click_work_too() -> None:
    lines = written(*(f"line {number}" for number in range(200)))
    async with watching(ScriptedRun(*BEGINNING, *lines), size=(80, 24)) as console:
        await console.press("2")
        for _ in range(5):
            pane(console).scroll_up(animate=False)
        await console.settle()
        assert not pane(console).follows
        await console.pilot.click(LogPane, offset=(10, 3))
        await console.settle()
        highlighted = pane(console).highlighted_row
        assert highlighted is not None
        assert highlighted.text in console.text.splitlines()[4]
        assert pane(console).text_to_copy() == highlighted.text


async def test_after_a_failure_the_exception_and_the_users_line_come_first() -> None:
    async with watching(running(), size=(120, 40)) as console:
        *before, _ = PLAIN.splitlines()
        console.run.emit(*written("printed by the training", level="output"))
        console.run.emit(*written(PLAIN.rstrip(), level="output"))
        console.run.emit(ev.RunFailed(reason="AttributeError: no table", time=NOON))
        console.run.hang_up()
        await console.shows(
            "✗ AttributeError: 'Net' object has no attribute 'table'",
            "net.py, line 14, in forward",
            "return helper(x, self.table)",
            "Traceback (most recent call last):",
        )
        await console.press("2", "2")
        await console.shows("✗ AttributeError", 'File "/home/me/net.py", line 14', "module.py")
        assert console.text.count("Traceback (most") == 1
        assert before


async def test_a_traceback_that_did_not_end_the_run_stays_where_it_was_printed() -> None:
    async with watching(running(), size=(120, 40)) as console:
        console.run.emit(*written(*PLAIN.splitlines(), level="output"))
        await console.press("2")
        await console.shows("Traceback (most recent call last):")
        assert "and traceback" not in console.text


async def test_a_best_checkpoint_has_its_own_sign() -> None:
    best = Best(metric="val/loss", value=0.1, step=5)
    saves: list[ev.Event] = [
        ev.CheckpointSaved(step=5, epoch=1, name="step-00000005", reason="best", best=best, time=NOON),
        ev.CheckpointSaved(step=9, epoch=1, name="step-00000009", reason="last", time=NOON + 9),
    ]
    async with watching(ScriptedRun(*BEGINNING), size=(80, 24)) as console:
        console.run.emit(*saves)
        await console.press("2")
        await console.shows("★ step 5       saved step-00000005", "▼ step 9       saved step-00000009")


async def test_what_a_worker_printed_as_it_died_is_read_from_its_log(tmp_path: Path) -> None:
    crash = ["Fatal Python error: Segmentation fault", '  File "/home/me/net.py", line 3 in forward']
    (tmp_path / "worker.log").write_text("\n".join(["printed before", *crash]) + "\n")
    run = ScriptedRun(*BEGINNING, *written("printed before", level="output"))
    run.snapshot.state.folder = str(tmp_path)
    async with watching(run, size=(120, 40)) as console:
        console.run.emit(ev.RunLost(reason="worker 4711 was killed by SIGSEGV", time=NOON))
        console.run.hang_up()
        await console.press("2")
        await console.shows("Fatal Python error: Segmentation fault", "net.py")
        assert console.text.count("printed before") == 1


async def test_a_small_terminal_opens_the_log_when_a_run_fails() -> None:
    async with watching(running(), size=(80, 24)) as console:
        console.run.emit(*written(PLAIN.rstrip(), level="output"))
        console.run.emit(ev.RunFailed(reason="AttributeError: no table", time=NOON))
        console.run.hang_up()
        await console.shows("log and traceback", "net.py, line 14, in forward")
        await console.press("escape")
        await console.shows("c chart")
        assert console.app.run_screen.pane == "charts"


async def test_a_click_on_a_hint_in_the_frame_is_its_key() -> None:
    async with watching(ScriptedRun(*BEGINNING, *written("one")), size=(120, 40)) as console:
        await console.press("2")
        await console.shows("v view")
        await console.pilot.click(offset=(console.text.splitlines()[2].index("view") + 1, 2))
        await console.until(lambda: pane(console).view == "events")
        await console.pilot.click(offset=(console.text.splitlines()[2].index("/ search"), 2))
        await console.shows("n and N")


@pytest.mark.parametrize(
    ("width", "wanted"),
    [
        (100, "val/loss  0.5000  val/accuracy  0.9000  and 7 more before"),
        (80, "val/loss  0.5000  +1  and 7 more before"),
        (50, "val/loss  0.5000  +1"),
    ],
)
def test_the_number_of_evaluations_left_out_is_shown_wherever_it_has_room(width: int, wanted: str) -> None:
    entry = Entry(
        "", kind="evaluated", step=1, values=(("val/loss", "0.5000"), ("val/accuracy", "0.9000")), others=7
    )
    (line,) = log_pane._entry_lines(entry, width)
    text = "".join(part for part, _ in line)
    assert text.endswith(wanted)
    assert len(text) <= width

"""What the console writes to the terminal: the cells that Textual's own output would show, in few bytes."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import DataTable, Input, Static

from tests.support.scripted import ScriptedRun, epoch_ended, epochs, logged, running
from tests.support.textual_compat import WrittenApp
from tests.support.watching import Console, Host
from torchconsole.engine.protocol import events as ev
from torchconsole.tui.line_speed import QUESTION

BYTES_PER_UPDATE = 750
"""Bytes of an update in full flow, of which four come in a second: 3 kB/s."""

FIRST_SCREEN = 25_000
BYTES_PER_KEY = 7_500


@pytest.fixture(autouse=True)
def truecolor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write all colors exactly, which takes the most bytes."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")


class WrittenHost(WrittenApp, Host):
    """A run screen whose output is kept."""


@asynccontextmanager
async def written(run: ScriptedRun, size: tuple[int, int]) -> AsyncIterator[tuple[Console, WrittenHost]]:
    """Open a run screen on a scripted run, and compare all of its output with Textual's at the end."""
    app = WrittenHost(run)
    async with app.run_test(headless=False, size=size) as pilot:
        console = Console(run, app, pilot)
        await console.until(lambda: run.opened)
        await console.settle()
        yield console, app
    assert app.differences == []


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_every_screen_shows_what_textual_would_show(size: tuple[int, int]) -> None:
    run = running()
    async with written(run, size) as (console, app):
        for key in ("2", "2", "3", "4", "5", "6", "question_mark", "escape", "l", "escape", "x", "escape"):
            await console.press(key)
            run.emit(logged(93, 95), *epoch_ended(2))
            await console.settle()
        console.app.action_redraw()
        await console.press("j")
        await console.pilot.resize_terminal(size[0] - 7, size[1] - 3)
        await console.settle()
        app.forget_screen()


async def test_an_update_in_full_flow_and_the_first_screen_are_small() -> None:
    """A run of 27,600 steps at 76 steps a second, once the charts have found their ranges."""
    run = running()
    run.emit(ev.RunStarted(steps_per_epoch=23, total_epochs=1200, total_steps=27_600))
    async with written(run, (120, 40)) as (console, app):
        assert len(app.written.encode()) < FIRST_SCREEN
        settled, updates = 0, 40
        for update in range(10 + updates):
            if update == 10:
                settled = len(app.written.encode())
            run.emit(logged(93 + 19 * update, 93 + 19 * (update + 1) - 1))
            await console.settle()
        each = (len(app.written.encode()) - settled) / updates
        assert each < BYTES_PER_UPDATE


async def test_over_ssh_a_key_is_answered_in_few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of 20 kB/s takes half a second for 10 kB. The upper lines of a screen arrive first."""
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 5000 10.0.0.2 22")
    async with written(running(), (120, 40)) as (console, app):
        app.add_class("-remote")
        await console.settle()
        for key in (
            "space",
            "plus",
            "l",
            "escape",
            "x",
            "escape",
            "question_mark",
            "escape",
            "3",
            "4",
            "5",
            "6",
        ):
            before = len(app.written.encode())
            await console.press(key)
            took = len(app.written.encode()) - before
            assert took < BYTES_PER_KEY, key


async def test_on_a_slow_line_less_is_drawn_until_it_is_fast_again() -> None:
    """The grid, the tints, the waves and the history go; the colors are the 256 of the terminal."""
    run = running()
    app = WrittenHost(run)
    async with app.run_test(headless=False, size=(120, 40)) as pilot:
        console = Console(run, app, pilot)
        await console.until(lambda: run.opened)
        await console.settle()

        async def written_over(speed: float) -> str:
            """Redraw over a line of some speed (bytes per second), and again after its answers."""
            app.line_speed.is_asking = True
            for _ in range(2):
                before = len(app.written)
                app.action_redraw()
                await console.settle()
                app.line_speed.answered(1.0)
                if app.line_speed.answered(1.0 + len(app.written[before:].encode()) / speed):
                    app.on_line_changed()
                await console.settle()
            return app.written[before:]

        whole = await written_over(1e6)
        assert "48;2;24;43;56" in whole  # the band
        slow = await written_over(5e3)
        assert "48;2;" not in slow
        assert "┼" not in slow
        assert len(slow.encode()) < 0.8 * len(whole.encode())
        again = await written_over(1e6)
        assert again.replace(QUESTION, "") == whole.replace(QUESTION, "")


async def test_nothing_is_written_while_nothing_changes() -> None:
    async with written(ScriptedRun(*epochs(1, 3), live=False), (120, 40)) as (console, app):
        before = app.written
        for _ in range(5):
            console.app.screen.refresh()
            await console.settle()
        assert app.written == before


async def test_everything_is_written_again_after_other_programs_have_written() -> None:
    async with written(running(), (80, 24)) as (console, app):
        before = len(app.written)
        await console.pilot.press("a")
        console.app.action_redraw()
        await console.settle()
        assert len(app.written) - before > 80 * 20


class Dialog(ModalScreen[None]):
    """A dialog over half of the wide characters below it."""

    DEFAULT_CSS = "Dialog { align: center middle; } Dialog Static { width: 11; height: 3; background: red; }"

    def compose(self) -> ComposeResult:
        yield Static("한글 한글 한")


class Wide(WrittenApp):
    """An app with wide characters, a table that scrolls in both directions, and a text that is typed."""

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Input(placeholder="이름")
            yield Static("\n".join(f"한글 {'가' * (n % 9)} é e\u0301 {n}" for n in range(30)), markup=False)
            yield DataTable()

    def on_mount(self) -> None:
        table: DataTable[str] = self.query_one(DataTable)
        table.add_columns("이름", *map(str, range(20)))
        for row in range(40):
            table.add_row(f"가나다{row}", *(f"{row * n % 7}나" for n in range(20)))


async def test_wide_characters_are_right_under_dialogs_and_while_scrolling() -> None:
    app = Wide()
    async with app.run_test(headless=False, size=(41, 15)) as pilot:
        await pilot.press("한", "a", "글", "left", "x", "backspace")
        app.push_screen(Dialog())
        await pilot.pause()
        app.pop_screen()
        for _ in range(4):
            app.query_one(VerticalScroll).scroll_page_down(animate=False)
            await pilot.pause()
        app.query_one(DataTable).focus()
        await pilot.press("right", "right", "right", "down", "down", "pagedown")
        await pilot.resize_terminal(30, 11)
        await pilot.pause()
    assert app.differences == []


class Messy(WrittenApp):
    """An app whose lines have all kinds of characters and colors."""

    TEXTS = (
        "plain",
        " ",
        "가나다",
        "界",
        "👍🏽",
        "👨\u200d👩\u200d👧",
        "e\u0301",
        "❤\ufe0f",
        "⣿⣿⣿",
        "─" * 9,
        " " * 12,
        "🇰🇷",
    )
    STYLES = ("", "red", "#5fb8ec on #111315", "bold #f2a020", "reverse", "dim", "underline on #24282d")

    def compose(self) -> ComposeResult:
        for _ in range(9):
            yield Static(markup=False)

    def scramble(self, chance: random.Random) -> None:
        """Give some lines new texts."""
        for line in chance.sample(list(self.query(Static)), 4):
            parts = [(chance.choice(self.TEXTS), chance.choice(self.STYLES)) for _ in range(9)]
            line.update(Text.assemble(*parts, no_wrap=True))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("repeats", [False, True])
async def test_no_wrong_cell_is_left_behind(seed: int, repeats: bool) -> None:
    """After texts, sizes and themes have changed, and after other programs have written."""
    chance = random.Random(seed)
    app = Messy()
    app.repeats = repeats
    async with app.run_test(headless=False, size=(43, 9)) as pilot:
        for _ in range(30):
            match chance.randrange(8):
                case 0:
                    await pilot.resize_terminal(chance.randrange(20, 60), chance.randrange(3, 14))
                case 1:
                    app.theme = chance.choice(["textual-dark", "textual-light", "nord"])
                case 2:
                    app.clear_from_outside()
                    app.action_redraw()
                case 3:
                    app.push_screen(Dialog())
                    await pilot.pause()
                    app.pop_screen()
                case 4:
                    app.clear_from_outside()  # while the console was suspended
                    app.forget_screen()
                    app.refresh()
                case _:
                    app.scramble(chance)
            await pilot.pause()
    assert app.differences == []

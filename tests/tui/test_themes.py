"""Themes in a running app: what is drawn in each of them, and in terminals of few colors or signs."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.style import Style
from textual.app import ComposeResult
from textual.pilot import Pilot
from textual.theme import BUILTIN_THEMES
from textual.widgets import OptionList

from tests.support.pilot import shows
from tests.support.screen_text import text_of, times_shown
from tests.support.textual_compat import screen_strips
from torchconsole.engine.config.user_config import user_config_file
from torchconsole.tui import themed_app
from torchconsole.tui.terminal_background import Answer
from torchconsole.tui.theme import OWN_THEMES, look_of
from torchconsole.tui.themed_app import ThemedApp
from torchconsole.tui.user_config import UserConfig, load_config
from torchconsole.tui.widgets.lines import Line, LineWidget


class Sample(LineWidget):
    def draw(self, width: int, height: int) -> list[Line]:
        return [
            [("train", "bold train on band"), ("● ▁⣀", "val"), ("here", "text on select")],
            [("━━╸", "train"), ("━━", "meterdim")],
        ]


class App(ThemedApp[None]):
    def compose(self) -> ComposeResult:
        sample = Sample()
        sample.styles.height = 2
        yield sample
        yield OptionList("first", "second")


def drawn(app: App) -> dict[str, Style]:
    """Return the text of each stretch of one style on the screen, and the style."""
    strips = screen_strips(app.screen)
    return {one.text.strip(): one.style or Style() for strip in strips for one in strip if one.text.strip()}


async def highlight(app: App, pilot: Pilot[None]) -> None:
    options = app.query_one(OptionList)
    options.focus()
    options.highlighted = 0
    await pilot.pause()


async def test_a_theme_that_is_chosen_is_drawn_at_once() -> None:
    app = App(terminal=Answer(is_dark=True))
    async with app.run_test(size=(40, 8)) as pilot:
        await highlight(app, pilot)
        before = drawn(app)
        assert str(before["train"]) == "bold #5fb8ec on #182b38"
        assert before["first"].bgcolor == Style.parse("on #2d343b").bgcolor
        app.theme = "torchconsole-light"
        await pilot.pause()
        assert str(drawn(app)["train"]) == "bold #0072b2 on #cfe2ef"
        app.theme = "ansi"
        await pilot.pause()
        assert str(drawn(app)["train"]) == "bold color(14) on default"


async def test_every_theme_of_textual_is_drawn() -> None:
    app = App()
    async with app.run_test(size=(40, 8)) as pilot:
        offered = [name for name, theme in BUILTIN_THEMES.items() if not theme.ansi]
        assert set(app.available_themes) == {*OWN_THEMES, *offered}
        for name in offered:
            app.theme = name
            await pilot.pause()
            assert drawn(app)["train"].bgcolor != drawn(app)["here"].bgcolor


async def test_16_colors_are_the_terminals_own_and_the_highlighted_row_is_reversed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLORTERM")
    app = App(UserConfig(theme="nord"))
    async with app.run_test(size=(40, 8)) as pilot:
        await highlight(app, pilot)
        assert set(app.available_themes) == set(OWN_THEMES)
        assert app.theme == "torchconsole-dark"
        styles = drawn(app)
        assert styles["train"].color == Style.parse("color(14)").color
        assert styles["train"].bgcolor == Style.parse("on default").bgcolor
        assert styles["here"].reverse
        assert styles["first"].reverse
        assert not styles["second"].reverse


async def test_without_color_nothing_is_colored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = App()
    async with app.run_test(size=(40, 8)) as pilot:
        await highlight(app, pilot)
        styles = drawn(app)
        painted = [
            color for style in styles.values() for color in (style.color, style.bgcolor) if color is not None
        ]
        assert all(color.is_default for color in painted)
        assert styles["first"].reverse
        assert styles["here"].reverse
        assert styles["train"].bold


async def test_an_empty_no_color_means_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    app = App()
    async with app.run_test(size=(40, 8)):
        assert str(drawn(app)["train"]) == "bold #5fb8ec on #182b38"


async def test_every_widget_is_drawn_in_ascii_where_the_terminal_needs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(themed_app, "ascii_encoding", lambda: "ascii")
    app = App()
    async with app.run_test(size=(40, 8)):
        assert text_of(app.screen).isascii()
        assert "train* ..here" in text_of(app.screen)
        assert "==-.." in text_of(app.screen)


@pytest.mark.parametrize(("cells", "text"), [(None, "train●"), (1, "train●"), (2, "train*"), (3, "train*")])
async def test_signs_that_the_terminal_draws_too_wide_become_ascii(cells: int | None, text: str) -> None:
    app = App(terminal=Answer(sign_cells=cells))
    async with app.run_test(size=(40, 8)):
        assert text in text_of(app.screen)


@pytest.mark.parametrize(("is_dark", "number"), [(None, None), (True, 15), (False, 0)])
@pytest.mark.parametrize("theme", ["auto", "ansi"])
def test_16_colors_suit_the_background_of_the_terminal(
    monkeypatch: pytest.MonkeyPatch, theme: str, is_dark: bool | None, number: int | None
) -> None:
    monkeypatch.delenv("COLORTERM")
    monkeypatch.setenv("TERM", "xterm")
    app = App(UserConfig(theme=theme), terminal=Answer(is_dark=is_dark))
    color = look_of(app).style("strong").color
    assert color is not None
    assert color.number == number


def test_an_unknown_theme_becomes_ours() -> None:
    assert App(UserConfig(theme="no such theme")).theme == "torchconsole-dark"
    assert App(UserConfig(theme="torchconsole-light")).theme == "torchconsole-light"
    assert App(UserConfig(theme="nord")).theme == "nord"


async def test_a_theme_that_the_user_chooses_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    app = App(load_config(), terminal=Answer(is_dark=False))
    async with app.run_test(size=(40, 8)) as pilot:
        await pilot.pause()
        assert app.theme == "torchconsole-light"
        assert not user_config_file().exists()
        app.theme = "nord"
        await pilot.pause()
        app.remember("mouse", False)
        app.remember("smoothing", 0.9)
        await app.workers.wait_for_complete()
    app.write_settings()
    assert load_config() == UserConfig(theme="nord", mouse=False, smoothing=0.9)


async def test_without_a_place_for_settings_there_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    app = App(load_config())
    async with app.run_test(size=(100, 20), notifications=True) as pilot:
        app.remember("mouse", False)
        app.remember("smoothing", 0.9)
        await app.workers.wait_for_complete()
        await shows(app, pilot, "cannot be written", "settings are not remembered")
        app.remember("smoothing", 0.99)
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert times_shown(app.screen, "settings are not remembered") == 1


async def test_what_is_wrong_in_the_users_settings_is_one_warning() -> None:
    app = App(UserConfig(problems=["config.toml: console.thme: unknown key", "another", "third"]))
    async with app.run_test(size=(100, 20), notifications=True) as pilot:
        await shows(app, pilot, "config.toml: console.thme: unknown key (2 more: f2 shows them)")

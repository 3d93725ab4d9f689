"""The menu: its text, and the messages that it posts. UPDATE_GOLDENS=1 accepts the text that it shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.message import Message
from textual.pilot import Pilot

from tests.support.hostile import replace_by
from tests.support.pilot import press_at_once, shows, until
from tests.support.screen_text import text_of
from tests.support.textual_compat import notifications
from tests.support.watching import check_golden
from torchconsole.engine.config import preset_files
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.record import RunRecord
from torchconsole.tui.app import ConsoleApp
from torchconsole.tui.run_listing import ORDERS
from torchconsole.tui.screens import menu, run_list
from torchconsole.tui.screens.preset_list import PresetList, preset_line

NOW = 1_750_000_000.0
PRESETS = {
    "aa-small": ("A small one", "It is small. It teaches that small things can be enough."),
    "bb-hostile": ("[red]Not red[/red]\x1b[31m", "Its title holds markup and an ANSI code."),
}


@pytest.fixture
def runs_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for runs, next to three presets and a broken one, at a fixed time."""
    presets = tmp_path / "presets"
    presets.mkdir()
    for name, (title, description) in PRESETS.items():
        escaped = title.replace("\x1b", "\\u001b")
        (presets / f"{name}.toml").write_text(f'title = "{escaped}"\ndescription = "{description}"\n')
    (presets / "cc-broken.toml").write_text("title = ")
    (presets / "dd-table.toml").write_text(
        'title = "A table with a long title"\ngroup = "Predict a number"\nneeds = "your table"\n'
        '[data]\nname = "CSV"\nroot = "table.csv"\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(preset_files, "preset_folders", lambda: [presets])
    monkeypatch.setattr(menu, "gethostname", lambda: "box")
    monkeypatch.setattr(menu, "REFRESH_SECONDS", 0.05)
    monkeypatch.setattr(run_list.time, "time", lambda: NOW)
    return tmp_path / "runs"


def add_run(runs_dir: Path, name: str, status: str, age: float, **facts: object) -> None:
    """Add a run of another machine, whose recorded status cannot be checked here."""
    folder = RunFolder(runs_dir / name)
    folder.path.mkdir(parents=True, exist_ok=True)
    record = RunRecord(name, str(folder.path), status=status, host="elsewhere", created=NOW - age, **facts)  # type: ignore[arg-type]
    folder.write_record(record)
    folder.preset_file.touch()


class Menu(ConsoleApp):
    """The console on its menu; it records the menu's messages instead of handling them."""

    def __init__(self, runs_dir: Path) -> None:
        super().__init__(runs_dir=runs_dir)
        self.received: list[Message] = []

    def on_menu_screen_preset_chosen(self, message: menu.MenuScreen.PresetChosen) -> None:
        """Record the message."""
        message.prevent_default()
        self.received.append(message)

    def on_menu_screen_edit_requested(self, message: menu.MenuScreen.EditRequested) -> None:
        """Record the message."""
        message.prevent_default()
        self.received.append(message)

    def on_menu_screen_run_chosen(self, message: menu.MenuScreen.RunChosen) -> None:
        """Record the message."""
        message.prevent_default()
        self.received.append(message)

    @property
    def text(self) -> str:
        """The text of the screen."""
        return text_of(self.screen)


@asynccontextmanager
async def opened(
    runs_dir: Path, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[tuple[Menu, Pilot[RunFolder]]]:
    """Open the menu, and wait until the runs are listed."""
    app = Menu(runs_dir)
    async with app.run_test(size=size) as pilot:
        await until(
            app, pilot, lambda: "○ A table" in app.text and ("STATUS" in app.text or "none yet" in app.text)
        )
        yield app, pilot


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_menu_matches_its_golden_file(runs_dir: Path, size: tuple[int, int]) -> None:
    best = {"metric": "val/loss", "value": 0.0812, "step": 900}
    add_run(
        runs_dir, "aa-small-20250615-100000", "running", 245, step=1242, epoch=27, total_epochs=60, best=best
    )
    add_run(runs_dir, "aa-small-20250614-100000", "finished", 90000, step=1380, epoch=60, total_epochs=60)
    add_run(runs_dir, "bb-hostile-20250613-100000", "failed", 180000, reason="no")
    async with opened(runs_dir, size) as (app, _):
        check_golden(f"menu-{size[0]}x{size[1]}", app.text)


async def test_enter_on_a_preset_starts_it(runs_dir: Path) -> None:
    async with opened(runs_dir) as (app, pilot):
        await pilot.press("down")
        await shows(app, pilot, "Its title holds markup", r"[red]Not red[/red]\x1b[31m")
        await pilot.press("enter")
        (message,) = app.received
        assert isinstance(message, menu.MenuScreen.PresetChosen)
        assert message.preset.name == "bb-hostile"


async def test_enter_shows_the_highlighted_run_even_if_the_list_has_moved(runs_dir: Path) -> None:
    add_run(runs_dir, "old", "running", 100)
    async with opened(runs_dir) as (app, pilot):
        await pilot.press("tab")
        add_run(runs_dir, "new", "running", 10)
        await shows(app, pilot, "new")
        await pilot.press("enter")
        (message,) = app.received
        assert isinstance(message, menu.MenuScreen.RunChosen)
        assert message.run.name == "old"


async def test_leaving_a_run_twice_at_once_leads_back_to_the_menu(runs_dir: Path) -> None:
    add_run(runs_dir, "old", "finished", 100)
    app = ConsoleApp(runs_dir=runs_dir)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(app, pilot, "STATUS", "old")
        await pilot.press("tab", "enter")
        await shows(app, pilot, "✓ finished")
        press_at_once(app, "q", "q")
        await shows(app, pilot, "STATUS", "q quit")
        await pilot.pause()
        assert isinstance(app.screen, menu.MenuScreen)


async def test_the_list_shows_new_runs_and_their_progress(runs_dir: Path) -> None:
    async with opened(runs_dir) as (app, pilot):
        add_run(runs_dir, "fresh", "starting", 1)
        await shows(app, pilot, "starting", "fresh")
        add_run(runs_dir, "fresh", "running", 1, step=23)
        await shows(app, pilot, "running", "23")


async def test_a_preset_that_cannot_be_read_shows_the_error(runs_dir: Path) -> None:
    async with opened(runs_dir, (120, 40)) as (app, pilot):
        await pilot.press("down", "down")
        await shows(app, pilot, "cannot be read: cc-broken.toml", "TOML:")


async def test_the_help_lists_every_action(runs_dir: Path) -> None:
    async with opened(runs_dir) as (app, pilot):
        await pilot.press("question_mark")
        await shows(app, pilot, *(action.help for action in menu.MENU_ACTIONS))
        await pilot.press("escape")
        await until(app, pilot, lambda: isinstance(app.screen, menu.MenuScreen))


@pytest.mark.parametrize("key", ["q", "ctrl+c", "ctrl+q"])
async def test_every_way_out_ends_the_console(runs_dir: Path, key: str) -> None:
    async with opened(runs_dir) as (app, pilot):
        await pilot.press(key)
        await until(app, pilot, lambda: not app.is_running)
    assert app.return_code == 0


@pytest.fixture
def preset_folder(runs_dir: Path) -> Path:
    """The folder of the menu's presets."""
    return runs_dir.parent / "presets"


async def test_a_search_filters_while_it_is_typed(runs_dir: Path) -> None:
    async with opened(runs_dir) as (app, pilot):
        await pilot.press("slash", *"markup ansi")
        await until(app, pilot, lambda: "aa-small" not in app.text and "bb-hostile" in app.text)
        await shows(app, pilot, "Its title holds markup")
        await pilot.press("q")
        await shows(app, pilot, "no preset matches")
        await pilot.press("escape")
        await shows(app, pilot, "aa-small", "bb-hostile", "cc-broken")
        await pilot.press("q")
        await until(app, pilot, lambda: not app.is_running)


async def test_keys_that_arrive_together_all_reach_the_search(runs_dir: Path) -> None:
    async with opened(runs_dir) as (app, pilot):
        press_at_once(app, "/", *"a table", "enter")
        listed = app.screen.query_one(PresetList)
        await until(app, pilot, lambda: "aa-small" not in app.text and app.focused is listed)
        await pilot.press("enter")
        (message,) = app.received
        assert isinstance(message, menu.MenuScreen.PresetChosen)
        assert message.preset.name == "dd-table"


async def test_edit_opens_the_preset_that_the_keys_before_highlighted(runs_dir: Path) -> None:
    async with opened(runs_dir) as (app, pilot):
        press_at_once(app, "down", "e")
        await until(app, pilot, lambda: app.received)
        (message,) = app.received
        assert isinstance(message, menu.MenuScreen.EditRequested)
        assert message.preset.name == "bb-hostile"


async def test_the_result_of_a_search_is_chosen_with_the_arrow_keys(runs_dir: Path) -> None:
    async with opened(runs_dir) as (app, pilot):
        await pilot.press("slash", "b", "down", "down", "up", "enter", "enter")
        (message,) = app.received
        assert isinstance(message, menu.MenuScreen.PresetChosen)
        assert message.preset.name == "bb-hostile"


async def test_the_console_can_be_left_during_a_search(runs_dir: Path) -> None:
    async with opened(runs_dir) as (app, pilot):
        await pilot.press("slash", "x", "ctrl+q")
        await until(app, pilot, lambda: not app.is_running)


async def test_presets_are_grouped_and_show_whether_their_data_is_there(
    runs_dir: Path, preset_folder: Path
) -> None:
    (runs_dir.parent / "there.csv").touch()
    child = 'extends = "./dd-table.toml"\ntitle = "A child"\n[data]\nroot = "there.csv"\n'
    (preset_folder / "ee-child.toml").write_text(child)
    async with opened(runs_dir) as (app, pilot):
        await shows(app, pilot, "○ A table", "● A child")
        headings = [line for line in app.text.splitlines() if line.startswith((" Your own", " Predict"))]
        assert [line.split("  ")[0] for line in headings] == [" Your own", " Predict a number"]
        await pilot.press("end")
        await shows(app, pilot, "needs your table", "in there.csv")
        await pilot.press("up")
        await shows(app, pilot, "○ not found: table.csv")


async def test_the_menu_lists_presets_that_were_saved_meanwhile(runs_dir: Path, preset_folder: Path) -> None:
    async with opened(runs_dir) as (app, pilot):
        await pilot.press("question_mark")
        (preset_folder / "bc-new.toml").write_text('title = "Just saved"\n')
        await pilot.press("escape")
        await shows(app, pilot, "Just saved")


def test_the_name_is_shortened_before_the_title() -> None:
    assert preset_line("Digits", "digits", 20) == ("Digits", "        digits")
    assert preset_line("A long title", "imagefolder", 20) == ("A long title", " imagef…")
    assert preset_line("A title that is long", "name", 20) == ("A title that is long", "")
    assert preset_line("A title that is too long", "name", 20) == ("A title that is too…", "")


def listed_runs(app: Menu) -> list[str]:
    """Return the names in the list of runs, from top to bottom."""
    lines = app.text.partition("STATUS")[2].splitlines()[1:]
    return [
        line.split()[1] for line in lines if line.split()[:1] and line.split()[0] in ("running", "finished")
    ]


async def test_a_search_filters_the_runs_if_they_have_the_focus(runs_dir: Path) -> None:
    for age, name in enumerate(("first-cnn", "second-mlp", "third-cnn")):
        add_run(runs_dir, name, "finished", age)
    async with opened(runs_dir) as (app, pilot):
        await pilot.press("tab", "slash", *"cnn")
        await until(app, pilot, lambda: listed_runs(app) == ["first-cnn", "third-cnn"])
        await pilot.press("down", "enter", "enter")
        await until(app, pilot, lambda: app.received)
        chosen = app.received[0]
        assert isinstance(chosen, menu.MenuScreen.RunChosen)
        assert chosen.run.name == "third-cnn"
        await pilot.press("escape")
        await until(app, pilot, lambda: len(listed_runs(app)) == 3)
        assert "A small one" in app.text


async def test_o_changes_the_order_of_the_runs(runs_dir: Path) -> None:
    add_run(runs_dir, "b-new", "finished", 1, step=10, total_steps=100)
    add_run(runs_dir, "a-old", "finished", 2, step=90, total_steps=100)
    async with opened(runs_dir) as (app, pilot):
        assert listed_runs(app) == ["b-new", "a-old"]
        await pilot.press("o")
        await shows(app, pilot, "runs by name")
        assert listed_runs(app) == ["a-old", "b-new"]
        for _ in ("status", "preset", "progress", "best", "host", "age"):
            await pilot.press("o")
        await shows(app, pilot, "runs by age")
        assert listed_runs(app) == ["b-new", "a-old"]


async def test_an_ended_run_is_deleted_after_confirmation_and_a_live_one_never(runs_dir: Path) -> None:
    add_run(runs_dir, "alive", "running", 1)
    add_run(runs_dir, "done", "finished", 2)
    async with opened(runs_dir, (100, 30)) as (app, pilot):
        await pilot.press("d")
        await pilot.press("tab", "d")
        await until(app, pilot, lambda: "stop it before you delete it" in notifications(app))
        await pilot.press("down", "d")
        await shows(app, pilot, "Delete done?")
        await pilot.press("escape")
        assert (runs_dir / "done").exists()
        await pilot.press("d")
        await shows(app, pilot, "Delete done?")
        await pilot.press("y")
        await until(app, pilot, lambda: listed_runs(app) == ["alive"])
        assert not (runs_dir / "done").exists()
        assert (runs_dir / "alive").exists()


async def test_files_that_are_not_torchconsoles_stay_when_a_run_is_deleted(runs_dir: Path) -> None:
    add_run(runs_dir, "done", "finished", 2)
    (runs_dir / "done" / "thesis.tex").touch()
    async with opened(runs_dir, (100, 30)) as (app, pilot):
        await pilot.press("tab", "d")
        await shows(app, pilot, "Delete done?", "thesis.tex")
        await pilot.press("y")
        await until(app, pilot, lambda: "left in place: thesis.tex" in notifications(app))
        await until(app, pilot, lambda: listed_runs(app) == [])
    assert [path.name for path in (runs_dir / "done").iterdir()] == ["thesis.tex"]


async def test_live_runs_pulse(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_list, "PULSE_SECONDS", 0.02)
    add_run(runs_dir, "alive", "running", 1)
    add_run(runs_dir, "done", "finished", 2)
    async with opened(runs_dir) as (app, pilot):

        def is_dim(index: int) -> bool:
            prompt = app.screen.query_one(run_list.RunList).get_option_at_index(index).prompt
            return any("dim" in str(span.style) for span in prompt.spans)  # type: ignore[union-attr]

        for state in (True, False, True):
            await until(app, pilot, lambda state=state: is_dim(1) == state)  # type: ignore[misc]
            assert not is_dim(2)


async def test_a_run_that_cannot_be_read_is_one_line_with_the_reason(runs_dir: Path) -> None:
    add_run(runs_dir, "good", "finished", 1)
    add_run(runs_dir, "n" * 200, "finished", 2)
    for name in ("FIFO", "nested", "binary", "sparse"):
        add_run(runs_dir, f"bad-{name}", "finished", 3)
        replace_by(name, runs_dir / f"bad-{name}" / "run.json")
    async with opened(runs_dir, (120, 40)) as (app, pilot):
        await shows(app, pilot, "unreadable  bad-FIFO  run.json: cannot be read: not a regular file")
        assert app.text.count("unreadable") == 4
        assert "good" in listed_runs(app)
        await pilot.press("tab", "slash", *"bad-fifo", "enter", "enter")
        await until(app, pilot, lambda: "cannot be read: not a regular file" in notifications(app))
        assert not app.received
        await pilot.press("escape")
        for _ in ORDERS:
            await pilot.press("o")
            assert app.text.count("unreadable") == 4

"""The menu: its text, and the messages that it posts. UPDATE_GOLDENS=1 accepts the text that it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.compared_runs import add_compared_run
from tests.support.hostile import replace_by
from tests.support.menus import NOW, add_run, opened
from tests.support.pilot import press_at_once, shows, until
from tests.support.watching import check_golden
from torchconsole.engine.protocol.reports import LearningRateCurve
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.notes import Notes, write_notes
from torchconsole.engine.run.record import RunRecord
from torchconsole.tui import launch, planned_lr
from torchconsole.tui.app import ConsoleApp
from torchconsole.tui.keys import MENU
from torchconsole.tui.screens import menu
from torchconsole.tui.screens.preset_list import PresetList
from torchconsole.tui.screens.run import RunScreen
from torchconsole.tui.screens.run_list import RunList
from torchconsole.tui.widgets.preset_preview import PresetPreview
from torchconsole.tui.widgets.run_preview import RunPreview


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (120, 40), (200, 60)])
@pytest.mark.parametrize("focus", ["presets", "runs"])
async def test_the_menu_matches_its_golden_file(runs_dir: Path, size: tuple[int, int], focus: str) -> None:
    best = {"metric": "val/loss", "value": 1.1, "step": 600}
    facts = {"preset": "aa-small", "total_epochs": 10, "best": best}
    live = {"status": "running", "epoch": 7, **facts}
    failed = {"status": "failed", "reason": "division by zero", "epoch": 2, "created": NOW - 2e5, **facts}
    running = add_compared_run(runs_dir, "aa-small-20250615-100000", "", 7, **live)
    write_notes(running, Notes(("paper",), "the one for the paper"))
    add_compared_run(runs_dir, "aa-small-20250614-100000", "", 10, epoch=10, created=NOW - 9e4, **facts)
    add_compared_run(runs_dir, "bb-hostile-with-a-long-name-20250613-100000", "", 2, **failed)
    replace_by("not JSON", add_run(runs_dir, "unreadable-run", "finished", 1) / "run.json")
    async with opened(runs_dir, size) as (app, pilot):
        await until(app, pilot, lambda: "runs 4" in app.text)
        if focus == "runs":
            await pilot.press("tab")
        preview = app.screen.query_one(RunPreview)
        await until(app, pilot, lambda: preview.is_complete or size[1] < 30)
        facts_shown = app.screen.query_one(PresetPreview)
        await until(app, pilot, lambda: facts_shown.is_complete or size[1] < 20)
        await until(app, pilot, lambda: app.screen.query_one(RunList).has_trails)
        await pilot.pause()
        check_golden(f"menu-{focus}-{size[0]}x{size[1]}", app.text)


async def test_enter_on_a_preset_starts_it(runs_dir: Path) -> None:
    async with opened(runs_dir) as (app, pilot):
        await pilot.press("down")
        await shows(app, pilot, "Its title holds markup")
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
        await shows(app, pilot, "status", "old")
        await pilot.press("tab", "enter")
        await shows(app, pilot, "✓ finished")
        press_at_once(app, "q", "q")
        await shows(app, pilot, "status", "q quit")
        await pilot.pause()
        assert isinstance(app.screen, menu.MenuScreen)


async def test_a_run_that_is_left_is_highlighted_and_enter_shows_it_again(runs_dir: Path) -> None:
    left = add_run(runs_dir, "left", "finished", 9e4)
    add_run(runs_dir, "newest", "finished", 100)
    app = ConsoleApp(RunFolder(left), runs_dir=runs_dir)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(app, pilot, "✓ finished")
        await pilot.press("q")
        await until(app, pilot, lambda: isinstance(app.screen, menu.MenuScreen))
        runs = app.screen.query_one(RunList)
        await until(app, pilot, lambda: runs.count() == 2 and runs.highlighted_run is not None)
        assert runs.has_focus
        assert runs.highlighted_run is not None
        assert runs.highlighted_run.name == "left"
        await pilot.press("enter")
        await until(app, pilot, lambda: isinstance(app.screen, RunScreen))
        assert isinstance(app.screen, RunScreen)
        await shows(app, pilot, "✓ finished")
        press_at_once(app, "q", "enter")  # the menu reads its list again
        await until(app, pilot, lambda: isinstance(app.screen, RunScreen))
        assert isinstance(app.screen, RunScreen)
        await until(app, pilot, lambda: app.screen.state.run.name == "left")


async def test_the_first_run_is_highlighted_too_after_it_is_left(runs_dir: Path) -> None:
    app = ConsoleApp(runs_dir=runs_dir)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(app, pilot, "q quit")
        shown = app.screen
        assert isinstance(shown, menu.MenuScreen)
        await until(app, pilot, lambda: not shown._has_runs)
        folder = add_run(runs_dir, "first", "finished", 100)
        shown.post_message(menu.MenuScreen.RunChosen(RunRecord("first", str(folder))))
        await shows(app, pilot, "✓ finished")
        await pilot.press("q")
        await until(app, pilot, lambda: isinstance(app.screen, menu.MenuScreen) and shown.runs.count() == 1)
        assert shown.runs.has_focus


async def test_the_list_shows_new_runs_and_their_progress(runs_dir: Path) -> None:
    async with opened(runs_dir) as (app, pilot):
        add_run(runs_dir, "fresh", "starting", 1)
        await shows(app, pilot, "starting", "fresh")
        add_run(runs_dir, "fresh", "running", 1, epoch=23, total_epochs=50)
        await shows(app, pilot, "running", "46%", "23/50")


async def test_a_preset_that_cannot_be_read_shows_the_error(runs_dir: Path) -> None:
    async with opened(runs_dir, (120, 40)) as (app, pilot):
        await pilot.press("down", "down")
        await shows(app, pilot, "cannot be read: cc-broken.toml", "TOML:")


async def test_the_help_lists_every_action(runs_dir: Path) -> None:
    async with opened(runs_dir, (80, 60)) as (app, pilot):
        await pilot.press("question_mark")
        await shows(app, pilot, *(action.help for action in MENU.actions))
        await pilot.press("escape")
        await until(app, pilot, lambda: isinstance(app.screen, menu.MenuScreen))


async def test_the_narrowest_key_line_keeps_leave_and_help(runs_dir: Path) -> None:
    async with opened(runs_dir, (20, 8)) as (app, pilot):
        await until(app, pilot, lambda: app.text.splitlines()[-1].split() == ["q", "quit", "?", "help"])


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
        assert isinstance(message, menu.MenuScreen.EditRequested)
        assert (message.preset.name, message.key) == ("dd-table", "data.root")


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
        await shows(app, pilot, "○ dd-table", "● ee-child")
        order = ["Your own", "bb-hostile", "Predict a number", "dd-table", "ee-child"]
        assert sorted(order, key=app.text.index) == order
        await pilot.press("end")
        await shows(app, pilot, "your table", "in there.csv")
        await pilot.press("up")
        await shows(app, pilot, "not found: table.csv")


async def test_the_menu_lists_presets_that_were_saved_meanwhile(runs_dir: Path, preset_folder: Path) -> None:
    async with opened(runs_dir) as (app, pilot):
        await pilot.press("question_mark")
        (preset_folder / "bc-new.toml").write_text('title = "Just saved"\n')
        await pilot.press("escape")
        await shows(app, pilot, "Just saved")


async def test_the_presets_are_sorted_by_name_or_runs_and_reversed(runs_dir: Path) -> None:
    for age, name in enumerate(("one", "two")):
        add_run(runs_dir, name, "finished", age, preset="dd-table")
    names = ("aa-small", "bb-hostile", "cc-broken", "dd-table")

    async with opened(runs_dir) as (app, pilot):

        def order() -> list[str]:
            listed = app.text.partition("── runs")[0].splitlines()[2:]
            words = [word for line in listed for word in line[:20].split() if word in names]
            return list(dict.fromkeys(words))

        assert order() == [*names[:3], names[3]]
        for key, remark, expected in (
            ("O", "by group, reversed", [names[3], *names[2::-1]]),
            ("o", "o by name", list(names)),
            ("O", "by name, reversed", list(names[::-1])),
            ("o", "o by runs", [names[3], *names[:3]]),
            ("o", "/ search", list(names)),
        ):
            await pilot.press(key)
            await shows(app, pilot, remark)
            await until(app, pilot, lambda expected=expected: order() == expected)
            assert "o newest first" in app.text  # the runs keep their order


async def test_shift_v_gives_the_lists_the_room_of_the_previews(runs_dir: Path) -> None:
    async with opened(runs_dir, (120, 40)) as (app, pilot):
        await shows(app, pilot, "It is small.")
        await pilot.press("V")
        await until(app, pilot, lambda: "It is small." not in app.text)
        assert app.screen.query_one(PresetList).size.width == 120
        await pilot.press("V")
        await shows(app, pilot, "It is small.")


async def test_a_preset_without_runs_shows_the_lr_that_its_schedule_gives(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    async def lr_curve(preset: Path, overrides: object) -> LearningRateCurve:
        asked.append(preset)
        steps = [*range(1, 101)]
        lrs = [0.1 / step for step in steps]
        return LearningRateCurve(steps_per_epoch=10, total_steps=100, steps=steps, lrs=[lrs])

    monkeypatch.setattr(planned_lr, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(launch, "lr_curve", lr_curve)
    scheduled = runs_dir.parent / "presets" / "bb-hostile.toml"
    schedule = '[[schedule]]\nname = "CosineAnnealingLR"\n'
    scheduled.write_text(f'title = "Scheduled"\n[data]\nname = "digits"\n{schedule}')
    async with opened(runs_dir, (120, 40)) as (app, pilot):
        await shows(app, pilot, "schedule CosineAnnealingLR", "● bb-hostile")
        for _ in range(2):
            await pilot.press("j")
            await shows(app, pilot, "It is small.")
            await pilot.press("k")
            await shows(app, pilot, "as scheduled", "0.1")
        assert asked == [scheduled]

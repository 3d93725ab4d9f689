"""The menu's list of runs: filter, order, selection, names, keys and mouse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from textual.events import MouseScrollDown, MouseScrollUp
from textual.screen import Screen

from tests.support.compared_runs import add_compared_run, add_history
from tests.support.hostile import replace_by
from tests.support.menus import add_run, listed_runs, opened
from tests.support.pilot import press_at_once, shows, until
from tests.support.screen_text import text_of
from tests.support.textual_compat import notifications
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.notes import Notes, read_notes, write_notes
from torchconsole.tui import launch
from torchconsole.tui.app import ConsoleApp
from torchconsole.tui.run_listing import ORDERS
from torchconsole.tui.screens import extend, menu, menu_reading
from torchconsole.tui.screens.preset_list import PresetList
from torchconsole.tui.screens.run_list import RunList
from torchconsole.tui.screens.run_tasks import ResumeListedRun
from torchconsole.tui.user_config import UserConfig
from torchconsole.tui.widgets.run_preview import RunPreview


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


async def test_the_course_of_a_run_is_read_as_soon_as_it_comes_into_view(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(menu_reading, "REFRESH_SECONDS", 600.0)
    for number in range(20):
        add_compared_run(runs_dir, f"run-{number:02}", "", 3, created=1e9 - number)
    async with opened(runs_dir) as (app, pilot):
        await until(app, pilot, lambda: app.screen.query_one(RunList).has_trails)
        await pilot.press("tab", "G")
        await until(app, pilot, lambda: any("run-19" in row and "▇" in row for row in app.text.splitlines()))


async def test_o_changes_the_order_of_the_runs(runs_dir: Path) -> None:
    add_run(runs_dir, "b-new", "finished", 1, step=10, total_steps=100)
    add_run(runs_dir, "a-old", "finished", 2, step=90, total_steps=100)
    async with opened(runs_dir) as (app, pilot):
        assert listed_runs(app) == ["b-new", "a-old"]
        await pilot.press("tab", "o")
        await shows(app, pilot, "by name")
        assert listed_runs(app) == ["a-old", "b-new"]
        for _ in list(ORDERS)[1:]:
            await pilot.press("o")
        await shows(app, pilot, "newest first")
        assert listed_runs(app) == ["b-new", "a-old"]


async def test_an_ended_run_is_deleted_after_confirmation_and_a_live_one_never(runs_dir: Path) -> None:
    add_run(runs_dir, "alive", "running", 1)
    add_run(runs_dir, "done", "finished", 2)
    async with opened(runs_dir, (100, 30)) as (app, pilot):
        await pilot.press("D")
        await pilot.press("tab", "D")
        await until(app, pilot, lambda: "stop it before you delete it" in notifications(app))
        await pilot.press("down", "D")
        await shows(app, pilot, "Delete done?")
        await pilot.press("escape")
        assert (runs_dir / "done").exists()
        await pilot.press("delete")
        await shows(app, pilot, "Delete done?")
        await pilot.press("y")
        await until(app, pilot, lambda: listed_runs(app) == ["alive"])
        assert not (runs_dir / "done").exists()
        assert (runs_dir / "alive").exists()


async def test_files_that_are_not_torchconsoles_stay_when_a_run_is_deleted(runs_dir: Path) -> None:
    add_run(runs_dir, "done", "finished", 2)
    (runs_dir / "done" / "thesis.tex").touch()
    async with opened(runs_dir, (100, 30)) as (app, pilot):
        await pilot.press("tab", "D")
        await shows(app, pilot, "Delete done?", "thesis.tex")
        await pilot.press("y")
        await until(app, pilot, lambda: "left in place: thesis.tex" in notifications(app))
        await until(app, pilot, lambda: listed_runs(app) == [])
    assert [path.name for path in (runs_dir / "done").iterdir()] == ["thesis.tex"]


async def test_a_run_that_cannot_be_read_is_one_line_with_the_reason(runs_dir: Path) -> None:
    add_run(runs_dir, "good", "finished", 1)
    add_run(runs_dir, "n" * 200, "finished", 2)
    for name in ("FIFO", "nested", "binary", "sparse"):
        add_run(runs_dir, f"bad-{name}", "finished", 3)
        replace_by(name, runs_dir / f"bad-{name}" / "run.json")
    async with opened(runs_dir, (120, 40)) as (app, pilot):
        await shows(app, pilot, "bad-FIFO", "run.json: cannot be read: not a")
        assert app.text.count("✗ bad-") == 4
        assert "good" in listed_runs(app)
        await pilot.press("tab", "slash", *"bad-fifo", "enter", "enter")
        await until(app, pilot, lambda: "cannot be read: not a regular file" in notifications(app))
        assert not app.received
        await pilot.press("escape")
        for _ in ORDERS:
            await pilot.press("o")
            assert app.text.count("✗ bad-") == 4


async def test_a_click_highlights_and_a_double_click_starts(runs_dir: Path) -> None:
    add_run(runs_dir, "first", "finished", 1)
    add_run(runs_dir, "second", "finished", 2)
    async with opened(runs_dir, (120, 40)) as (app, pilot):
        presets, runs = app.screen.query_one(PresetList), app.screen.query_one(RunList)
        await pilot.click(PresetList, offset=(8, 3))
        await until(app, pilot, lambda: presets.highlighted_preset.name == "bb-hostile")  # type: ignore[union-attr]
        assert not app.received
        await pilot.click(PresetList, offset=(8, 1))
        assert presets.highlighted_preset.name == "bb-hostile"  # type: ignore[union-attr]
        await pilot.click(PresetList, offset=(8, 2), times=2)
        await until(app, pilot, lambda: app.received)
        chosen = app.received.pop()
        assert isinstance(chosen, menu.MenuScreen.PresetChosen)
        assert chosen.preset.name == "aa-small"
        await pilot.click(RunList, offset=(8, 3), times=2)
        await until(app, pilot, lambda: app.received)
        attached = app.received.pop()
        assert isinstance(attached, menu.MenuScreen.RunChosen)
        assert attached.run.name == "second"
        assert runs.has_focus


async def test_a_click_on_a_heading_sorts_and_again_reverses(runs_dir: Path) -> None:
    add_run(runs_dir, "b-new", "finished", 1)
    add_run(runs_dir, "a-old", "finished", 2)
    async with opened(runs_dir, (120, 40)) as (app, pilot):
        for names, remark in (
            (["a-old", "b-new"], "by name"),
            (["b-new", "a-old"], "by name, reversed"),
            (["a-old", "b-new"], "by name"),
        ):
            await pilot.click(RunList, offset=(6, 1))
            await shows(app, pilot, remark)
            assert listed_runs(app) == names
            await pilot.click(RunList, offset=(30, 12))  # so that the next click is no double click
        await pilot.press("O")
        await until(app, pilot, lambda: listed_runs(app) == ["b-new", "a-old"])


async def test_a_click_on_a_hint_in_the_frame_is_its_key(runs_dir: Path) -> None:
    add_run(runs_dir, "a-old", "finished", 2)
    async with opened(runs_dir, (120, 40)) as (app, pilot):
        await pilot.press("tab")
        await shows(app, pilot, "o newest first")
        lines = app.text.splitlines()
        line = next(y for y, text in enumerate(lines) if "o newest first" in text)
        await pilot.click(offset=(lines[line].index("newest"), line))
        await shows(app, pilot, "o by ")


async def test_the_wheel_moves_the_highlight(runs_dir: Path) -> None:
    for number in range(9):
        add_run(runs_dir, f"run-{number}", "finished", number)
    async with opened(runs_dir, (120, 40)) as (app, pilot):
        runs = app.screen.query_one(RunList)
        for event, row in ((MouseScrollDown, 3), (MouseScrollDown, 6), (MouseScrollUp, 3)):
            runs.post_message(event(runs, 5, 5, 0, 1, 0, False, False, False))
            await until(app, pilot, lambda row=row: runs.highlighted == row)  # type: ignore[misc]


async def test_e_in_the_list_of_runs_edits_the_settings_of_the_run(runs_dir: Path) -> None:
    add_run(runs_dir, "mine", "finished", 1, preset="bb-hostile", title="Mine")
    async with opened(runs_dir) as (app, pilot):
        press_at_once(app, "tab", "e")
        await until(app, pilot, lambda: app.received)
        (message,) = app.received
        assert isinstance(message, menu.MenuScreen.EditRequested)
        assert message.preset.path == runs_dir / "mine" / "preset.toml"
        assert message.preset.name == "bb-hostile"


@pytest.mark.parametrize(
    ("keys", "row"),
    [
        ("G", 29), ("Gk", 28), ("jjj", 3), ("jjkg", 0), (["end"], 29), (["end", "home"], 0),
        (["pagedown"], 16), (["ctrl+d"], 8), (["ctrl+d", "ctrl+u"], 0), (["end", "pageup"], 13), ("kk", 0),
    ],
)  # fmt: skip
async def test_vim_keys_and_arrows_move_the_highlight(runs_dir: Path, keys: list[str], row: int) -> None:
    for number in range(30):
        add_run(runs_dir, f"run-{number:02}", "finished", number)
    async with opened(runs_dir, (120, 40)) as (app, pilot):
        runs = app.screen.query_one(RunList)
        press_at_once(app, "tab", *keys)
        await until(app, pilot, lambda: runs.highlighted == row)
        await shows(app, pilot, f"run-{row:02}")


async def test_the_filter_of_the_runs_and_its_end(runs_dir: Path) -> None:
    best = {"metric": "val/accuracy", "value": 0.95, "step": 900}
    add_run(runs_dir, "good", "finished", 1, best=best)
    add_run(runs_dir, "bad", "failed", 2, best={**best, "value": 0.5})
    async with opened(runs_dir) as (app, pilot):
        await pilot.press("tab", "slash", *"val/accuracy>0.9")
        await until(app, pilot, lambda: listed_runs(app) == ["good"])
        await shows(app, pilot, "runs 1 of 2")
        await pilot.press("enter")
        await until(app, pilot, lambda: app.focused is app.screen.query_one(RunList))
        assert listed_runs(app) == ["good"]
        await pilot.press("slash")
        await shows(app, pilot, "val/accuracy>0.9")
        await pilot.press("ctrl+u", *"status:failed")
        await until(app, pilot, lambda: "bad" in app.text and "good" not in app.text)
        await pilot.press("enter", "escape")
        await shows(app, pilot, "good", "bad")


async def test_selected_runs_are_compared_or_deleted_together(runs_dir: Path) -> None:
    for number in range(8):
        add_run(runs_dir, f"run-{number}", "finished", number)
    async with opened(runs_dir, (120, 40)) as (app, pilot):
        press_at_once(app, "tab", "c")
        await until(app, pilot, lambda: "select two to six runs" in notifications(app))
        press_at_once(app, *["space", "j"] * 7)
        await shows(app, pilot, "7 selected")
        await pilot.press("c")
        await until(app, pilot, lambda: "compare at most 6" in notifications(app))
        await pilot.press("k", "space", "c")
        await until(app, pilot, lambda: app.compared)
        assert [run.name for run in app.compared] == [f"run-{number}" for number in range(6)]
        await pilot.press("D")
        await shows(app, pilot, "Delete 6 runs?", "run-0, run-1")
        await pilot.press("y")
        await until(app, pilot, lambda: listed_runs(app) == ["run-6", "run-7"])
        await pilot.press("space", "escape")
        await until(app, pilot, lambda: "selected" not in app.text)


async def test_shift_and_the_arrows_select_several(runs_dir: Path) -> None:
    for number in range(4):
        add_run(runs_dir, f"run-{number}", "finished", number)
    async with opened(runs_dir, (120, 40)) as (app, pilot):
        await pilot.press("shift+down", "tab", "j", "shift+down", "shift+down")
        await shows(app, pilot, "3 selected")
        runs = app.screen.query_one(RunList)
        assert [run.name for run in runs.selected_runs] == ["run-1", "run-2", "run-3"]
        await pilot.press("escape", "shift+up", "shift+up", "shift+up")
        await shows(app, pilot, "4 selected")


async def test_a_run_is_named_tagged_and_annotated(runs_dir: Path) -> None:
    add_run(runs_dir, "old", "finished", 1)
    add_run(runs_dir, "taken", "finished", 2)
    async with opened(runs_dir, (120, 40)) as (app, pilot):
        await pilot.press("tab", "N")
        await shows(app, pilot, "Name, tags and note")
        await pilot.press("ctrl+u", *"taken")
        await shows(app, pilot, "taken exists already")
        await pilot.press("enter", *"-2", "tab", *"paper a:b")
        await shows(app, pilot, "tag 'a:b': use letters")
        await pilot.press("backspace", "backspace", "tab", *"the best", "enter")
        await shows(app, pilot, "taken-2", "paper a", "the best")
        assert app.screen.query_one(RunList).highlighted_run.name == "taken-2"  # type: ignore[union-attr]
        await pilot.press("N")
        await shows(app, pilot, "Name, tags and note", "paper a")
        press_at_once(app, "tab", "down", *"2", "shift+tab", *" b", "up", *"x", "enter")
        await shows(app, pilot, "taken-2x", "paper a b", "the best2")
        await pilot.press("N")
        await shows(app, pilot, "Name, tags and note", "paper a b")
        await pilot.press("escape")
        await until(app, pilot, lambda: isinstance(app.screen, menu.MenuScreen))
    assert not (runs_dir / "old").exists()
    assert "the best2" in (runs_dir / "taken-2x" / "notes.json").read_text()


@pytest.mark.parametrize("status", ["stopped", "failed", "interrupted"])
async def test_r_resumes_an_ended_run(runs_dir: Path, status: str) -> None:
    folder = add_run(runs_dir, "digits", status, 10)
    async with opened(runs_dir) as (app, pilot):
        await pilot.press("tab", "r")
        await until(app, pilot, lambda: app.received)
        assert app.received == [ResumeListedRun(folder)]


async def test_r_asks_how_far_to_extend_a_finished_run(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = SimpleNamespace(training=SimpleNamespace(epochs=7, max_steps=None))
    typed: list[str] = []
    monkeypatch.setattr(launch, "extension", lambda folder, text: typed.append(text) or preset)
    monkeypatch.setattr(extend, "DELAY_SECONDS", 60.0)
    folder = add_run(runs_dir, "digits", "finished", 10, epoch=4, total_epochs=4)
    async with opened(runs_dir) as (app, pilot):
        await pilot.press("tab", "r")
        await shows(app, pilot, "Extend digits: how many more epochs? (4 of 4 done)")
        await pilot.press("end", "ctrl+u", "3", "enter")
        await until(app, pilot, lambda: app.received)
        [message] = app.received
        assert isinstance(message, ResumeListedRun)
        assert (message.folder, message.preset) == (folder, preset)
        assert typed[-1] == "3"


async def test_r_says_why_a_run_cannot_be_resumed(runs_dir: Path) -> None:
    add_run(runs_dir, "live", "running", 1)
    unreadable = add_run(runs_dir, "unreadable", "stopped", 2)
    (unreadable / "run.json").write_text("{")
    async with opened(runs_dir) as (app, pilot):
        await pilot.press("r")  # the presets have the focus
        await pilot.press("tab", "r", "j", "r")
        await until(app, pilot, lambda: "unreadable is unreadable" in notifications(app))
        assert "live is still running; attach to it instead" in notifications(app)
        assert not app.received


async def test_i_shows_everything_about_a_preset_or_a_run(runs_dir: Path) -> None:
    add_run(runs_dir, "mine", "failed", 1, reason="division by zero")
    async with opened(runs_dir) as (app, pilot):
        await pilot.press("i")
        await shows(app, pilot, "It teaches that small things can be enough.", "esc closes")
        await pilot.press("escape", "tab", "i")
        await shows(app, pilot, "runs/mine", "division by zero")
        await pilot.press("q")
        await until(app, pilot, lambda: isinstance(app.screen, menu.MenuScreen))


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (120, 40), (200, 60)])
async def test_half_of_the_height_belongs_to_the_list_that_has_the_focus(
    runs_dir: Path, size: tuple[int, int]
) -> None:
    add_run(runs_dir, "mine" * 20, "finished", 1, preset="aa-small", total_epochs=9, epoch=3)
    async with opened(runs_dir, size) as (app, pilot):
        for key, list_type in (("", PresetList), ("tab", RunList)):
            if key:
                await pilot.press(key)
            shown = app.screen.query_one(list_type)
            await until(app, pilot, lambda shown=shown: 2 * shown.size.height >= size[1] - 3)  # type: ignore[misc]
        await shows(app, pilot, "finished", "minemi")


async def test_the_order_of_the_runs_is_remembered_and_used(runs_dir: Path) -> None:
    add_run(runs_dir, "b-new", "finished", 1)
    add_run(runs_dir, "a-old", "finished", 2)
    async with opened(runs_dir) as (app, pilot):
        await pilot.press("tab", "o", "O")
        await shows(app, pilot, "by name, reversed")
        assert (app.config.run_order, app.config.run_order_reversed) == ("name", True)
    config = UserConfig(run_order="name", run_columns=["status", "host"])
    app = ConsoleApp(runs_dir=runs_dir, config=config)
    async with app.run_test(size=(120, 40)) as pilot:
        await shows(app, pilot, "by name", "elsewhere")
        assert "progress" not in text_of(app.screen)


async def test_enter_on_a_preset_whose_data_has_come_meanwhile_starts_it(runs_dir: Path) -> None:
    async with opened(runs_dir) as (app, pilot):
        await pilot.press("end", "enter")
        await until(app, pilot, lambda: app.received)
        edited = app.received.pop()
        assert isinstance(edited, menu.MenuScreen.EditRequested)
        assert (edited.preset.name, edited.key) == ("dd-table", "data.root")
        assert "there is no table.csv; set data.root" in notifications(app)
        (runs_dir.parent / "table.csv").touch()
        await pilot.press("enter")
        await until(app, pilot, lambda: app.received)
        assert isinstance(app.received.pop(), menu.MenuScreen.PresetChosen)


@pytest.mark.parametrize("name", ["FIFO", "not JSON", "binary", "sparse", "nested"])
@pytest.mark.parametrize("file", ["metrics.jsonl", "preset.toml", "notes.json", "journal.jsonl"])
async def test_whatever_is_in_a_runs_files_it_is_listed_and_previewed(
    runs_dir: Path, name: str, file: str
) -> None:
    replace_by(name, add_run(runs_dir, "victim", "finished", 1, preset="aa-small") / file)
    async with opened(runs_dir, (120, 40)) as (app, pilot):
        await pilot.press("tab")
        await until(app, pilot, lambda: app.screen.query_one(RunPreview).is_complete)
        assert listed_runs(app) == ["victim"]


async def test_the_trend_of_a_run_that_is_resumed_grows(runs_dir: Path) -> None:
    folder = add_compared_run(runs_dir, "mine", "", 2)
    async with opened(runs_dir, (120, 40)) as (app, pilot):
        await until(app, pilot, lambda: "▇▁" in app.text)
        add_history(folder, 4)
        record = folder.load_record()
        folder.write_record(replace(record, status="running", updated=record.updated + 1))
        await until(app, pilot, lambda: "▇▃▁▁" in app.text or "▇▄▂▁" in app.text)


async def test_a_note_of_several_lines_stays_as_it_is_if_it_is_not_edited(runs_dir: Path) -> None:
    folder = RunFolder(add_run(runs_dir, "old", "finished", 1))
    write_notes(folder, Notes((), "first\nsecond"))
    async with opened(runs_dir, (120, 40)) as (app, pilot):
        await pilot.press("tab", "N")
        await shows(app, pilot, "Name, tags and note")
        await pilot.press("tab", *"paper", "enter")
        await shows(app, pilot, "tags  paper")
    assert read_notes(folder) == Notes(("paper",), "first\nsecond")


async def test_a_new_run_in_the_place_of_a_deleted_one_is_not_selected(runs_dir: Path) -> None:
    add_run(runs_dir, "other", "finished", 1)
    add_run(runs_dir, "mine", "finished", 2)
    async with opened(runs_dir, (120, 40)) as (app, pilot):
        await pilot.press("tab", "j", "space", "D")
        await shows(app, pilot, "Delete mine?")
        await pilot.press("y")
        await until(app, pilot, lambda: listed_runs(app) == ["other"])
        add_run(runs_dir, "mine", "finished", 0)
        await until(app, pilot, lambda: listed_runs(app) == ["mine", "other"])
        assert "selected" not in app.text


async def test_the_end_of_a_run_is_told_while_the_screen_of_another_is_open(runs_dir: Path) -> None:
    folder = RunFolder(add_run(runs_dir, "mine", "running", 1))
    async with opened(runs_dir, (120, 40)) as (app, pilot):
        await until(app, pilot, lambda: app._attention._before)
        await app.push_screen(Screen())
        folder.write_record(replace(folder.load_record(), status="finished"))
        await until(app, pilot, lambda: "run mine finished" in notifications(app))


async def test_evaluations_of_ended_runs_are_not_kept(runs_dir: Path) -> None:
    add_compared_run(runs_dir, "mine", "", 60)
    async with opened(runs_dir, (120, 40)) as (app, pilot):
        await until(app, pilot, lambda: "▁▁" in app.text)
        reading = app.screen._reading  # type: ignore[attr-defined]
        assert not any(reader.evaluations for reader in reading._readers.values())

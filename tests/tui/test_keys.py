"""The table of keys: it is complete, has no conflicts, and defines bindings, help, key lines and palette."""

from __future__ import annotations

from collections import Counter

import pytest
from textual.binding import Binding
from textual.screen import Screen
from textual.widgets import Input, OptionList

from tests.support.pilot import until
from tests.support.scripted import BEGINNING, ScriptedRun, epochs
from tests.support.watching import Host, watching
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.info import ConfusionMatrix
from torchconsole.tui.app import ConsoleApp
from torchconsole.tui.keys import (
    APP,
    COLUMNS,
    EVERYWHERE,
    LISTS,
    PANE_LISTS,
    PANES,
    RUN_KEYS,
    SCREENS,
    SECTIONS,
    STEERING,
    Action,
    Section,
    actions_of,
)
from torchconsole.tui.screens.compare import CompareScreen
from torchconsole.tui.screens.form import FormScreen
from torchconsole.tui.screens.keyed import KeyedScreen
from torchconsole.tui.screens.menu import MenuScreen
from torchconsole.tui.screens.run import RunScreen
from torchconsole.tui.user_keys import read_user_keys
from torchconsole.tui.widgets.classes_pane import ClassesPane
from torchconsole.tui.widgets.list_pane import ListPane
from torchconsole.tui.widgets.log_pane import LogPane
from torchconsole.tui.widgets.option_list import KeyedOptionList

KEYED_SCREENS: tuple[type[KeyedScreen], ...] = (RunScreen, MenuScreen, FormScreen, CompareScreen)
RESERVED = {"u", "P", "A"}
"""Keys of the run screen whose actions are still to come."""

run_actions = actions_of(*RUN_KEYS)


@pytest.mark.parametrize("sections", SCREENS.values(), ids=SCREENS)
def test_each_key_has_one_meaning_on_a_screen(sections: tuple[Section, ...]) -> None:
    keys = Counter(key for action in actions_of(*sections) for key in action.keys)
    assert [key for key, count in keys.items() if count > 1] == []


def test_each_action_has_one_name() -> None:
    names = Counter(action.config_name for action in actions_of(*SECTIONS))
    assert [name for name, count in names.items() if count > 1] == []
    assert all(name.isidentifier() for name in names)


def test_keys_of_what_is_to_come_are_free() -> None:
    assert not RESERVED & {key for action in run_actions for key in action.keys}


@pytest.mark.parametrize("screen", KEYED_SCREENS)
def test_a_screen_binds_and_implements_its_keys(screen: type[KeyedScreen]) -> None:
    own = [section for section in screen.SECTIONS if section not in (LISTS, PANE_LISTS, COLUMNS, APP)]
    bound = {
        key: binding.action
        for binding in screen.BINDINGS
        if isinstance(binding, Binding)
        for key in binding.key.split(",")
    }
    assert bound == {key: action.id for action in actions_of(*own) for key in action.keys}
    names = {action.partition("(")[0] for action in bound.values() if not action.startswith("app.")}
    assert [name for name in names if not callable(getattr(screen, f"action_{name}", None))] == []


@pytest.mark.parametrize("widget", [KeyedOptionList, LogPane, ListPane, ClassesPane])
def test_lists_and_panes_implement_the_keys_of_lists(widget: type[OptionList]) -> None:
    assert all(callable(getattr(widget, f"action_{action.id}", None)) for action in LISTS.actions)


def test_the_app_implements_the_keys_of_the_app() -> None:
    for action in APP.actions:
        owner: type = Screen if action.id.startswith("screen.") else ConsoleApp
        assert action.id == "screen.leave" or callable(getattr(owner, f"action_{action.id}"))


@pytest.mark.parametrize("width", [40, 120])
async def test_the_help_lists_every_action(width: int) -> None:
    async with watching(ScriptedRun(*BEGINNING), size=(width, 240)) as console:
        await console.press("question_mark")
        await console.shows(*(action.help for action in run_actions), *(part.title for part in RUN_KEYS))
        await console.press("escape")
        assert "esc closes" not in console.text


@pytest.mark.parametrize("live", [True, False])
async def test_the_palette_lists_the_available_actions_except_itself(live: bool) -> None:
    end = ev.RunFinished(status="finished", reason="all 60 epochs done", step=1380, epoch=60)
    run = ScriptedRun(*BEGINNING, *([] if live else [end]), live=live)
    async with watching(run, size=(100, 200)) as console:
        await console.press("ctrl+p")
        offered = {"always", "steerable", "adjustable", "live"} if live else {"always", "resumable"}
        in_panes = PANE_LISTS.actions
        listed = [
            action for action in run_actions if action.id != "app.command_palette" and action not in in_panes
        ]
        await console.shows(*(action.help for action in listed if action.when in offered))
        assert not any(action.help in console.text for action in listed if action.when not in offered)


@pytest.mark.parametrize(
    ("width", "keys"),
    [
        (120, "space pause  -+ lr  l lr=  s save  e eval  x stop  d detach  c chart  1-9 panes"),
        (80, "space pause  -+ lr  s save  x stop  c chart  1-9 panes"),
        (70, "space pause  -+ lr  s save  x stop  1-9 panes"),
        (60, "space pause  -+ lr  s save  1-9 panes"),
        (50, "space pause  -+ lr  1-9 panes"),
        (40, "space pause  -+ lr"),
        (30, "space pause"),
        (20, ""),
    ],
)
async def test_a_narrow_key_line_keeps_leave_and_help(width: int, keys: str) -> None:
    async with watching(ScriptedRun(*BEGINNING), size=(max(40, width), 15)) as console:
        bar = console.app.run_screen.query_one("KeyBar")
        shown = "".join(text for text, _ in bar.draw(width - 2, 1)[0])  # type: ignore[attr-defined]
        assert shown.strip() == f"{keys}  q leave  ? help".strip()


@pytest.mark.parametrize("sections", SCREENS.values(), ids=SCREENS)
def test_the_way_out_and_the_help_are_in_every_key_line(sections: tuple[Section, ...]) -> None:
    kept = [action for action in actions_of(*sections) if action.shown_key and not action.rank]
    assert {"leave", "help"} <= {action.config_name.removeprefix("form_") for action in kept}
    assert sum(len(f"{action.shown_key} {action.label}  ") for action in kept) <= 40


def test_the_key_line_drops_keys_in_a_fixed_order() -> None:
    ranks = {action.keys[0]: action.rank for action in actions_of(STEERING, EVERYWHERE)}
    order = [key for key in "dlexs" if key in ranks]
    assert sorted(order, key=lambda key: -ranks[key]) == order
    assert ranks["q"] == ranks["question_mark"] == 0


async def test_an_ended_run_offers_its_panes() -> None:
    end = ev.RunFailed(reason="out of memory")
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2), end, live=False)) as console:
        keys = "r resume  c chart  1-9 panes  q leave  ? help"
        assert console.text.splitlines()[-1].strip() == keys


async def test_vims_keys_scroll_the_pane_that_has_the_focus() -> None:
    lines = [ev.LogWritten(level="info", message=f"line {number}") for number in range(100)]
    async with watching(ScriptedRun(*BEGINNING, *lines)) as console:
        await console.press("2")
        pane = console.app.run_screen.query_one("#log", LogPane)
        last = pane.highlighted
        assert last > 50
        await console.press("k")
        assert pane.highlighted == last - 1
        await console.press("g")
        assert (pane.highlighted, pane.scroll_offset.y) == (0, 0)
        await console.press("j", "j", "ctrl+d")
        assert pane.highlighted == 2 + max(1, pane.size.height // 2)
        await console.press("ctrl+u", "k")
        assert pane.highlighted == 1
        await console.press("G")
        assert pane.highlighted == last


async def test_half_a_page_skips_headings_and_stops_at_the_ends() -> None:
    from textual.app import App, ComposeResult
    from textual.widgets.option_list import Option

    class Lists(App[None]):
        def compose(self) -> ComposeResult:
            yield KeyedOptionList(*(Option(str(n), disabled=n in (0, 6)) for n in range(20)))

    app = Lists()
    async with app.run_test(size=(40, 12)) as pilot:
        options = app.query_one(KeyedOptionList)
        options.focus()
        assert options.highlighted == 1
        assert options.size.height == 10
        reached = []
        for key in ("ctrl+d", "j", "ctrl+d", "ctrl+d", "ctrl+d", "ctrl+u", "g", "ctrl+u", "G", "k"):
            await pilot.press(key)
            reached.append(options.highlighted)
        assert reached == [5, 7, 12, 17, 19, 14, 1, 1, 19, 18]


USER_KEYS, PROBLEMS = read_user_keys({"pause": "b", "help": "f1", "lower_lr": ["f8", "-"], "list_down": "z"})


async def test_the_users_keys_replace_ours_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert PROBLEMS == []
    monkeypatch.setattr(Host, "USER_KEYS", USER_KEYS)
    run = ScriptedRun(*BEGINNING)
    async with watching(run, size=(100, 100)) as console:
        assert "b pause  f8+ lr" in console.text
        assert "f1 help" in console.text
        await console.press("space")
        assert run.commands == []
        await console.press("b")
        assert len(run.commands) == 1
        await console.press("minus", "f8")
        assert len(run.commands) == 3
        await console.press("f1")
        await console.shows("f8 -             Lower the lr", "z                Go down by a line")
        await console.press("escape", "ctrl+p")
        await console.shows("key: b")


NAMED, _ = read_user_keys({
    "pane_search": "f9", "view": "f4", "pane_order": "f8", "pane_delete": "f6", "pane_log": "L", "pause": "b",
    "cursor_left": "alt+left", "zoom_in": "z", "next_match": "f10", "evaluate": "B", "pane_classes": "ctrl+k",
})  # fmt: skip


async def test_hints_in_panes_name_the_users_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Host, "USER_KEYS", NAMED)
    async with watching(ScriptedRun(*BEGINNING), size=(120, 40)) as console:
        await console.shows("1 charts  L log", "ctrl+k classes")
        await console.press("ctrl+k")
        await console.shows("`B` evaluates now")
        await console.press("L")
        await console.shows("f4 view  f9 search")
        await console.press("f9")
        await console.shows("f10 and N go on")
        await console.press(*"cuda", "enter")
        await console.shows("f10 N")
        await console.press("escape", "5")
        await console.shows("f8 as built")
        await console.press("c")
        await console.shows("[ z", "alt+left →")


async def test_the_hint_at_a_scrolled_matrix_names_the_users_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    keys, _ = read_user_keys({"list_down": "z", "column_right": "f9"})
    monkeypatch.setattr(Host, "USER_KEYS", keys)
    count = 60
    counts = [[int(row == column) for column in range(count)] for row in range(count)]
    matrix = ConfusionMatrix(classes=[f"class {number}" for number in range(count)], counts=counts)
    evaluation = ev.EvaluationCompleted(step=23, epoch=1, metrics={}, seconds=0.1, confusion=matrix)
    async with watching(ScriptedRun(*BEGINNING, evaluation), size=(120, 40)) as console:
        await console.press("4")
        await console.shows("true class 0")
        console.app.run_screen.set_focus(None)
        await console.shows("more classes: z k left f9")


async def test_the_banner_and_messages_name_the_users_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    keys, _ = read_user_keys({"resume": "B", "pane_log": "L", "reattach": "f9", "leave": "Q"})
    monkeypatch.setattr(Host, "USER_KEYS", keys)
    warning = ev.LogWritten(level="warning", message="2 samples are damaged")
    run = ScriptedRun(*BEGINNING)
    async with watching(run) as console:
        run.emit(warning)
        await console.shows("! warning (L log): 2 samples are damaged")
        run.hang_up(TorchconsoleError("gone"))
        await console.shows("f9 attach again   Q leave")
    end = ev.RunFailed(reason="out of memory")
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2), end, live=False)) as console:
        await console.shows("B resume   L log")


async def test_letters_are_text_where_text_is_typed() -> None:
    run = ScriptedRun(*BEGINNING)
    async with watching(run) as console:
        screen = console.app.run_screen
        await screen.mount(line := Input())
        screen.set_focus(line)
        await console.press("s", "space", "q", "1", "j")
        assert line.value == "s q1j"
        assert run.commands == []


def test_an_action_without_a_name_of_its_own_is_called_as_in_textual() -> None:
    assert Action("save", ("s",), "s", "save", "Save").config_name == "save"
    assert PANES.actions[0].config_name == "pane_charts"


async def test_the_pane_that_was_open_last_is_open_again() -> None:
    async with watching(ScriptedRun(*BEGINNING)) as console:
        for keys, pane in (("3", "changes"), ("tab", "classes"), ("escape", "charts"), ("6", "device")):
            await console.press(keys)
            assert console.app.config.pane == pane
    kept = console.app.config

    class Later(Host):
        def __init__(self, run: ScriptedRun) -> None:
            super().__init__(run)
            self.config = kept

    app = Later(ScriptedRun(*BEGINNING))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(app, pilot, lambda: app.run_screen.pane == "device")

"""The table of actions: complete, without clashes, and the one source of keys, help and palette."""

from __future__ import annotations

from collections import Counter

from tests.tui.scripted import BEGINNING, ScriptedRun
from tests.tui.watching import watching
from torchconsole.tui.actions import ACTIONS
from torchconsole.tui.screens.run import RunScreen


def test_no_key_has_two_meanings() -> None:
    keys = Counter(key for action in ACTIONS for key in action.keys)
    assert max(keys.values()) == 1


def test_every_action_is_one_of_the_screen() -> None:
    own = [action.id.partition("(")[0] for action in ACTIONS if not action.id.startswith("app.")]
    assert all(callable(getattr(RunScreen, f"action_{name}")) for name in own)


def test_every_action_is_bound() -> None:
    bound = {key: binding.action for binding in RunScreen.BINDINGS for key in binding.key.split(",")}
    assert bound == {key: action.id for action in ACTIONS for key in action.keys}


async def test_the_help_names_every_action() -> None:
    async with watching(ScriptedRun(*BEGINNING)) as console:
        await console.press("question_mark")
        await console.shows(*(action.help for action in ACTIONS))
        await console.press("escape")
        assert "esc closes" not in console.text


async def test_the_palette_lists_every_action_but_itself() -> None:
    async with watching(ScriptedRun(*BEGINNING), size=(100, 80)) as console:
        await console.press("ctrl+p")
        await console.shows(*(action.help for action in ACTIONS if action.id != "app.command_palette"))

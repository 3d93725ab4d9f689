"""The table of actions: it is complete, has no conflicts, and defines the keys, the help and the palette."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.scripted import BEGINNING, ScriptedRun, epochs
from tests.support.watching import watching
from torchconsole.engine.protocol import events as ev
from torchconsole.tui.actions import ACTIONS
from torchconsole.tui.screens.run import RunScreen


def test_each_key_has_one_action() -> None:
    keys = Counter(key for action in ACTIONS for key in action.keys)
    assert max(keys.values()) == 1


def test_the_screen_implements_every_action() -> None:
    own = [action.id.partition("(")[0] for action in ACTIONS if not action.id.startswith("app.")]
    assert all(callable(getattr(RunScreen, f"action_{name}")) for name in own)


def test_the_screen_binds_every_action() -> None:
    bound = {key: binding.action for binding in RunScreen.BINDINGS for key in binding.key.split(",")}
    assert bound == {key: action.id for action in ACTIONS for key in action.keys}


async def test_the_help_lists_every_action() -> None:
    async with watching(ScriptedRun(*BEGINNING)) as console:
        await console.press("question_mark")
        await console.shows(*(action.help for action in ACTIONS))
        await console.press("escape")
        assert "esc closes" not in console.text


@pytest.mark.parametrize("live", [True, False])
async def test_the_palette_lists_the_available_actions_except_itself(live: bool) -> None:
    end = ev.RunFinished(status="finished", reason="all 60 epochs done", step=1380, epoch=60)
    run = ScriptedRun(*BEGINNING, *([] if live else [end]), live=live)
    async with watching(run, size=(100, 80)) as console:
        await console.press("ctrl+p")
        offered = {"always", "steerable", "live"} if live else {"always"}
        listed = [action for action in ACTIONS if action.id != "app.command_palette"]
        await console.shows(*(action.help for action in listed if action.when in offered))
        assert not any(action.help in console.text for action in listed if action.when not in offered)


@pytest.mark.parametrize(
    ("width", "keys"),
    [
        (
            120,
            "space pause  - + lr  l lr=  s save  e eval  x stop  d detach  1 layers  2 log  3 changes",
        ),
        (80, "space pause  - + lr  l lr=  s save  e eval  x stop  d detach"),
        (60, "space pause  - + lr  s save  x stop"),
        (40, "space pause  x stop"),
    ],
)
async def test_a_narrow_key_bar_keeps_leave_and_help(width: int, keys: str) -> None:
    async with watching(ScriptedRun(*BEGINNING), size=(width, 15)) as console:
        assert console.text.splitlines()[-1].strip() == f"{keys}  q leave  ? help"


async def test_an_ended_run_offers_its_panes() -> None:
    end = ev.RunFailed(reason="out of memory")
    async with watching(ScriptedRun(*BEGINNING, *epochs(1, 2), end, live=False)) as console:
        keys = "r resume  1 layers  2 log  3 changes  tab next  q leave  ? help"
        assert console.text.splitlines()[-1].strip() == keys


async def test_the_key_bar_of_a_paused_run_keeps_detach_in_80_columns() -> None:
    async with watching(ScriptedRun(*BEGINNING, ev.RunPaused(step=0))) as console:
        keys = "space unpause  - + lr  l lr=  s save  x stop  d detach  q leave  ? help"
        assert console.text.splitlines()[-1].strip() == keys

"""A change of the lr by more than ten times asks first, whichever keys make it."""

from __future__ import annotations

import pytest

from tests.support.scripted import running
from tests.support.watching import Console, watching
from torchconsole.engine.protocol import commands as cmd
from torchconsole.tui.lr_guard import ROW_SECONDS, is_large


@pytest.mark.parametrize(
    ("before", "after", "large"),
    [
        (0.01, 0.1, False),
        (0.01, 0.001, False),
        (0.01, 0.1001, True),
        (0.01, 0.00099, True),
        (0.0, 0.1, True),
        (0.1, 0.0, True),
        (0.0, 0.0, False),
    ],
)
def test_more_than_ten_times_is_large(before: float, after: float, large: bool) -> None:
    assert is_large(before, after) is large


@pytest.mark.parametrize("typed", ["100", "0.11", "x11", "x0.05", "0", "hold 0.2", "1e-5"])
async def test_a_typed_value_is_asked_about(typed: str) -> None:
    async with watching(running()) as console:
        await console.press("l", *typed, "enter")
        await console.shows("Change the lr from 0.01 to")
        assert console.run.commands == []
        await console.press("escape")
        assert console.run.commands == []
        await console.press("l", *typed, "enter")
        await console.press("y")
        assert len(console.run.commands) == 1


@pytest.mark.parametrize("typed", ["0.1", "x10", "x0.1", "hold 0.05", "0.002"])
async def test_a_smaller_change_is_not_asked_about(typed: str) -> None:
    async with watching(running()) as console:
        await console.press("l", *typed, "enter")
        assert len(console.run.commands) == 1


@pytest.mark.parametrize("key", ["plus", "minus", "equals_sign"])
async def test_the_fifth_of_several_quick_keys_asks(key: str) -> None:
    """Four make exactly ten times; what is typed too much must not answer the question."""
    async with watching(running()) as console:
        await console.press_at_once(*[key] * 12)
        await console.shows("Change the lr from 0.01 to", "more than ten times")
        assert len(console.run.commands) == 4
        await console.press("escape")
        assert len(console.run.commands) == 4


async def test_a_confirmed_change_is_the_new_beginning() -> None:
    async with watching(running()) as console:
        await console.press(*["plus"] * 5)
        await console.press("y")
        assert len(console.run.commands) == 5
        await console.press(*["plus"] * 4)
        assert len(console.run.commands) == 9


async def apply_all(console: Console, lr: float) -> None:
    """Answer all commands so far as a run whose lr is now `lr`."""
    while console.run.commands:
        console.run.answer(93, "changed", {"lr": lr, "scale": lr / 0.01})
        console.run.commands.pop()
    await console.settle()


async def test_keys_with_time_between_them_do_not_add_up() -> None:
    async with watching(running()) as console:
        await console.press(*["plus"] * 4)
        await apply_all(console, 0.1)
        await console.press("plus")
        await console.shows("Change the lr from 0.01 to")
        await console.press("escape")
        console.app.now += ROW_SECONDS + 1
        await console.press("plus")
        assert console.run.commands == [cmd.SetLearningRate(factor=10**0.25)]


async def test_a_release_is_asked_about_too() -> None:
    run = running()
    run.snapshot.state.lr_held = 1.0
    run.snapshot.state.metrics["lr"] = 1.0
    async with watching(run) as console:
        await console.press("h")
        await console.shows("Change the lr from 1 to")
        await console.press("y")
        assert console.run.commands == [cmd.ReleaseLearningRate()]

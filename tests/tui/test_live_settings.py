"""The dialog that changes a setting of a live run."""

from __future__ import annotations

import re

import pytest

from tests.support.scripted import ScriptedRun, running
from tests.support.watching import watching
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.protocol import commands as cmd
from torchconsole.engine.protocol import events as ev


def trains_a_preset() -> ScriptedRun:
    run = running()
    run.snapshot.state.config = load_preset("digits-mlp").model_dump(mode="json", exclude_none=True)
    return run


async def test_a_setting_is_typed_and_sent() -> None:
    async with watching(trains_a_preset(), size=(120, 40)) as console:
        await console.press("E")
        await console.shows("settings that may change now", "training.clip_norm", "unset")
        await console.press(*"training.clip_norm=1.0", "enter")
        assert console.run.commands == [cmd.ChangeSetting(key="training.clip_norm", value="1.0")]
        await console.shows("set training.clip_norm=1.0 requested")
        result = {"key": "training.clip_norm", "before": None, "after": 1.0}
        console.run.answer(95, "training.clip_norm unset -> 1.0", result)
        await console.shows("training.clip_norm unset -> 1.0 · applied at step 95")
        assert console.app.run_screen.state.run.config["training"]["clip_norm"] == 1.0


async def test_a_key_is_found_and_completed_with_its_present_value() -> None:
    async with watching(trains_a_preset(), size=(80, 24)) as console:
        await console.press("E", *"keep", "tab")
        await console.shows("checkpoint.keep=2")
        await console.press("backspace", "5", "enter")
        assert console.run.commands == [cmd.ChangeSetting(key="checkpoint.keep", value="5")]


@pytest.mark.parametrize(
    ("in_memory", "shown"),
    [
        ("auto", "only if samples are not in memory"),
        (True, "nothing matches"),
        (False, "loader_timeout  300.0"),
    ],
)
async def test_keys_without_effect_are_left_out_or_marked(in_memory: bool | str, shown: str) -> None:
    run = trains_a_preset()
    run.snapshot.state.config["data"]["in_memory"] = in_memory
    async with watching(run, size=(120, 40)) as console:
        await console.press("E", *"data.loader_timeout")
        await console.shows(shown)
        assert ("only if samples" in console.text) == (in_memory == "auto")


async def test_a_key_that_is_not_set_shows_that_it_has_a_default() -> None:
    async with watching(trains_a_preset(), size=(120, 40)) as console:
        await console.press("E", *"training.log_every")
        await console.until(lambda: re.search(r"training\.log_every +default ", console.text))


async def test_enter_on_a_key_asks_for_its_value() -> None:
    async with watching(trains_a_preset()) as console:
        await console.press("E", *"eval_int", "enter")
        await console.shows("training.eval_interval=epoch")
        assert console.run.commands == []
        await console.press("ctrl+u", *"training.eval_interval=step", "enter")
        assert console.run.commands == [cmd.ChangeSetting(key="training.eval_interval", value="step")]


async def test_what_the_engine_would_reject_is_explained_and_the_dialog_stays_open() -> None:
    async with watching(trains_a_preset(), size=(120, 40)) as console:
        await console.press("E", *"training.epochs=9", "enter")
        await console.shows("training.epochs changes on a resume only: stop the run, then")
        await console.press("ctrl+u", *"training.clip_norm=much", "enter")
        await console.shows("training.clip_norm: must be a valid number, got 'much'")
        await console.press("escape")
        assert console.run.commands == []
        assert "settings that may change" not in console.text


async def test_a_refusal_stays_when_text_and_enter_arrive_together() -> None:
    async with watching(trains_a_preset(), size=(120, 40)) as console:
        await console.press("E")
        await console.press_at_once(*"foo=1", "enter")
        await console.shows("foo: unknown key")
        await console.press_at_once("ctrl+u", *"training.epochs=80", "enter")
        await console.shows("training.epochs changes on a resume only")
        await console.press("backspace")
        assert "changes on a resume only" not in console.text
        await console.press("escape")
        assert console.run.commands == []


async def test_a_preset_of_another_version_is_left_to_its_worker() -> None:
    run = trains_a_preset()
    run.snapshot.state.config["later"] = 1
    async with watching(run) as console:
        await console.press("E", *"later=2", "enter")
        assert console.run.commands == [cmd.ChangeSetting(key="later", value="2")]


async def test_a_program_has_no_settings() -> None:
    run = running()
    run.snapshot.state.config = {"script": {"file": "train.py"}}
    async with watching(run, size=(120, 40)) as console:
        await console.press("E")
        await console.shows("cannot change a setting: a program of yours has no preset")
        await console.press("ctrl+p", *"setting")
        assert "Change a setting of the run's preset" not in console.text


async def test_a_changed_title_is_shown() -> None:
    async with watching(trains_a_preset(), size=(120, 40)) as console:
        applied = ev.CommandApplied(
            id="other",
            command=cmd.ChangeSetting(key="title", value="Another name"),
            step=95,
            by="ann@pts/3",
            detail="title Digits -> Another name",
            result={"key": "title", "before": "Digits", "after": "Another name"},
        )
        console.run.emit(applied)
        await console.shows("Another name", "title Digits -> Another name")

"""The help closes with each of its keys, and the run is shown again."""

from __future__ import annotations

import pytest

from tests.support.scripted import BEGINNING, ScriptedRun
from tests.support.watching import watching


@pytest.mark.parametrize("key", ["escape", "q", "question_mark", "f1", "enter"])
async def test_the_help_closes_with_each_of_its_keys(key: str) -> None:
    async with watching(ScriptedRun(*BEGINNING)) as console:
        await console.press("question_mark")
        await console.shows("esc closes")
        await console.press(key)
        assert "esc closes" not in console.text

"""`is_shown` finds words on a screen wherever they are wrapped."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.widgets import Static

from tests.support.screen_text import is_shown


class Columns(App[None]):
    """Two framed columns side by side; the path in the left one may have any length."""

    CSS = "Static { width: 1fr; border: round; }"

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static(f"not started: cannot read {self.path}/net.py: no such file")
            yield Static("other words " * 20)


@pytest.mark.parametrize("length", range(1, 40, 3))
async def test_words_beside_a_path_of_any_length_are_found(length: int) -> None:
    app = Columns("/" + "x" * length)
    async with app.run_test(size=(50, 12)) as pilot:
        await pilot.pause()
        for words in ("not started", "net.py", "net.py: no such file", "other words"):
            assert is_shown(app.screen, words), words
        assert not is_shown(app.screen, "net.py: other words")

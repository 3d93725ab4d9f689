"""Fixtures of all console tests: UTC, a local terminal, and no waiting for refreshes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.menus import NOW, PRESETS
from torchconsole.engine.config import preset_files
from torchconsole.tui import themed_app
from torchconsole.tui.screens import menu_reading, run_layout, run_list
from torchconsole.tui.widgets import menu_lines


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use UTC, so that times of day do not depend on the machine."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(autouse=True)
def local_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as in a local terminal, even if the tests run over SSH."""
    monkeypatch.delenv("SSH_CONNECTION", raising=False)


@pytest.fixture(autouse=True)
def capable_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw in truecolor and with all signs, whatever the terminal of the tests is."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(themed_app, "ascii_encoding", lambda: None)


@pytest.fixture(autouse=True)
def fast_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refresh at once, so that no test waits for it."""
    monkeypatch.setattr(run_layout, "SHORTEST_SECONDS", 0.01)
    monkeypatch.setattr(run_layout, "SHORTEST_REMOTE_SECONDS", 0.01)
    monkeypatch.setattr(run_layout, "LONGEST_SECONDS", 0.01)
    monkeypatch.setattr(run_layout, "COSTLY_SECONDS", 0.01)


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
    monkeypatch.setattr(menu_lines, "gethostname", lambda: "box")
    monkeypatch.setattr(menu_lines, "short_path", lambda path: path.name)
    monkeypatch.setattr(menu_reading, "REFRESH_SECONDS", 0.05)
    monkeypatch.setattr(menu_reading, "REST", 0.0)
    monkeypatch.setattr(menu_reading, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(menu_reading.MenuReading, "now", lambda self: NOW)
    monkeypatch.setattr(run_list.time, "time", lambda: NOW)
    return tmp_path / "runs"

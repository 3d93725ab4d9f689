"""Names and texts of any origin are shown escaped on every screen: no terminal obeys them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError
from textual.app import App

from tests.support.pilot import shows
from tests.support.screen_text import text_of
from tests.support.scripted import BEGINNING, ScriptedRun, epochs
from tests.support.textual_compat import notifications
from tests.support.watching import watching
from torchconsole.engine.client import catalogue_cache
from torchconsole.engine.config import preset_files
from torchconsole.engine.config.catalogue import Catalogue, Kind, Signature
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import SaveCheckpoint
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.record import RunRecord
from torchconsole.tui.app import ConsoleApp

HOSTILE = "\x1b[2J\u202e\x9b31m\u2028[red]x[/red]\r\x07"
SHOWN = "\\x1b[2J"


def assert_harmless(app: App[Any]) -> None:
    """Assert that no text on any screen of the app, nor in its notifications, controls a terminal."""
    for text in (*map(text_of, app.screen_stack), notifications(app)):
        assert [char for char in text if char != "\n" and not char.isprintable()] == []


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of all texts in an event's content, and of all keys of its dictionaries."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value[:3]):
            yield from leaves(item, (*path, index))
    elif isinstance(value, str):
        yield path


def poisoned(event: ev.Event) -> ev.Event:
    """Return the event with hostile texts wherever its type accepts them, also in the names of metrics."""
    for path in leaves(event.model_dump(mode="json")):
        content = event.model_dump(mode="json")
        target = content
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] += HOSTILE
        with suppress(ValidationError):
            event = type(event).model_validate(content)
    content = event.model_dump(mode="json")
    for field in ("metrics", "series"):
        if found := content.get(field):
            content[field] = {**found, f"val/{HOSTILE}": next(iter(found.values()))}
    return type(event).model_validate(content)


async def test_a_run_screen_escapes_every_text() -> None:
    events = [
        *map(poisoned, (*BEGINNING, *epochs(1, 2))),
        ev.LogWritten(level="warning", message=HOSTILE),
        ev.PhaseChanged(phase="loading data", subject=HOSTILE, unit=HOSTILE, hint=HOSTILE, time=1.0),
        ev.CommandApplied(id=HOSTILE, command=SaveCheckpoint(), step=3, by=HOSTILE, detail=HOSTILE),
        ev.CheckpointFailed(step=3, reason=HOSTILE),
    ]
    run = ScriptedRun(*events)
    run.snapshot.state.name = run.snapshot.state.title = HOSTILE
    async with watching(run, size=(150, 45)) as console:
        assert SHOWN in console.text
        for key in ("1", "2", "3", "4", "4", "question_mark", "escape", "l", "escape", "x", "escape"):
            await console.press(key)
            assert_harmless(console.app)
        console.run.emit(ev.RunFailed(reason=HOSTILE))
        await console.shows("failed at step", SHOWN)
        assert_harmless(console.app)


@pytest.fixture
def hostile_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder whose presets, code and runs have hostile names and texts."""
    for kind in ("STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind))
    presets = tmp_path / "presets"
    presets.mkdir()
    text = json.dumps(HOSTILE)
    code = presets / "net\x1b[2J.py"
    code.write_text(f"# {HOSTILE}\nclass Net:\n    pass\n")
    (presets / "aa\x1b[2J.toml").write_text(
        f"title = {text}\ndescription = {text}\nneeds = {text}\n"
        '[data]\nname = "ImageFolder"\nroot = "/x\\u001b[2J"\n'
        '[model]\nname = "net\\u001b[2J.py:Net"\n'
    )
    (presets / "bb\x1b[2J.toml").write_text(f"title = {HOSTILE}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(preset_files, "preset_folders", lambda: [presets])
    kinds: dict[Kind, dict[str, Signature]] = {kind: {} for kind in get_args(Kind)}
    kinds["data"] = {"ImageFolder": Signature(arguments={})}
    kinds["optimizer"] = {"AdamW": Signature(arguments={"lr": False})}
    catalogue = Catalogue(versions={}, kinds=kinds)
    monkeypatch.setattr(catalogue_cache, "load_catalogue", lambda: catalogue)
    folder = RunFolder(tmp_path / "runs" / "run\x1b[2J")
    folder.path.mkdir(parents=True)
    best = {"metric": HOSTILE, "value": 1.0, "step": 3}
    texts: dict[str, Any] = {"preset": HOSTILE, "title": HOSTILE, "reason": HOSTILE, "host": HOSTILE}
    folder.write_record(RunRecord("x", "x", status="failed", best=best, created=1.0, **texts))
    folder.preset_file.write_text('title = "x"\n')
    broken = tmp_path / "runs" / "broken\x1b[2J"
    broken.mkdir()
    (broken / "run.json").write_text(HOSTILE)
    return tmp_path


async def test_menu_form_and_dialogs_escape_every_text(hostile_home: Path) -> None:
    app = ConsoleApp(runs_dir=hostile_home / "runs")
    async with app.run_test(size=(150, 45), notifications=True) as pilot:
        await shows(app, pilot, "run\\x1b[2J", "broken\\x1b[2J", "aa\\x1b[2J")
        assert_harmless(app)
        for keys, words in (
            (("down", "up", "enter"), "batch size"),  # its data is not there
            (("f6",), "Do you trust"),
            (("escape", "down", "down", "tab", "down", "f8"), "Save as"),
            (("escape", "escape", "tab", "D"), "with all its checkpoints?"),
            (("escape", "enter"), "failed at step 0"),
            (("2", "2", "question_mark"), "keys"),
            (("escape", "q"), "broken\\x1b[2J"),
        ):
            await pilot.press(*keys)
            await shows(app, pilot, words)
            assert_harmless(app)

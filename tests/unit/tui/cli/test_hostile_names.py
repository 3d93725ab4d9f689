"""Names and texts of any origin are printed escaped by every command: no terminal obeys them.

The commands are called in this process, where the streams have no net of their own.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import make_folder
from torchconsole.engine.client import catalogue_cache
from torchconsole.engine.config import loading
from torchconsole.engine.config.catalogue import Catalogue
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import SaveCheckpoint
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.line_formats import event_line, journal_line
from torchconsole.tui import cli

HOSTILE = "\x1b[2J\x1b]0;title\x07 \u202edlrow\u200b\x9b31m\u2028[red]x[/red]\rend"
NAME = "evil\x1b[31m\u202e\x9bm"


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, catalogue: Catalogue) -> RunFolder:
    """A run and a preset with control characters wherever there is text."""
    monkeypatch.chdir(tmp_path)
    for kind in ("STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind))
    monkeypatch.setenv("TORCHCONSOLE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(catalogue_cache, "load_catalogue", lambda: catalogue)
    texts: dict[str, Any] = {
        "preset": HOSTILE,
        "title": HOSTILE,
        "host": HOSTILE,
        "reason": f"{HOSTILE}\n{HOSTILE}",
        "best": {"metric": HOSTILE, "value": 0.5, "step": 3},
        "versions": {HOSTILE: HOSTILE},
        "git_commit": HOSTILE,
        "details": {"metrics": {HOSTILE: 0.5}},
    }
    made = make_folder(tmp_path / "runs", status="failed", step=3, **texts)
    folder = RunFolder(made.path.rename(made.path.with_name(NAME)))
    evaluated = ev.EvaluationCompleted(
        seq=1, step=3, epoch=1, metrics={HOSTILE: 0.5}, reason="schedule", seconds=1.0
    )
    changed = ev.CommandApplied(
        id=HOSTILE, command=SaveCheckpoint(), step=3, by=HOSTILE, detail=HOSTILE, seq=2
    )
    folder.metrics_file.write_bytes((event_line(evaluated) or b"").rstrip() + b"\n")
    folder.journal_file.write_bytes(journal_line(changed).rstrip() + b"\n")
    folder.log_file.write_text(f"{HOSTILE}\n")
    for path in (folder.preset_file, tmp_path / "presets" / f"{NAME}.toml"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            f'title = {json.dumps(HOSTILE)}\ndescription = {json.dumps(HOSTILE)}\nextends = "digits-mlp"\n'
        )
    return folder


def run(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """Run a command and return its output and its errors, of which no character controls a terminal."""
    cli._run(arguments)
    captured = capsys.readouterr()
    for text in captured:
        assert [char for char in text if char not in "\n\t" and not char.isprintable()] == []
    return captured.out, captured.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("runs",),
        ("runs", HOSTILE),
        ("runs", "--sort", HOSTILE),
        ("runs", "--runs-dir", HOSTILE),
        ("events", NAME),
        ("events", HOSTILE),
        ("checkpoints", NAME),
        ("send", NAME, "pause"),
        ("send", HOSTILE, "pause"),
        ("send", NAME, HOSTILE),
        ("send", NAME, "lr", HOSTILE),
        ("attach", NAME),
        ("attach", HOSTILE),
        ("delete", NAME),
        ("delete", HOSTILE, "--yes"),
        ("resume", HOSTILE),
        ("resume", f"{NAME}@{HOSTILE}"),
        ("resume", NAME, "--set", f"{HOSTILE}=1"),
        ("evaluate", NAME),
        ("evaluate", HOSTILE, "--part", HOSTILE),
        ("export", NAME),
        ("export", HOSTILE),
        ("presets",),
        ("show", NAME),
        ("show", HOSTILE),
        ("show", NAME, "--set", f"title={HOSTILE}"),
        ("show", NAME, "--set", f"{HOSTILE}={HOSTILE}"),
        ("show", NAME, "--set", f'data.name="{HOSTILE}"'),
        ("show", NAME, "--set", f'model.name="{HOSTILE}.py:Net"'),
        ("train", HOSTILE),
        ("train", NAME, "--set", f'model.name="{HOSTILE}:Net"'),
        ("train", NAME, "--from", HOSTILE),
        ("train", NAME, "--device", HOSTILE),
        ("summary", HOSTILE),
        ("summary", HOSTILE, "--values"),
        ("check", HOSTILE),
        (HOSTILE,),
        ("runs", f"--{HOSTILE}"),
    ],
    ids=lambda words: (
        " ".join(words).encode("ascii", "backslashreplace").decode().replace("\x1b", "ESC")[:60]
    ),
)
def test_no_command_prints_control_characters(
    arguments: tuple[str, ...], hostile: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = run(arguments, capsys)
    assert out or err


@pytest.mark.parametrize(
    "arguments", [("runs", "--json"), ("events", NAME, "--json"), ("show", NAME, "--json")]
)
def test_json_is_escaped_and_means_the_same(
    arguments: tuple[str, ...], hostile: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = run(arguments, capsys)
    assert out.isascii()
    text = json.dumps(HOSTILE)[1:-1]
    assert text in out


def test_a_preset_is_shown_as_toml_that_means_the_same(
    hostile: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = run(("show", NAME), capsys)
    assert tomllib.loads(out)["title"] == HOSTILE
    assert loading.load_preset(NAME).title == HOSTILE


def test_markup_is_shown_as_it_is(hostile: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = run(("runs",), capsys)
    assert "[red]x[/red]" in out
    assert "evil\\x1b[31m\\u202e\\x9bm" in out


def test_one_run_is_one_line(hostile: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = run(("runs",), capsys)
    assert len(out.splitlines()) == 2

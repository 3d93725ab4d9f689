"""Pictures are printed with text beside them."""

from __future__ import annotations

import base64
import io
import sys

import pytest

from torchconsole.engine.protocol.model_reports import Picture
from torchconsole.tui.cli import pictures
from torchconsole.tui.cli.output import prepare_streams

TWO_ROWS = Picture(
    height=2, width=2, pixels=base64.b64encode(bytes([255, 0, 0] * 2 + [0, 0, 255] * 2)).decode()
)


def printed(monkeypatch: pytest.MonkeyPatch, lines: list[str], **environ: str) -> str:
    """Return what is written to a terminal of 20 columns, with 256 colors unless `environ` says otherwise."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"COLUMNS": "20", "TERM": "xterm-256color", **environ}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(pictures, "ascii_encoding", lambda: environ.get("ENCODING"))
    written = io.BytesIO()
    terminal = io.TextIOWrapper(written, encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", terminal)
    prepare_streams()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    pictures.print_beside(TWO_ROWS, lines)
    sys.stdout.flush()
    return written.getvalue().decode()


def test_in_truecolor_a_cell_has_the_colors_of_two_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    found = printed(monkeypatch, ["a very long name of a file", "second"], COLORTERM="truecolor")
    assert found == "\x1b[38;2;255;0;0;48;2;0;0;255m▀▀\x1b[0m  a very long nam…\n    second\n"


def test_with_256_colors_the_colors_are_indices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed(monkeypatch, []) == "\x1b[38;5;196;48;5;21m▀▀\x1b[0m\n"


@pytest.mark.parametrize(
    "environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": "xterm"}, {"ENCODING": "ascii"}]
)
def test_with_fewer_colors_or_signs_characters_show_the_brightness(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    assert printed(monkeypatch, ["a"], **environ) == "::  a\n"


def test_a_pipe_gets_characters_and_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    pictures.print_beside(TWO_ROWS, [long])
    pictures.print_beside(None, [long])
    assert capsys.readouterr().out == f"::  {long}\n{long}\n"

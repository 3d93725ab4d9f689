"""The terminal's background: what it answers, what it has answered, and what is typed meanwhile."""

from __future__ import annotations

import os
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from torchconsole.tui import terminal_background
from torchconsole.tui.terminal_background import Answer, Replies, ask_terminal, find_background

WHITE, BLACK = "\x1b]11;rgb:ffff/ffff/ffff\x1b\\", "\x1b]11;rgb:0000/0000/0000\x07"
ATTRIBUTES = "\x1b[?62;4c"
XTERM = {"TERM": "xterm-256color"}


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[int, int]]:
    """A pseudo-terminal: the side of the emulator, and that of the program."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp())
    emulator, program = os.openpty()
    yield emulator, program
    os.close(emulator)
    os.close(program)


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (WHITE + ATTRIBUTES, Answer(False)),
        (BLACK + ATTRIBUTES, Answer(True)),
        ("\x1b]11;rgba:ff/ff/f0/ff\x1b\\" + ATTRIBUTES, Answer(False)),
        ("\x1b]11;rgb:1/2/3\x07" + ATTRIBUTES, Answer(True)),
        (ATTRIBUTES, Answer(None)),
        ("jk" + WHITE + "q" + ATTRIBUTES, Answer(False, typed="jkq")),
        ("ä\x1b[A" + ATTRIBUTES, Answer(typed="ä\x1b[A")),
    ],
)
def test_the_answer_is_read_and_what_was_typed_is_kept(
    terminal: tuple[int, int], reply: str, answer: Answer
) -> None:
    emulator, program = terminal
    before = termios.tcgetattr(program)
    os.write(emulator, reply.encode())
    started = time.monotonic()
    assert ask_terminal(program, program, seconds=5) == answer
    assert time.monotonic() - started < 2
    assert termios.tcgetattr(program) == before


def test_a_silent_terminal_costs_no_more_than_the_limit(terminal: tuple[int, int]) -> None:
    emulator, program = terminal
    os.write(emulator, b"ab")
    assert ask_terminal(program, program, seconds=0.02) == Answer(typed="ab", is_silent=True)


@pytest.mark.parametrize(("row", "column", "cells"), [(1, 2, 1), (12, 3, 2), (3, 4, 3)])
def test_how_wide_a_sign_is_drawn(terminal: tuple[int, int], row: int, column: int, cells: int) -> None:
    emulator, program = terminal
    os.write(emulator, f"\x1b[{row};{column}R{ATTRIBUTES}".encode())
    assert ask_terminal(program, program, seconds=5, asks_sign=True) == Answer(sign_cells=cells)
    asked = b""
    while "★".encode() not in asked:
        asked += os.read(emulator, 100)


@pytest.mark.parametrize(("column", "repeats"), [(8, True), (2, False), (4, False)])
def test_whether_the_terminal_repeats_a_character(
    terminal: tuple[int, int], column: int, repeats: bool
) -> None:
    emulator, program = terminal
    os.write(emulator, f"\x1b[5;3R\x1b[5;{column}R{ATTRIBUTES}".encode())
    answer = ask_terminal(program, program, seconds=5, asks_sign=True)
    assert answer == Answer(sign_cells=2, repeats=repeats)
    os.write(emulator, f"\x1b[5;{column}R{ATTRIBUTES}".encode())
    assert ask_terminal(program, program, seconds=5) == Answer(repeats=repeats)


def test_a_terminal_without_braille_is_sent_none(terminal: tuple[int, int]) -> None:
    emulator, program = terminal
    os.write(emulator, ATTRIBUTES.encode())
    assert not ask_terminal(program, program, seconds=5, asks_repeat=False).repeats
    asked = b""
    while not asked.endswith(b"\x1b[c"):
        asked += os.read(emulator, 100)
    assert asked.isascii()


def test_a_terminal_that_is_always_silent_is_waited_for_once(
    terminal: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator, program = terminal
    monkeypatch.setattr(terminal_background, "LONGEST_SECONDS", 0.02)
    assert find_background(program, program, XTERM).is_silent
    os.read(emulator, 100)
    monkeypatch.setattr(terminal_background, "LONGEST_SECONDS", 100)
    assert find_background(program, program, XTERM) == Answer()
    assert b"\x1b]11;?" in os.read(emulator, 100)
    terminal_background.remember(False, XTERM)  # a late answer
    os.write(emulator, ATTRIBUTES.encode())
    assert find_background(program, program, XTERM).is_dark is False


def test_the_answer_is_remembered_for_this_terminal(terminal: tuple[int, int]) -> None:
    emulator, program = terminal
    os.write(emulator, (WHITE + ATTRIBUTES).encode())
    assert find_background(program, program, XTERM).is_dark is False
    os.write(emulator, ATTRIBUTES.encode())
    assert find_background(program, program, XTERM).is_dark is False
    os.write(emulator, ATTRIBUTES.encode())
    assert find_background(program, program, {"TERM": "xterm", "COLORFGBG": "15;0"}).is_dark is True
    os.write(emulator, (BLACK + ATTRIBUTES).encode())
    assert find_background(program, program, XTERM).is_dark is True


@pytest.mark.parametrize(
    ("environ", "is_dark"),
    [
        ({"TERM": "linux"}, True),
        ({"TERM": "linux", "COLORFGBG": "0;15"}, False),
        ({"TERM": "linux", "COLORFGBG": "0;default;15"}, False),
        ({}, None),
        ({"COLORFGBG": "15;0"}, True),
    ],
)
def test_a_terminal_that_must_not_be_asked_gets_no_question(
    terminal: tuple[int, int], environ: dict[str, str], is_dark: bool | None
) -> None:
    emulator, program = terminal
    os.set_blocking(emulator, False)
    assert find_background(program, program, environ) == Answer(is_dark)
    with pytest.raises(BlockingIOError):
        os.read(emulator, 100)


def test_a_pipe_is_not_asked() -> None:
    reader, writer = os.pipe()
    assert ask_terminal(reader, writer) == Answer()
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"xterm-256color": 3}', '{"xterm-256color": "pink"}'])
def test_a_broken_memory_is_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    file = tmp_path / "torchconsole" / "terminals.json"
    file.parent.mkdir()
    file.write_text(content)
    assert find_background(0, 0, XTERM).is_dark is None
    terminal_background.remember(False, XTERM)
    assert find_background(0, 0, XTERM).is_dark is False


def test_late_answers_are_no_keys_however_they_are_split() -> None:
    text = "a" + WHITE + ATTRIBUTES + "b\x1b[B"
    for cut in (cut for cut in range(len(text)) if not text[:cut].endswith(("\x1b", "\x1b]", "\x1b["))):
        seen: list[bool] = []
        replies = Replies(seen.append)
        arrived = replies.strip(text[:cut]) + replies.strip(text[cut:])
        assert seen == [False]
        assert arrived == "ab\x1b[B"


@pytest.mark.parametrize(
    "keys", ["q", "\x1b[1;2R", "\x1b", "\x1b[A", "\x1b]", "\x1bO", "\x1b[<0;1;1M", "\x1b[?2048;1$y", "ö"]
)
def test_keys_arrive_at_once(keys: str) -> None:
    assert Replies().strip(keys) == keys

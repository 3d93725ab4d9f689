"""Of what a program prints on its terminal, the log has each line once, in its last state."""

from __future__ import annotations

import os
import threading

import pytest

from torchconsole.engine.worker import relay


def copied(*pieces: bytes) -> bytes:
    """Return what `copy` writes for a program that prints these pieces."""
    source, program = os.pipe()
    log, target = os.pipe()
    thread = threading.Thread(target=relay.copy, args=(source, target))
    thread.start()
    for piece in pieces:
        os.write(program, piece)
    os.close(program)
    thread.join(30)
    os.close(target)
    with os.fdopen(log, "rb") as file:
        return file.read()


@pytest.mark.parametrize(
    ("pieces", "logged"),
    [
        ([b"one\ntwo\n"], b"one\ntwo\n"),
        ([b"o", b"n", b"e\n"], b"one\n"),
        ([b"no newline"], b"no newline\n"),
        ([b"\r10%", b"\r50%", b"\r100%\n"], b"100%\n"),
        ([b"50%\r2026 logged\n"], b"2026 logged\n"),
        ([b"\n\n"], b"\n\n"),
        ([b"\xff\xfe\n"], b"\xff\xfe\n"),
        ([], b""),
    ],
)
def test_lines_are_folded(pieces: list[bytes], logged: bytes) -> None:
    assert copied(*pieces) == logged


def test_a_line_that_is_drawn_for_long_is_logged_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "REDRAWN_SECONDS", 0.01)
    source, program = os.pipe()
    log, target = os.pipe()
    thread = threading.Thread(target=relay.copy, args=(source, target))
    thread.start()
    os.write(program, b"\r10%\r20%")
    assert os.read(log, 100) == b"20%\n"
    os.write(program, b"\r100%\n")
    os.close(program)
    thread.join(30)
    assert os.read(log, 100).endswith(b"100%\n")
    for descriptor in (log, target):
        os.close(descriptor)


@pytest.fixture
def short_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "MOST_LINE", 1000)
    monkeypatch.setattr(relay, "CHUNK", 100)


@pytest.mark.usefixtures("short_lines")
def test_much_without_a_line_break_is_passed_on_in_pieces() -> None:
    lines = copied(*[b"x" * 1000] * 5).splitlines()
    assert [len(line) for line in lines] == [1100] * 4 + [600]


@pytest.mark.usefixtures("short_lines")
def test_of_much_that_is_drawn_over_only_the_last_state_is_kept() -> None:
    assert copied(*[b"\r" + b"x" * 899] * 5, b"\n") == b"x" * 899 + b"\n"


def test_a_terminal_has_a_size_and_nothing_to_read() -> None:
    master, slave = os.openpty()
    relay.prepare(slave)
    assert os.get_terminal_size(slave) == (relay.COLUMNS, relay.ROWS)
    assert os.read(slave, 10) == b""
    for descriptor in (master, slave):
        os.close(descriptor)

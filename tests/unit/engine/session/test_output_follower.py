"""What a training prints is reported line by line, at a bounded rate, and nothing twice."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from torchconsole.engine.protocol.events import LogWritten
from torchconsole.engine.run.line_formats import log_line
from torchconsole.engine.session.output_follower import CHUNK, MOST_LINES, OutputFollower, final_text


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "worker.log"
    path.write_text("of the last worker\n")
    return path


@pytest.fixture
def told() -> list[LogWritten]:
    return []


@pytest.fixture
def follower(log: Path, told: list[LogWritten]) -> OutputFollower:
    return OutputFollower(told.append, log)


def write(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


def texts(told: list[LogWritten]) -> list[str]:
    assert all(event.level == "output" for event in told)
    return [event.message for event in told]


def test_whole_lines_are_reported_once(log: Path, told: list[LogWritten], follower: OutputFollower) -> None:
    follower.poll()
    write(log, "one\ntw")
    follower.poll()
    assert texts(told) == ["one"]
    write(log, "o\n\n")
    follower.poll()
    follower.poll()
    assert texts(told) == ["one", "two"]


def test_the_rest_is_reported_at_the_end(log: Path, told: list[LogWritten], follower: OutputFollower) -> None:
    write(log, "no newline")
    follower.close()
    assert texts(told) == ["no newline"]


def test_what_the_worker_logged_is_left_out(
    log: Path, told: list[LogWritten], follower: OutputFollower
) -> None:
    write(log, log_line(0.0, "info", "logged\nin two lines") + "\nprinted\n")
    follower.poll()
    assert texts(told) == ["printed"]


def test_of_a_progress_bar_the_last_state_is_reported(
    log: Path, told: list[LogWritten], follower: OutputFollower
) -> None:
    write(log, "\r10%\r50%\r100%\n\r3%\r" + log_line(0.0, "info", "logged") + "\n")
    follower.poll()
    assert texts(told) == ["100%"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [("a\rbc", "bc"), ("a\r", "a"), ("", ""), ("\r\r", ""), ("\x1b[1;34mw\x1b[0m: x", "w: x")],
)
def test_final_text(line: str, shown: str) -> None:
    assert final_text(line) == shown


def test_many_lines_are_reported_in_part(log: Path, told: list[LogWritten], follower: OutputFollower) -> None:
    write(log, "x\n" * 1000)
    follower.poll()
    assert len(told) == MOST_LINES + 1
    assert texts(told)[0] == f"... {1000 - MOST_LINES} lines left out; all are in worker.log"


def test_a_program_that_prints_megabytes_is_followed_at_its_end(
    log: Path, told: list[LogWritten], follower: OutputFollower
) -> None:
    write(log, "x" * 200 + "\n")
    for _ in range(20):
        write(log, ("y" * 99 + "\n") * (CHUNK // 100))
    write(log, "last\n")
    follower.poll()
    follower.poll()
    assert "MB left out" in texts(told)[0]
    assert texts(told)[-1] == "last"
    assert len(told) <= MOST_LINES + 2


@pytest.mark.parametrize("lines", [1000, CHUNK // 50, CHUNK // 25, CHUNK // 10])
def test_the_last_line_is_reported_at_the_end(
    log: Path, told: list[LogWritten], follower: OutputFollower, lines: int
) -> None:
    write(log, ("y" * 99 + "\n") * lines + "accuracy 0.9\n")
    follower.close()
    assert texts(told)[-1] == "accuracy 0.9"


def test_a_line_without_end_takes_bounded_memory(
    log: Path, told: list[LogWritten], follower: OutputFollower
) -> None:
    for _ in range(5):
        write(log, "z" * CHUNK)
        follower.poll()
    assert told
    assert all(len(text) <= 1000 for text in texts(told))


def test_the_output_is_followed_to_another_file(
    log: Path, tmp_path: Path, told: list[LogWritten], follower: OutputFollower
) -> None:
    write(log, "one\n")
    follower.poll()
    log.replace(tmp_path / "moved.log")
    follower.poll()
    log.write_text("two\n")
    follower.poll()
    assert texts(told) == ["one", "two"]


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: None])
def test_what_is_not_a_regular_file_is_not_followed(
    tmp_path: Path, told: list[LogWritten], make: Callable[[Path], object]
) -> None:
    make(tmp_path / "other")
    follower = OutputFollower(told.append, tmp_path / "other")
    follower.poll()
    follower.close()
    assert told == []

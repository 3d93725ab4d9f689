"""worker.log keeps the time and the level of each line, and is read back without a regular expression."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from tests.support.runs import make_folder
from torchconsole.engine.run.line_formats import log_line, printed_lines, read_log
from torchconsole.engine.run.recorded_history import LOG_BYTES, read_snapshot
from torchconsole.engine.session.event_queue import EventQueue, configure_logging

NOON = 1_796_040_661.0  # 2026-11-30T12:11:01Z


def test_a_line_has_its_absolute_time_its_level_and_its_message() -> None:
    assert log_line(NOON, "warning", "slow\tdisk") == "2026-11-30T12:11:01Z\tWARNING\tslow\tdisk"


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati"])
def test_a_line_is_read_back_in_every_time_zone(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        [event] = read_log([log_line(NOON, "error", "no\troom")], 0.0)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert (event.time, event.level, event.message) == (NOON, "error", "no\troom")


@pytest.mark.parametrize(
    "line", ["", "Traceback (most recent call last):", "a\tb\tc", "today\tINFO\tx", " \t"]
)
def test_any_other_line_is_output_and_has_the_time_of_the_line_before_it(line: str) -> None:
    events = list(read_log([line, log_line(NOON, "error", "failed"), line], 5.0))
    assert [(event.time, event.level, event.message) for event in events] == [
        (5.0, "output", line),
        (NOON, "error", "failed"),
        (NOON, "output", line),
    ]


def test_a_message_of_several_lines_is_one_event() -> None:
    text = log_line(NOON, "warning", "two\n  lines\n") + "\nprinted"
    first, second = read_log(text.split("\n"), 0.0)
    assert (first.level, first.message) == ("warning", "two\n  lines\n")
    assert (second.level, second.message) == ("output", "printed")


def test_only_lines_that_nothing_logged_are_printed_lines() -> None:
    lines = ["a", "\tindented", log_line(NOON, "info", "logged"), "\tits second line", "b", "\tindented"]
    assert printed_lines(lines, after_logged=False) == (["a", "\tindented", "b", "\tindented"], False)
    assert printed_lines(["\tits third line"], after_logged=True) == ([], True)


def test_the_recorded_log_has_the_times_and_levels_of_the_live_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    queue = EventQueue()
    configure_logging(queue)
    logging.getLogger("user").info("loading %d samples", 3)
    try:
        raise ValueError("no room")
    except ValueError:
        logging.getLogger("user").exception("saving failed")
    logging.captureWarnings(False)
    folder = make_folder(tmp_path, status="stopped", created=NOON)
    folder.log_file.write_text(capfd.readouterr().err)
    recorded = read_snapshot(folder).state.log
    live = list(queue.take())
    assert [(event.level, event.message) for event in recorded[:2]] == [
        (event.level, event.message) for event in live
    ]
    assert [event.time for event in recorded[:2]] == pytest.approx([event.time for event in live], abs=2.0)
    assert recorded[-1].message == "ValueError: no room"
    assert recorded[-1].time == recorded[1].time


def test_the_recorded_log_is_the_end_of_a_long_file(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, status="stopped")
    lines = [log_line(NOON + number, "info", "x" * 100) for number in range(LOG_BYTES // 100)]
    folder.log_file.write_text("\n".join(lines) + "\n")
    log = read_snapshot(folder).state.log
    assert log[-1].time == NOON + len(lines) - 1
    assert {event.message for event in log} == {"x" * 100}

"""Files of JSON lines survive a kill in the middle of a line, and a full disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.runs import limit_file_size, lines_of
from torchconsole.engine.run import jsonl
from torchconsole.engine.run.jsonl import JsonLines, offset_after, read_json_lines


def write(path: Path, *lines: str) -> None:
    file = JsonLines(path)
    for line in lines:
        file.append(line.encode())
    file.flush()
    file.close()


def test_lines_are_appended_by_a_flush(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    file = JsonLines(path)
    file.append(b'{"a": 1}')
    assert not path.exists()
    file.flush()
    assert path.read_text() == '{"a": 1}\n'
    file.close()
    write(path, '{"a": 2}')
    assert [line["a"] for line in read_json_lines(path)] == [1, 2]


def test_a_missing_file_has_no_lines(tmp_path: Path) -> None:
    assert list(read_json_lines(tmp_path / "none.jsonl")) == []


@pytest.mark.parametrize("incomplete", ['{"a": 3', '{"a": 3}', "{" + "x" * 200_000, "\x00" * 10])
def test_an_incomplete_last_line_is_ignored_and_then_removed(tmp_path: Path, incomplete: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n' + incomplete)
    assert [line["a"] for line in read_json_lines(path)] == [1, 2]
    write(path, '{"a": 4}')
    assert [line["a"] for line in lines_of(path)] == [1, 2, 4]


def test_a_file_with_only_an_incomplete_line_is_emptied(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a"')
    write(path, '{"a": 1}')
    assert [line["a"] for line in lines_of(path)] == [1]


def test_lines_that_are_not_objects_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\x00\x00\n[1]\n\xff\xfe\n{"a": 1}\n\n')
    assert list(read_json_lines(path)) == [{"a": 1}]


def test_on_a_full_disk_complete_lines_stay_and_the_rest_waits(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    file = JsonLines(path)
    file.append(b'{"a": 0}')
    file.flush()
    with limit_file_size(14):
        file.append(b'{"a": 1}')
        with pytest.raises(OSError, match="large"):
            file.flush()
        assert path.read_text() == '{"a": 0}\n'
    file.append(b'{"a": 2}')
    assert file.flush() == 0
    assert [line["a"] for line in lines_of(path)] == [0, 1, 2]
    file.close()


def test_waiting_lines_are_bounded_and_dropped_ones_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "PENDING_LINES", 3)
    file = JsonLines(tmp_path / "a.jsonl")
    for number in range(5):
        file.append(b'{"a": %d}' % number)
    assert file.flush() == 2
    assert [line["a"] for line in read_json_lines(tmp_path / "a.jsonl")] == [2, 3, 4]
    assert file.flush() == 0
    file.close()


@pytest.fixture
def numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lines of different lengths with even numbers, between lines that a power failure damaged."""
    monkeypatch.setattr(jsonl, "BLOCK_BYTES", 100)
    path = tmp_path / "a.jsonl"
    with path.open("w") as file:
        for seq in range(2, 402, 2):
            file.write(f'{{"seq":{seq},"x":"{"x" * (seq % 37)}"}}\n')
            if seq % 50 == 0:
                file.write("\x00" * 150 + f'\n[{seq}]\n{{"seq":\n')
        file.write('{"seq":402,"x"')
    return path


def test_only_lines_after_a_sequence_number_are_read(numbered: Path) -> None:
    for after in range(405):
        expected = list(range(2 + after // 2 * 2, 402, 2))
        assert [line["seq"] for line in read_json_lines(numbered, after)] == expected


def test_lines_after_a_sequence_number_are_found_without_reading_all(numbered: Path) -> None:
    with numbered.open("rb") as file:
        for after in range(2, 402, 2):
            file.seek(offset_after(file, after))
            before, _ = file.read().split(b'"seq":%d,' % after)
            assert len(before) < 600


def test_two_broken_lines_are_not_joined_into_one_object(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a":1}\n{"a":2\n"b":3}\n{"a":4}\n')
    assert list(read_json_lines(path)) == [{"a": 1}, {"a": 4}]

"""Tags and notes of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.hostile import HOSTILE, replace_by
from tests.support.runs import make_folder
from torchconsole.engine.errors import RunError
from torchconsole.engine.run.deletion import delete_run
from torchconsole.engine.run.notes import Notes, parse_tags, read_notes, write_notes
from torchconsole.engine.run.rows import read_row


def test_notes_are_listed_with_the_run_and_never_reach_run_json(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, status="finished")
    write_notes(folder, Notes(("baseline", "lr/high"), "the one for the paper"))
    row = read_row(folder)
    assert row.tags == ["baseline", "lr/high"]
    assert row.to_json()["note"] == "the one for the paper"
    folder.write_record(row)
    assert not {"tags", "note"} & json.loads(folder.run_file.read_text()).keys()


@pytest.mark.parametrize("tags", [["forged"], "forged", [1], None])
def test_tags_in_run_json_are_ignored(tmp_path: Path, tags: object) -> None:
    folder = make_folder(tmp_path, status="finished")
    content = json.loads(folder.run_file.read_text()) | {"tags": tags, "note": "forged"}
    folder.run_file.write_text(json.dumps(content))
    assert read_row(folder).tags == []
    assert read_row(folder).note == ""


def test_empty_notes_leave_no_file_and_are_deleted_with_the_run(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, status="finished")
    write_notes(folder, Notes(note="x"))
    write_notes(folder, Notes())
    assert not folder.notes_file.exists()
    write_notes(folder, Notes(note="x"))
    assert not delete_run(folder).left
    assert not folder.path.exists()


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_is_in_the_place_of_the_notes_the_run_is_listed(tmp_path: Path, name: str) -> None:
    folder = make_folder(tmp_path, status="finished")
    replace_by(name, folder.notes_file)
    assert read_row(folder).status == "finished"
    assert read_notes(folder) == Notes()


@pytest.mark.parametrize("content", [{"tags": "ab"}, {"tags": [1]}, {"tags": ["\x1b[2J", "a" * 99]}, {}])
def test_notes_of_another_form_are_none(tmp_path: Path, content: object) -> None:
    folder = make_folder(tmp_path, status="finished")
    folder.notes_file.write_text(json.dumps(content))
    assert read_notes(folder) == Notes()


def test_tags_are_separated_by_blanks_or_commas() -> None:
    assert parse_tags(" a, b  b,c\n") == ("a", "b", "c")
    assert parse_tags("") == ()


@pytest.mark.parametrize("text", ["a:b", "\x1b[2J", "x" * 41, " ".join(map(str, range(21)))])
def test_what_cannot_be_a_tag_is_refused(text: str) -> None:
    with pytest.raises(RunError):
        parse_tags(text)


def test_notes_that_cannot_be_written_are_reported(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, status="finished")
    folder.notes_file.mkdir()
    (folder.notes_file / "x").touch()
    with pytest.raises(RunError, match=r"notes\.json: cannot be written"):
        write_notes(folder, Notes(note="x"))
    with pytest.raises(RunError, match="at most 2,000"):
        write_notes(folder, Notes(note="x" * 2001))


def test_a_row_that_is_kept_follows_every_change_of_its_files(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, status="finished")
    assert read_row(folder) == read_row(folder)
    read_row(folder).name = "changed by whoever reads the row"
    assert read_row(folder).name == folder.name
    write_notes(folder, Notes(("a",)))
    assert read_row(folder).tags == ["a"]
    write_notes(folder, Notes(("b",)))
    assert read_row(folder).tags == ["b"]
    write_notes(folder, Notes())
    assert read_row(folder).tags == []
    record = folder.load_record()
    record.title = "another"
    folder.write_record(record)
    assert read_row(folder).title == "another"
    folder.run_file.unlink()
    assert read_row(folder).status == "unreadable"

"""What pane 9 reads: saved pictures and texts, and the pictures of the samples with the highest losses."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from torchconsole.engine.protocol.info import WorstSample
from torchconsole.engine.run.folder import RunFolder
from torchconsole.tui import run_results
from torchconsole.tui.run_results import MOST_CHARACTERS, THUMBNAIL, ResultReader, read_pixels


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.results.mkdir(parents=True)
    return run


def save_picture(path: Path, size: tuple[int, int] = (4, 2), color: tuple[int, int, int] = (1, 2, 3)) -> None:
    Image.new("RGB", size, color).save(path)


def worst(place: str) -> WorstSample:
    return WorstSample(index=3, place=place, loss=5.25, label="dog", predicted="cat", probability=0.75)


def test_saved_results_come_first_and_the_newest_of_them(folder: RunFolder) -> None:
    for age, name in enumerate(("a-00000003.txt", "b-00000001.txt", ".b-00000009.txt.12.tmp", "other.txt")):
        (folder.results / name).write_text(name)
        os.utime(folder.results / name, (1000 + age, 1000 + age))
    found = ResultReader(folder).read([worst("sample 7")])
    assert [(each.title, each.details) for each in found] == [
        ("b", "step 1"),
        ("a", "step 3"),
        ("loss 5.25", "true dog  predicted cat (0.750)"),
    ]
    assert [each.content.text for each in found] == ["b-00000001.txt", "a-00000003.txt", ""]
    assert found[-1].path == "sample 7"


def test_a_file_that_is_gone_hides_no_other(folder: RunFolder) -> None:
    (folder.results / "a-00000001.txt").write_text("a")
    (folder.results / "b-00000002.txt").symlink_to("/nonexistent")
    assert [each.title for each in ResultReader(folder).read([])] == ["a"]


def test_a_folder_without_results_has_none(tmp_path: Path) -> None:
    assert ResultReader(RunFolder(tmp_path / "new")).read([]) == []


def test_a_sample_shows_its_picture(folder: RunFolder, tmp_path: Path) -> None:
    save_picture(tmp_path / "dog.png")
    (found,) = ResultReader(folder).read([worst(str(tmp_path / "dog.png"))])
    assert found.content.pixels is not None
    assert found.content.pixels.shape == (2, 4, 3)
    assert (found.content.pixels == [1, 2, 3]).all()


def test_an_unchanged_file_is_read_once(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    save_picture(folder.results / "a-00000001.png")
    reads: list[Path] = []
    monkeypatch.setattr(run_results, "read_pixels", lambda path: reads.append(path) or read_pixels(path))
    reader = ResultReader(folder)
    assert reader.read([]) == reader.read([])
    assert len(reads) == 1
    save_picture(folder.results / "a-00000001.png", (40, 20), (9, 9, 9))
    (found,) = reader.read([])
    assert found.content.pixels is not None
    assert (found.content.pixels == 9).all()
    assert len(reads) == 2


def test_a_large_picture_is_reduced(tmp_path: Path) -> None:
    save_picture(tmp_path / "large.jpg", (1280, 1280))
    assert read_pixels(tmp_path / "large.jpg").shape == (THUMBNAIL[1], THUMBNAIL[1], 3)


def test_a_long_text_is_cut(folder: RunFolder) -> None:
    (folder.results / "a-00000001.txt").write_text("x" * (MOST_CHARACTERS + 1))
    (found,) = ResultReader(folder).read([])
    assert found.content.text == "x" * MOST_CHARACTERS + "..."


def test_what_cannot_be_read_says_why(folder: RunFolder, tmp_path: Path) -> None:
    os.mkfifo(folder.results / "a-00000001.png")  # opening it would wait for a writer
    (folder.results / "b-00000001.png").write_bytes(b"no picture")
    (folder.results / "c-00000001.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    found = ResultReader(folder).read([worst(str(tmp_path / "gone.png"))])
    assert len(found) == 4
    assert all(each.content.problem and each.content.pixels is None for each in found)


def test_a_picture_with_too_many_pixels_is_not_decoded(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8000, 8000), np.uint8)).save(tmp_path / "huge.png")
    with pytest.raises(ValueError, match="too many to show"):
        read_pixels(tmp_path / "huge.png")

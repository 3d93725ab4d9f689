"""The results pane: pictures in half blocks, texts, and the samples with the highest losses."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from PIL import Image

from tests.support.scripted import BEGINNING, NOON, ScriptedRun, epochs
from tests.support.watching import Console, check_golden, watching
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.info import WorstSample
from torchconsole.engine.run.folder import RunFolder
from torchconsole.tui.widgets import results_pane
from torchconsole.tui.widgets.results_pane import ResultsPane

SIZES = ((40, 12), (80, 24), (120, 40), (200, 60))


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run whose program has saved a picture and a text."""
    run = RunFolder(tmp_path / "run")
    run.results.mkdir(parents=True)
    picture = Image.new("RGB", (12, 8), (200, 30, 30))
    picture.paste((30, 30, 200), (0, 0, 6, 8))
    picture.save(run.results / "masks-00000040.png")
    (run.results / "sample-00000020.txt").write_text("Once upon a time\n" + "\n".join(map(str, range(30))))
    os.utime(run.results / "sample-00000020.txt", (NOON, NOON))
    return run


def evaluation(*worst: WorstSample) -> ev.EvaluationCompleted:
    return ev.EvaluationCompleted(step=46, epoch=2, metrics={"val/loss": 0.5}, seconds=1, worst=list(worst))


def bad_sample(place: str, loss: float) -> WorstSample:
    return WorstSample(index=1, place=place, loss=loss, label="dog", predicted="cat", probability=0.99)


@asynccontextmanager
async def shown(
    folder: RunFolder, size: tuple[int, int] = (120, 40), *more: ev.Event
) -> AsyncIterator[Console]:
    """Open the pane on a run with this folder."""
    run = ScriptedRun(*BEGINNING, *epochs(1, 3), *more)
    run.snapshot.state.folder = str(folder.path)
    async with watching(run, size=size) as console:
        await console.press("9")
        await console.until(lambda: pane(console).rows())
        await console.settle()
        yield console


def pane(console: Console) -> ResultsPane:
    return console.app.run_screen.query_one(ResultsPane)


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
async def test_the_pane_matches_its_golden_files(folder: RunFolder, size: tuple[int, int]) -> None:
    worst = evaluation(bad_sample("line 5 of wine.csv", 8.24), bad_sample("line 9 of wine.csv", 7.5))
    async with shown(folder, size, worst) as console:
        check_golden(f"results-{size[0]}x{size[1]}", console.text)


async def test_a_picture_has_the_colors_of_its_pixels(folder: RunFolder) -> None:
    async with shown(folder) as console:
        row = next(line for line in pane(console).body(80) if any("▀" in text for text, _ in line))
        assert [(text, tone) for text, tone in row if "▀" in text] == [
            ("▀" * 6, "#1e1ec8 on #1e1ec8"),
            ("▀" * 6, "#c81e1e on #c81e1e"),
        ]
        strip = pane(console).paint(row, 80)
        colors = [str(segment.style.color.name) for segment in strip if segment.style and "▀" in segment.text]
        assert colors == ["#1e1ec8", "#c81e1e"]


async def test_keys_go_through_the_results_and_copy_their_paths(folder: RunFolder) -> None:
    async with shown(folder, (120, 40), evaluation(bad_sample("line 5 of wine.csv", 8.24))) as console:
        assert pane(console).text_to_copy() == str(folder.results / "masks-00000040.png")
        await console.press("j")
        assert pane(console).text_to_copy() == str(folder.results / "sample-00000020.txt")
        await console.press("j")
        assert pane(console).text_to_copy() == "line 5 of wine.csv"


async def test_a_new_picture_of_a_live_run_appears(folder: RunFolder) -> None:
    async with shown(folder) as console:
        Image.new("L", (4, 4)).save(folder.results / "later-00000060.png")
        console.app.now += results_pane.READ_SECONDS
        await console.shows("later  step 60")


async def test_without_results_the_pane_says_where_they_come_from(tmp_path: Path) -> None:
    run = ScriptedRun(*BEGINNING)
    run.snapshot.state.folder = str(tmp_path)
    async with watching(run) as console:
        await console.press("9")
        await console.shows("nothing yet", "run.image")

"""`v` in the menu shows a training batch of the highlighted preset."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.menus import opened
from tests.support.pilot import shows, until
from tests.support.textual_compat import marked_up, notifications
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.reports import TrainingSample, TrainingSamples
from torchconsole.tui import launch
from torchconsole.tui.half_blocks import UPPER_HALF
from torchconsole.tui.picture_cells import is_pixel
from torchconsole.tui.screens.menu import MenuScreen
from torchconsole.tui.screens.preset_list import PresetList
from torchconsole.tui.screens.samples import SamplesScreen
from torchconsole.tui.widgets.sample_lines import sample_lines

HOSTILE = "\x1b[31mcat"


def images(count: int = 3) -> TrainingSamples:
    gray = np.arange(4 * 6, dtype=np.uint8).reshape(4, 6) * 10
    pixels = base64.b64encode(np.repeat(gray[..., None], 3, axis=2).tobytes()).decode()
    samples = [TrainingSample(place=f"/data/{n}.png", label=HOSTILE, pixels=pixels) for n in range(count)]
    return TrainingSamples(kind="images", samples=samples, shape=[1, 4, 6], batch_size=32, picture=[4, 6, 3])


def test_pictures_are_beside_each_other_with_their_labels_and_files() -> None:
    lines = sample_lines(images(), 40, painted=True, dark=True)
    rows = [line for line in lines if any(is_pixel(tone) for _, tone in line)]
    assert len(rows) == 4, "two rows of half blocks, for two pictures and for the third one"
    drawn = [[text for text, tone in row if is_pixel(tone)] for row in rows]
    assert [len("".join(row)) for row in drawn] == [12, 12, 6, 6]
    assert rows[0][0] == (UPPER_HALF, "#000000 on #3c3c3c")
    texts = ["".join(text for text, _ in line) for line in lines]
    assert texts[:2] == ["first training batch", "3 of 32 samples, 1x4x6, after transforms"]
    assert any("/data/0.png" in text and "/data/1.png" in text for text in texts)
    assert not any("\x1b" in text for text in texts)


@pytest.mark.parametrize("width", [30, 40, 59])
def test_a_narrow_title_is_wrapped(width: int) -> None:
    found = images().model_copy(update={"is_scaled": True})
    lines = sample_lines(found, width, painted=True, dark=True)
    texts = ["".join(text for text, _ in line) for line in lines]
    head = texts[: texts.index("")]
    assert max(map(len, head)) <= width
    assert " ".join(head) == (
        "first training batch 3 of 32 samples, 1x4x6, after transforms "
        "brightness is scaled: the transforms give values outside of 0 to 1"
    )


def test_pictures_without_colors_are_characters() -> None:
    lines = sample_lines(images(), 40, painted=False, dark=True)
    assert not any(is_pixel(tone) for line in lines for _, tone in line)
    assert all("".join(text for text, _ in line).isascii() for line in lines)


def test_rows_and_texts_are_below_their_labels() -> None:
    row = TrainingSample(place="line 5 of a.csv", label="yes", values=[1.5, None, 3.0])
    found = TrainingSamples(kind="rows", samples=[row], shape=[3], batch_size=8, columns=["a", "b", "c"])
    texts = ["".join(text for text, _ in line) for line in sample_lines(found, 60, painted=True, dark=True)]
    assert texts[2:] == ["yes  line 5 of a.csv", "  a 1.5, b n/a, c 3"]
    text = TrainingSample(place="a.txt", label="no", text="word " * 90)
    found = TrainingSamples(kind="texts", samples=[text], shape=[90], batch_size=8)
    lines = sample_lines(found, 40, painted=True, dark=True)
    assert (len(lines), lines[-1][-1][0]) == (8, "...")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_v_shows_the_batch_of_the_highlighted_preset(
    runs_dir: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def samples(preset: object) -> TrainingSamples:
        return images()

    monkeypatch.setattr(launch, "samples", samples)
    monkeypatch.setattr(launch, "load", lambda preset, overrides: (preset, []))
    async with opened(runs_dir, size) as (app, pilot):
        await pilot.press("v")
        await until(app, pilot, lambda: isinstance(app.screen, SamplesScreen))
        await shows(app, pilot, "first training batch 3 of 32 samples")
        await shows(app, pilot, UPPER_HALF * 6)
        await shows(app, pilot, "\\x1b[31mcat")
        await pilot.press("escape")
        await until(app, pilot, lambda: isinstance(app.screen, MenuScreen))


async def test_a_batch_that_cannot_be_read_is_told(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def samples(preset: object) -> TrainingSamples:
        raise DataError("data.root: there is no folder x")

    monkeypatch.setattr(launch, "samples", samples)
    monkeypatch.setattr(launch, "load", lambda preset, overrides: (preset, []))
    async with opened(runs_dir) as (app, pilot):
        await pilot.press("v")
        await until(app, pilot, lambda: "there is no folder x" in notifications(app))
        assert isinstance(app.screen, MenuScreen)


async def test_a_hostile_name_of_a_preset_is_only_text(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name stands in a notification."""

    async def samples(preset: object) -> TrainingSamples:
        return images()

    monkeypatch.setattr(launch, "samples", samples)
    monkeypatch.setattr(launch, "load", lambda preset, overrides: (preset, []))
    async with opened(runs_dir) as (app, pilot):
        chosen = app.screen.query_one(PresetList).highlighted_preset
        assert chosen is not None
        preset = replace(chosen, name="x[link='a]")
        app.screen.post_message(MenuScreen.SamplesRequested(preset))
        await until(app, pilot, lambda: isinstance(app.screen, SamplesScreen))
        assert "x[link='a]" in notifications(app)
        assert marked_up(app) == []

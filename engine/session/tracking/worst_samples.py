"""The samples with the highest losses, as TensorBoard shows them: a table, and the pictures among them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from torchconsole.engine.files import open_regular
from torchconsole.engine.protocol.info import WorstSample
from torchconsole.engine.text import printable

MOST_PICTURES = 16
COLUMNS = 8
SIDE = 96
"""Largest height and width of a picture (pixels)."""

LINE = 13
MOST_CHARACTERS = 15


def worst_table(samples: Sequence[WorstSample]) -> str:
    """Return a table in Markdown: loss, true class, prediction and place of each sample."""
    rows = [(_loss(sample), sample.label, sample.predicted, sample.place) for sample in samples]
    lines = [("loss", "true", "predicted", "sample"), ("---",) * 4, *rows]
    return "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines)


def worst_pictures(samples: Sequence[WorstSample]) -> NDArray[np.uint8] | None:
    """Return those samples that are image files as one picture (H, W, 3); None if none of them is."""
    found = [(sample, picture) for sample in samples if (picture := _picture(sample.place)) is not None]
    found = found[:MOST_PICTURES]
    if not found:
        return None
    rows = -(-len(found) // COLUMNS)
    height = SIDE + 2 * LINE
    sheet = Image.new("RGB", (min(len(found), COLUMNS) * SIDE, rows * height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for number, (sample, picture) in enumerate(found):
        left, top = number % COLUMNS * SIDE, number // COLUMNS * height
        sheet.paste(picture, (left + (SIDE - picture.width) // 2, top + (SIDE - picture.height) // 2))
        for line, text in enumerate((f"is {sample.label}", f"not {sample.predicted}")):
            shown = printable(text)[:MOST_CHARACTERS]
            draw.text((left + 2, top + SIDE + line * LINE), shown, "black", font)
    return np.asarray(sheet)


def _picture(place: str) -> Image.Image | None:
    """Return the picture in a file in the size that is shown; None for anything else."""
    try:
        with open_regular(Path(place)) as file, Image.open(file) as image:
            shown = ImageOps.contain(ImageOps.exif_transpose(image).convert("RGB"), (SIDE, SIDE))
            shown.load()
            return shown
    except Exception:  # noqa: BLE001 - a decoder may raise anything, and most places are no images
        return None


def _loss(sample: WorstSample) -> str:
    return "not finite" if sample.loss is None else f"{sample.loss:.4g}"


def _cell(text: str) -> str:
    return printable(text).replace("|", "\\|")

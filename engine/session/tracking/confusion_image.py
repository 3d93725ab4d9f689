"""Draws a confusion matrix as a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from torchconsole.engine.protocol.info import ConfusionMatrix
from torchconsole.engine.text import printable

MOST_PIXELS = 640
CELL = 48
"""Pixels of a cell with a number in it; smaller ones have none."""

MOST_LABEL = 14
"""Characters of a class name."""

BLUE = np.array([8, 48, 107])


def confusion_image(matrix: ConfusionMatrix) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3): rows are the true classes, columns the predicted ones.

    A cell is the darker, the larger its share of its row is.
    """
    counts = np.array(matrix.counts, dtype=np.float64)
    cell = max(2, min(CELL, MOST_PIXELS // len(counts)))
    sums = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, sums, out=np.zeros_like(counts), where=sums > 0)
    shades = 255 - shares[..., None] * (255 - BLUE)
    cells = np.kron(shades, np.ones((cell, cell, 1))).astype(np.uint8)
    return _labelled(cells, matrix, shares, cell) if cell == CELL else cells


def _labelled(
    cells: NDArray[np.uint8], matrix: ConfusionMatrix, shares: NDArray[np.float64], cell: int
) -> NDArray[np.uint8]:
    """Add the names of the classes at the left and at the top, and the number in each cell."""
    names = [printable(name)[:MOST_LABEL] for name in matrix.classes]
    font = ImageFont.load_default(11)
    left = 8 + max(int(font.getlength(name)) for name in names)
    top = 18
    picture = Image.new("RGB", (left + cells.shape[1], top + cells.shape[0]), "white")
    picture.paste(Image.fromarray(cells), (left, top))
    draw = ImageDraw.Draw(picture)
    for row, name in enumerate(names):
        middle = top + row * cell + cell // 2
        draw.text((left - 4, middle), name, "black", font, anchor="rm")
        shown = name[: max(1, cell // 7)]
        draw.text((left + row * cell + cell // 2, top - 4), shown, "black", font, anchor="ms")
        for column, count in enumerate(matrix.counts[row]):
            colour = "white" if shares[row][column] > 0.5 else "black"
            place = (left + column * cell + cell // 2, middle)
            draw.text(place, f"{count:.4g}", colour, font, anchor="mm")
    return np.asarray(picture)

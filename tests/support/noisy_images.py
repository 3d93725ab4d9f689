"""Folders of images of two classes that cannot be told apart without mistakes."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image


def write_noisy_images(root: Path, train: int = 20, val: int = 17) -> None:
    """Write train/ and val/ with so many images of 12 rows for each of the classes cat and dog."""
    draw = random.Random(1)
    for part, count in (("train", train), ("val", val)):
        for name, level in (("cat", 110), ("dog", 130)):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                size = (12 + number % 3, 12)
                pixels = bytes(min(255, max(0, int(draw.gauss(level, 90)))) for _ in range(3 * size[0] * 12))
                Image.frombytes("RGB", size, pixels).save(root / part / name / f"{number}.png")

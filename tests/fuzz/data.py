"""Presets, images and tables, with mutated ones."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from tests.fuzz.target import Target
from tests.support.data_files import all_of, load
from tests.support.foreign_runs import check_message
from tests.support.mutations import mutated_bytes
from tests.support.sessions import ignore_phase, parts_for
from torchconsole.engine.analysis.start_check import check_parts
from torchconsole.engine.config.loading import read_preset
from torchconsole.engine.errors import TorchconsoleError


class Presets(Target):
    """Presets, read and checked as a start does."""

    share = 8

    def __init__(self, folder: Path) -> None:
        self._file = folder / "mine.toml"
        presets = Path(__file__).parents[2] / "presets"
        names = ("digits-mlp", "breast-cancer-binary", "digits-cnn")
        contents = [(presets / f"{name}.toml").read_bytes() for name in names]
        self.inputs = st.sampled_from(contents).flatmap(mutated_bytes)

    def use(self, given: bytes) -> bool:
        self._file.write_bytes(given)
        try:
            preset = read_preset(self._file)
            check_parts(parts_for(preset), ignore_phase)
        except TorchconsoleError as error:
            for line in str(error).splitlines():
                check_message(line)
            return False
        return True


IMAGE_FORMATS = {
    "png": ("PNG", "RGB"),
    "jpg": ("JPEG", "RGB"),
    "gif": ("GIF", "P"),
    "bmp": ("BMP", "RGB"),
    "tif": ("TIFF", "CMYK"),
    "webp": ("WEBP", "RGB"),
    "ppm": ("PPM", "L"),
}
"""Suffix -> PIL's name of the format, and a mode."""


class Images(Target):
    """A damaged image in a folder of images."""

    share = 30

    def __init__(self, folder: Path) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
        image, self._folder = Image.fromarray(pixels), folder / "images"
        self._contents: dict[str, bytes] = {}
        for label in ("cat", "dog"):
            (self._folder / label).mkdir(parents=True)
            for number in range(4):
                image.save(self._folder / label / f"good{number}.png")
        for suffix, (name, mode) in IMAGE_FORMATS.items():
            buffer = io.BytesIO()
            image.convert(mode).save(buffer, name)
            self._contents[suffix] = buffer.getvalue()
        self.inputs = st.sampled_from(sorted(IMAGE_FORMATS)).flatmap(
            lambda suffix: st.tuples(st.just(suffix), mutated_bytes(self._contents[suffix]))
        )

    def use(self, given: tuple[str, bytes]) -> bool:
        suffix, content = given
        path = self._folder / "cat" / f"changed.{suffix}"
        path.write_bytes(content)
        try:
            resize = [{"name": "Resize", "size": [8, 8]}]
            transforms = {"train": resize, "val": resize}
            return _loads("ImageFolder", root=str(self._folder), transforms=transforms)
        finally:
            path.unlink()


class Tables(Target):
    """Tables as text and as Parquet."""

    share = 15

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "tables"
        self._folder.mkdir()
        draw = random.Random(0)
        colors = ["red", "blue"]
        rows = [(draw.gauss(0, 1), draw.choice(colors), f"2026-0{1 + n % 9}-11", n % 3) for n in range(40)]
        comma = "a,b,d,y\n" + "".join(f"{a:.3f},{b},{d},{y}\n" for a, b, d, y in rows)
        semicolon = comma.replace(",", ";").replace(".", ",")
        quoted = "a\tb\ty\n" + "".join(f'"{a:.2f}"\t"a ""{b}"""\t{y}\n' for a, b, _, y in rows)
        texts = (comma, semicolon, quoted)
        self._texts = [*(text.encode() for text in texts), comma.encode("utf-16"), semicolon.encode("cp1252")]
        kinds = [("csv", content) for content in self._texts]
        kinds += [("parquet", content) for content in [_parquet(rows)] if content]
        self.inputs = st.sampled_from(kinds).flatmap(
            lambda kind: st.tuples(st.just(kind[0]), mutated_bytes(kind[1]))
        )

    def use(self, given: tuple[str, bytes]) -> bool:
        suffix, content = given
        path = self._folder / f"t.{suffix}"
        path.write_bytes(content)
        return _loads("CSV" if suffix == "csv" else "Parquet", root=str(path), target="y", missing="mean")


def _parquet(rows: list[tuple[float, str, str, int]]) -> bytes:
    try:
        import pandas
        import pyarrow as _  # noqa: F401
    except ImportError:
        return b""
    buffer = io.BytesIO()
    pandas.DataFrame(rows, columns=["a", "b", "d", "y"]).to_parquet(buffer)
    return buffer.getvalue()


def _loads(name: str, **keys: Any) -> bool:
    """Load a dataset and read all of it; returns whether it is accepted."""
    try:
        data = load(name, **keys)
        for batches in (data.train, data.val):
            inputs, _ = all_of(batches)
            assert len(inputs)
    except TorchconsoleError as error:
        check_message(str(error))
        return False
    return True

"""What pane 9 shows: pictures and texts that a program has saved, and the samples with the highest losses."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from torchconsole.engine.files import open_regular, read_regular
from torchconsole.engine.protocol.info import WorstSample
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.names import is_result_file
from torchconsole.tui.formatting import format_number

MOST_RESULTS = 60
"""The newest ones are shown."""

MOST_PIXELS = 50_000_000
"""A larger picture would take seconds and hundreds of megabytes to read."""

THUMBNAIL = (128, 64)
"""Most columns and rows of pixels that are kept of a picture."""

MOST_CHARACTERS, MOST_BYTES = 2000, 1_000_000

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")


@dataclass(frozen=True, eq=False)
class Content:
    """What a file shows: `pixels`, (H, W, 3) uint8, or a `text`, or the `problem` that keeps it from it."""

    pixels: NDArray[np.uint8] | None = None
    text: str = ""
    problem: str = ""


NOTHING = Content()


@dataclass(frozen=True)
class Result:
    """A saved picture or text, or a sample with a high loss."""

    title: str
    details: str
    path: str
    """The file, or what tells where a sample comes from."""
    content: Content


class ResultReader:
    """Reads the results of one run; a file that has not changed is not read again."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._contents: dict[tuple[str, int, int], Content] = {}

    def read(self, worst: Sequence[WorstSample]) -> list[Result]:
        """Return what the program has saved, the newest first, then the `worst` samples. Raises OSError."""
        known, self._contents = self._contents, {}
        saved = [self._saved(path, known) for path in self._newest()]
        losses = ["n/a" if sample.loss is None else format_number(sample.loss) for sample in worst]
        widest = max(map(len, losses), default=0)
        samples = zip(worst, losses, strict=True)
        return [*saved, *(self._sample(sample, loss.ljust(widest), known) for sample, loss in samples)]

    def _newest(self) -> Iterable[Path]:
        try:
            with os.scandir(self._folder.results) as entries:
                found = [each for entry in entries if is_shown(entry.name) and (each := _dated(entry))]
        except FileNotFoundError:
            return []
        return [self._folder.results / name for _, name in sorted(found, reverse=True)[:MOST_RESULTS]]

    def _saved(self, path: Path, known: dict[tuple[str, int, int], Content]) -> Result:
        name, _, step = path.stem.rpartition("-")
        return Result(name, f"step {int(step):,}", str(path), self._content(path, known))

    def _sample(self, sample: WorstSample, loss: str, known: dict[tuple[str, int, int], Content]) -> Result:
        details = f"true {sample.label}  predicted {sample.predicted}"
        if sample.probability is not None:
            details += f" ({sample.probability:.3f})"
        path = Path(sample.place)
        has_picture = path.suffix.lower() in PICTURES and path.is_absolute()
        content = self._content(path, known) if has_picture else NOTHING
        return Result(f"loss {loss}", details, sample.place, content)

    def _content(self, path: Path, known: dict[tuple[str, int, int], Content]) -> Content:
        """Read a file, unless it is known with the same time and size."""
        try:
            status = path.stat()
            key = (str(path), status.st_mtime_ns, status.st_size)
            if key not in known:
                is_text = path.suffix == ".txt"
                known[key] = Content(text=_text(path)) if is_text else Content(pixels=read_pixels(path))
        except OSError as error:
            return Content(problem=error.strerror or str(error))
        except ValueError as error:
            return Content(problem=str(error))
        self._contents[key] = known[key]
        return known[key]


def _dated(entry: os.DirEntry[str]) -> tuple[int, str] | None:
    """Return when a file was changed, and its name; None for a file that is gone, or a link to one."""
    try:
        return entry.stat().st_mtime_ns, entry.name
    except OSError:
        return None


def is_shown(name: str) -> bool:
    """Whether a file in the folder of results is complete and ours."""
    return not name.startswith(".") and is_result_file(name)


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """Read a picture, reduced to THUMBNAIL, (H, W, 3). Raises OSError, and ValueError if it is none."""
    from PIL import Image

    with open_regular(path) as file:
        try:
            with Image.open(file, formats=_FORMATS) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise ValueError(f"{image.width} x {image.height} pixels are too many to show")
                image.draft("RGB", THUMBNAIL)
                image.thumbnail(THUMBNAIL)
                return np.asarray(image.convert("RGB"))
        except (Image.DecompressionBombError, SyntaxError, EOFError, OverflowError) as error:
            raise ValueError(f"cannot be read as a picture: {error}") from error


def _text(path: Path) -> str:
    text = read_regular(path, MOST_BYTES).decode("utf-8", errors="replace")
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}..."

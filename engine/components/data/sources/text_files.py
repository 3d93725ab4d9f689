"""Texts to classify: a folder of .txt files for each class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from torchconsole.engine.components.data.datasets import Splits
from torchconsole.engine.components.data.images import UnreadableError
from torchconsole.engine.components.data.sources.folder_layout import find_layout
from torchconsole.engine.components.data.sources.folder_tree import Folder
from torchconsole.engine.components.data.system_failures import raise_system_failure
from torchconsole.engine.components.data.texts.dataset import TextDataset
from torchconsole.engine.components.data.texts.decoding import WrongEncodingError, decode_text
from torchconsole.engine.components.data.texts.tokenizing import TextOptions
from torchconsole.engine.components.instantiate import call
from torchconsole.engine.components.phase_progress import PhaseProgress
from torchconsole.engine.config.data_location import data_folder
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.events import ReportPhase
from torchconsole.engine.text import counted, error_summary, printable

SUFFIXES = (".txt",)

MAX_NAMES = 3
"""Number of files that a note names."""


@dataclass(frozen=True)
class TextFiles(TextOptions):
    """Text files in class folders; the layouts are those of image folders."""

    encoding: str = "utf-8"
    """Encoding of the files, as Python calls it."""

    def __post_init__(self) -> None:
        """Raises ValueError like `TextOptions`, and for an encoding that Python does not know."""
        super().__post_init__()
        try:
            "a".encode(self.encoding)
        except (LookupError, TypeError):
            raise ValueError(f'encoding must be a name such as "cp1252", not {self.encoding!r}') from None


def open_text_files(config: DataConfig, report: ReportPhase) -> Splits:
    """Open class folders of texts. Raises DataError for what is missing or cannot be read."""
    options: TextFiles = call("data", TextFiles, {}, config.arguments)
    root = data_folder(config.name, config.root)
    try:
        layout = find_layout(root, SUFFIXES, "texts")
    except OSError as error:
        raise DataError(f"data.root: cannot read {root}: {error_summary(error)}") from error
    names = sorted(layout.sets["train"])
    reader = _Reader(options, config, report, _count(layout.sets))
    sets = {name: reader.read_set(classes, names) for name, classes in layout.sets.items()}
    return Splits(
        sets["train"],
        sets.get("val"),
        sets.get("test"),
        task="multiclass",
        class_names=names,
        notes=[*layout.notes, *layout.note_other_files(), *reader.notes],
    )


SOURCES = {"TextFiles": open_text_files}


class _Reader:
    """Reads the texts of class folders; counts those that cannot be read if the preset skips them."""

    def __init__(self, options: TextFiles, config: DataConfig, report: ReportPhase, total: int) -> None:
        self._options = options
        self._limit = config.max_corrupt if config.on_corrupt == "skip" else 0
        self._progress = PhaseProgress(report, "loading data", total, subject=config.name, unit="texts")
        self._skipped: list[str] = []
        self._otherwise_encoded = 0

    @property
    def notes(self) -> list[str]:
        """Notes on files that were skipped, or read in another encoding."""
        notes = []
        if self._skipped:
            names = ", ".join(self._skipped[:MAX_NAMES])
            notes.append(f"{_texts(len(self._skipped))} cannot be read; left out: {names}")
        if count := self._otherwise_encoded:
            notes.append(f"{_texts(count)} read as UTF-8 instead of {self._options.encoding}")
        return notes

    def read_set(self, classes: Mapping[str, Folder], names: list[str]) -> TextDataset:
        """Return the texts of one set, in the order of the classes."""
        texts, labels, paths = [], [], []
        for label, name in enumerate(names):
            for path in classes[name].all_samples() if name in classes else ():
                text = self._read(path)
                if text is not None:
                    texts.append(text)
                    labels.append(label)
                    paths.append(path)
        targets = torch.tensor(labels, dtype=torch.int64)
        return TextDataset(texts, targets, self._options, lambda index: printable(paths[index]), paths=paths)

    def _read(self, path: str) -> str | None:
        self._progress.advance()
        try:
            text, encoding = _decode(Path(path), self._options.encoding)
            self._otherwise_encoded += encoding != self._options.encoding and not text.isascii()
            return text
        except UnreadableError as error:
            if not self._limit:
                raise
            self._skipped.append(printable(path))
            if len(self._skipped) > self._limit:
                raise DataError(
                    f"data.max_corrupt: more than {counted(self._limit, 'text')} cannot be read: repair or "
                    f"remove them, or raise it; the last one: {str(error).removeprefix('data: ')}"
                ) from error
        return None


def _decode(path: Path, encoding: str) -> tuple[str, str]:
    """Return the text in a file and its encoding. Raises UnreadableError for one that cannot be read so."""
    shown = printable(str(path))
    try:
        return decode_text(path.read_bytes(), encoding)
    except (OSError, MemoryError) as error:
        raise_system_failure(error, f"cannot read {shown}: ")
        raise UnreadableError(f"data: cannot read {shown}: {error_summary(error)}") from error
    except WrongEncodingError as error:
        raise UnreadableError(f"data: cannot read {shown}: {error}") from error


def _texts(count: int) -> str:
    return "1 text" if count == 1 else f"{count:,} texts"


def _count(sets: Mapping[str, Mapping[str, Folder]]) -> int:
    return sum(len(folder.all_samples()) for classes in sets.values() for folder in classes.values())

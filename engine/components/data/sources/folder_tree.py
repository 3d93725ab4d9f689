"""A tree of folders with sample files, without what is hidden: which folders and files it has."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from torchconsole.engine.errors import DataError
from torchconsole.engine.text import printable

HIDDEN = {
    *("__macosx", "__pycache__", "@eadir", "$recycle.bin", "system volume information", "lost+found"),
    *("thumbs.db", "desktop.ini"),
}
"""Folders and files, in lower case, that systems create; as are all whose name begins with a dot."""


@dataclass
class Folder:
    """A folder, read when it is needed. A file is a sample if its name ends with one of `suffixes`."""

    path: Path
    suffixes: tuple[str, ...]
    """In lower case."""
    ancestors: frozenset[tuple[int, int]] = field(default=frozenset(), repr=False)
    """Device and inode of the folders above it: a link to one of them is not followed."""

    @property
    def name(self) -> str:
        """The name for people: control characters and bytes that are not UTF-8 are escaped."""
        return printable(os.fsencode(self.path.name).decode("utf-8", "backslashreplace"))

    @property
    def shown(self) -> str:
        """The path, escaped like the name."""
        return printable(os.fsencode(self.path).decode("utf-8", "backslashreplace"))

    @cached_property
    def _entries(self) -> tuple[list[Folder], list[str], Counter[str]]:
        """Folders and sample files in order, and the number of other files by the end of their names.

        Raises DataError for a folder that cannot be read.
        """
        try:
            return self._scan()
        except OSError as error:
            raise DataError(f"data.root: cannot read {self.shown}: {error.strerror}") from error

    def _scan(self) -> tuple[list[Folder], list[str], Counter[str]]:
        own = self.path.stat()
        above = self.ancestors | {(own.st_dev, own.st_ino)}
        folders: list[Folder] = []
        samples: list[str] = []
        others: Counter[str] = Counter()
        for entry in sorted(os.scandir(self.path), key=lambda entry: entry.name):
            if entry.name.startswith(".") or entry.name.lower() in HIDDEN:
                continue
            if entry.is_dir():
                found = entry.stat()
                if (found.st_dev, found.st_ino) not in above:
                    folders.append(Folder(Path(entry.path), self.suffixes, above))
            elif entry.name.lower().endswith(self.suffixes):
                samples.append(entry.path)
            else:
                others[Path(entry.name).suffix.lower() or "no suffix"] += 1
        return folders, samples, others

    @property
    def folders(self) -> list[Folder]:
        """The folders in it."""
        return self._entries[0]

    @property
    def samples(self) -> list[str]:
        """The sample files directly in it."""
        return self._entries[1]

    @cached_property
    def has_samples(self) -> bool:
        """Whether there is a sample file in it or anywhere below."""
        return bool(self.samples) or any(folder.has_samples for folder in self.folders)

    @cached_property
    def is_empty(self) -> bool:
        """Whether there is no file of any kind in it or below."""
        folders, samples, others = self._entries
        return not samples and not others and all(folder.is_empty for folder in folders)

    @property
    def used_folders(self) -> list[Folder]:
        """The folders in it that have samples."""
        return [folder for folder in self.folders if folder.has_samples]

    @property
    def holds_classes(self) -> bool:
        """Whether its folders look like classes: a class itself has sample files, or only one folder."""
        count = len(self.used_folders)
        return count > 1 or (count == 1 and not self.samples)

    def all_samples(self) -> list[str]:
        """Return the sample files in it and below, in the order of torchvision's ImageFolder."""
        found = [(str(self.path), self.samples), *self._samples_below()]
        return [sample for _, samples in sorted(found) for sample in samples]

    def _samples_below(self) -> list[tuple[str, list[str]]]:
        found = []
        for folder in self.folders:
            found += [(str(folder.path), folder.samples), *folder._samples_below()]
        return found

    def count_others(self) -> Counter[str]:
        """Count the files in it and below that are no samples, by the end of their names."""
        return sum((folder.count_others() for folder in self.folders), self._entries[2].copy())

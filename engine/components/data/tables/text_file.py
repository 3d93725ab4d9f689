"""Opens the file of a table as text: decompressed by its name, in its encoding, without comment lines."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TextIO

from torchconsole.engine.errors import DataError
from torchconsole.engine.text import first_line

ARCHIVES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".7z", ".rar")

FORMATS = {
    b"PAR1": 'it is a Parquet file: set data.name = "Parquet"',
    b"ARROW1": 'it is a Feather file: set data.name = "Feather"',
    b"FEA1": 'it is a Feather file: set data.name = "Feather"',
    b"PK\x03\x04": "it is an Excel workbook or another ZIP archive: save it as CSV, or rename it to .zip",
    b"\xd0\xcf\x11\xe0": "it is an Excel workbook: save it as CSV",
    b"\x1f\x8b": "it is compressed: add .gz to its name",
    b"BZh": "it is compressed: add .bz2 to its name",
    b"\xfd7zXZ": "it is compressed: add .xz to its name",
    b"\x28\xb5\x2f\xfd": "it is compressed: add .zst to its name",
}
"""First bytes of binary files -> what to do."""

TEXT_FORMATS = {
    b"<!doctype html": "it is a web page: download the file itself",
    b"<html": "it is a web page: download the file itself",
    b"version https://git-lfs": "it is a pointer of Git LFS: get the file itself with git lfs pull",
}
"""Start of text files that are no tables, in lower case -> what to do."""

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

HEAD = 4096
"""Bytes at the start of a file that show its format."""

UTF8 = ("utf-8", "utf-8-sig")
"""Python's names of UTF-8."""

BYTES = bytes(range(256))

MAX_SHOWN = 20
"""Characters of a line to show around the one that cannot be decoded."""


@dataclass(frozen=True)
class TextFile:
    """The file of a table, and how to read it as text."""

    path: Path
    encoding: str = "utf-8"
    comment: str | None = None
    """Lines that start with this are read as blank lines, unless they start within quotes."""
    quoting: bool = True
    """Whether double quotes enclose fields."""
    skiprows: int = 0
    """Number of lines before the table."""

    @contextmanager
    def open(self) -> Iterator[TextIO]:
        """Open the text after the skipped lines; line ends are kept as they are.

        Raises DataError for what cannot be opened, decompressed or decoded, also in the block.
        """
        with reading(self.path):
            self._check_format()
            try:
                with io.TextIOWrapper(_open_bytes(self.path), encoding=self._codec, newline="") as text:
                    for _ in range(self.skiprows):
                        next(text, "")
                    yield text if self.comment is None else io.StringIO(self._blank_comments(text), "")
            except UnicodeError as error:
                raise DataError(f"data: {self.path} {self._explain_decoding()}") from error

    @property
    def _codec(self) -> str:
        return "utf-8-sig" if self._is_utf8 else self.encoding

    @property
    def _is_utf8(self) -> bool:
        return self._name in UTF8

    @property
    def _name(self) -> str:
        """Python's name of the encoding, which may have several."""
        try:
            return codecs.lookup(self.encoding).name
        except LookupError as error:
            raise DataError(
                f"data.encoding: Python knows no encoding {self.encoding!r}; common ones are utf-8, cp1252, "
                "latin-1 and utf-16"
            ) from error

    def _check_format(self) -> None:
        """Raise DataError for a file that is obviously no text, or in UTF-16 unless `encoding` says so."""
        with _open_bytes(self.path) as file:
            head = file.read(HEAD)
        for magic, advice in (*FORMATS.items(), *TEXT_FORMATS.items()):
            binary = magic in FORMATS
            # A header may start with these letters too.
            if (head if binary else head.lstrip().lower()).startswith(magic) and (
                not binary or not _is_printable(head)
            ):
                raise DataError(f"data.root: {self.path} cannot be read as CSV: {advice}")
        wide = wide_encoding(head)
        if wide and not self._reads(wide):
            name = "UTF-8" if self._is_utf8 else self.encoding
            raise DataError(
                f'data: {self.path} is not {name} but {wide.upper()}: set data.encoding = "{wide}"'
            )
        if b"\0" in head and not self._name.startswith(("utf-16", "utf-32")):
            raise DataError(f"data.root: {self.path} cannot be read as CSV: it is not a text file")

    def _reads(self, wide: str) -> bool:
        """Whether the encoding reads text in `wide`, of which only that without a mark has a byte order."""
        return self._name == wide or (wide in ("utf-16", "utf-32") and self._name.startswith(wide))

    def check_not_utf8(self) -> None:
        """Raise DataError for UTF-8 that the encoding, with one byte for each character, would misread."""
        if self._name in (*UTF8, "ascii") or not has_single_bytes(self.encoding):
            return
        utf8 = other = 0
        with reading(self.path), _open_bytes(self.path) as file:
            for number, line in enumerate(file, start=1):
                if line.isascii():
                    continue
                if _is_valid_utf8(line):
                    utf8 = utf8 or number
                else:
                    other = other or number
                if utf8 and other:
                    raise DataError(f"data: {self.path} {_describe_mixture(utf8, other)}")
        if utf8:
            raise DataError(
                f"data.encoding: {self.path} is UTF-8, which {self.encoding} would misread: "
                "remove data.encoding"
            )

    def _blank_comments(self, lines: TextIO) -> str:
        """Return the text with comment lines left blank, so that lines keep their numbers."""
        kept, quotes = [], 0
        for line in lines:
            if not quotes % 2 and line.lstrip().startswith(self.comment or ""):
                kept.append("\n")
            else:
                kept.append(line)
                quotes += line.count('"') if self.quoting else 0
        return "".join(kept)

    def _explain_decoding(self) -> str:
        """Say which line cannot be decoded, and how it reads in the most common other encoding."""
        if not self._is_utf8:
            return f"cannot be decoded as {self.encoding}: set data.encoding to the encoding of the file"
        with _open_bytes(self.path) as file:
            utf8 = 0
            for number, line in enumerate(file, start=1):
                try:
                    line.decode()
                    utf8 = utf8 or (0 if line.isascii() else number)
                except UnicodeDecodeError as error:
                    if utf8:
                        return _describe_mixture(utf8, number)
                    where = f"is not UTF-8 (byte 0x{line[error.start]:02x} in line {number:,})"
                    around = line[max(0, error.start - MAX_SHOWN) : error.start + MAX_SHOWN]
                    return f"{where}: {suggest_encoding(around)}"
        return "is not UTF-8: set data.encoding to the encoding of the file"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise DataError with the path for what goes wrong in the block when a file is read."""
    try:
        yield
    except (OSError, EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise DataError(f"data.root: {path} cannot be read: {reason}") from error


def _is_valid_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _describe_mixture(utf8: int, other: int) -> str:
    return f"is UTF-8 in line {utf8:,}, but not in line {other:,}: write all of it in UTF-8"


def _is_printable(head: bytes) -> bool:
    return not any(byte < 32 and byte not in b"\t\r\n" for byte in head)


def wide_encoding(head: bytes) -> str | None:
    """Return the encoding of text with 2 or 4 bytes per character, by its mark or by its zeros."""
    for mark, name in BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return name
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if max(even, odd) <= max(2, len(head) / 4) or (even and odd):
        return None
    return "utf-16-le" if odd else "utf-16-be"


def has_single_bytes(encoding: str) -> bool:
    """Whether each character is one byte in this encoding, so that its text is hardly ever valid UTF-8."""
    return len(BYTES.decode(encoding, "replace")) == len(BYTES)


def suggest_encoding(part: bytes) -> str:
    try:
        text = part.decode("cp1252")
    except UnicodeDecodeError:
        return 'set data.encoding to the encoding of the file, such as "latin-1", "gb18030" or "shift_jis"'
    return (
        f'set data.encoding = "cp1252" if {text.strip()!r} is how it reads, else to the encoding of the file'
    )


def _open_bytes(path: Path) -> IO[bytes]:
    name = path.name.lower()
    if name.endswith(ARCHIVES):
        raise DataError(f"data.root: {path} is an archive: unpack it, and set data.root to the file in it")
    opener: Callable[[Path], Any] = _OPENERS.get(path.suffix.lower(), _open_plain)
    found: IO[bytes] = opener(path)
    return found


def _open_plain(path: Path) -> IO[bytes]:
    return path.open("rb")


def _open_zip(path: Path) -> IO[bytes]:
    archive = zipfile.ZipFile(path)
    members = [
        name
        for name in archive.namelist()
        if not name.endswith("/") and not name.startswith("__MACOSX/") and not Path(name).name.startswith(".")
    ]
    if len(members) != 1:
        raise DataError(
            f"data.root: {path} holds {len(members)} files, but must hold one: unpack it, and set data.root "
            "to one of them"
        )
    try:
        return archive.open(members[0])
    except RuntimeError as error:  # zipfile's error for a file that needs a password
        raise DataError(f"data.root: {path} cannot be read: {first_line(error)}; unpack it") from error


def _open_zst(path: Path) -> IO[bytes]:
    stream: IO[bytes] = import_pyarrow(path).input_stream(str(path), compression="zstd")
    return stream


_OPENERS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zip": _open_zip,
    ".zst": _open_zst,
}


def import_pyarrow(path: Path) -> Any:
    """Import the package of the `tables` extra. Raises DataError without it."""
    try:
        import pyarrow
    except ImportError as error:
        raise DataError(
            f"data.root: reading {path.name} requires pyarrow: pip install 'torchconsole[tables]'"
        ) from error
    return pyarrow

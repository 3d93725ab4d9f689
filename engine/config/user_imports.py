"""Finds the files that user code imports by reading the code, without running any of it.

Imports in functions and conditions count too. What is decided while the program runs, as in
`import_module(f"plugins.{name}")`, is not seen here; user_modules.py checks every file when it is imported.
"""

from __future__ import annotations

import ast
import codecs
import io
import tokenize
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import decode_source
from pathlib import Path
from typing import NamedTuple

from torchconsole.engine.config.import_path import find_in, find_installed
from torchconsole.engine.errors import TrustError
from torchconsole.engine.files import read_regular

IMPORT_FUNCTIONS = ("import_module", "__import__")

MAX_BYTES = 1 << 30
"""Size of the largest file of user code: compiled code may be large."""

PLAIN_ENCODINGS = ("utf-8", "utf-8-sig", "ascii", "iso8859-1")
SLOW_ENCODINGS = ("punycode", "idna")
"""Codecs, as codecs.lookup names them: the latter take minutes for a long file, and are none for programs."""

UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What `ast.parse` raises for text that is not Python; importing the file reports it."""


class UserFile(NamedTuple):
    """A file of the user's, read once: these bytes are what is shown, compared and executed."""

    path: Path
    content: bytes
    is_named: bool = False
    """Whether the preset names it; other files are imported by those."""


class ImportedFiles:
    """The files of user code in `folders`, with all that they import; what is installed is left out."""

    def __init__(self, folders: Sequence[str]) -> None:
        self.files: dict[Path, UserFile] = {}
        self._folders = list(folders)
        self._modules: dict[str, Path] = {}
        self._seen: set[str] = set()
        self._pending: list[str] = []

    def add_file(self, path: Path) -> None:
        """Add a file that a preset names by its path. Raises TrustError if a file cannot be read."""
        self._add(path, package="", is_named=True)
        self._add_pending()

    def add_module(self, name: str) -> bool:
        """Add the files of a module that a preset names. Return False if it is not one of the user's.

        Raises TrustError if a file cannot be read.
        """
        self._pending.append(name)
        self._add_pending()
        path = self._modules.get(name)
        if path is not None:
            self.files[path] = self.files[path]._replace(is_named=True)
        return path is not None

    def _add_pending(self) -> None:
        while self._pending:
            name = self._pending.pop()
            if name not in self._seen:
                self._seen.add(name)
                self._add_module(name)

    def _add_module(self, name: str) -> None:
        """Add the files that `import name` executes; for `package.*` those of `from package import *`."""
        parts = name.removesuffix(".*").split(".")
        folders: Sequence[str] | None = self._folders
        if find_installed(parts[0]) is not None:
            return
        for length in range(1, len(parts) + 1):
            module = ".".join(parts[:length])
            spec = None if folders is None else find_in(module, folders)
            if spec is None:
                return
            folders = spec.submodule_search_locations
            if module not in self._modules and spec.loader is not None and spec.origin is not None:
                self._modules[module] = Path(spec.origin)
                self._add(Path(spec.origin), module if folders else module.rpartition(".")[0])
        if name.endswith(".*") and (path := self._modules.get(module)):
            self._pending += [f"{module}.{each}" for each in _public_names(self.files[path].content)]

    def _add(self, path: Path, package: str, is_named: bool = False) -> None:
        """Add a file of `package` and note what it imports."""
        known = self.files.get(path)
        content = read(path) if known is None else known.content
        self.files[path] = UserFile(path, content, is_named or (known is not None and known.is_named))
        if path.suffix == ".py":
            self._pending += imported_names(content, package)


def read(path: Path) -> bytes:
    """Return the content of a file of user code.

    Raises TrustError if it cannot be read, or says that it is in an encoding that hides what it does.
    """
    try:
        content = read_regular(path, MAX_BYTES)
    except OSError as error:
        raise TrustError(f"{path}: cannot be read: {error.strerror}") from error
    if path.suffix == ".py" and (encoding := _encoding(content)) and _hides(encoding, content):
        raise TrustError(f"{path}: is in the encoding {encoding}, which hides its text; save it as UTF-8")
    return content


def source_text(content: bytes) -> str:
    r"""Decode a source file: this text is shown, searched for imports and executed. Raises SyntaxError.

    Python's compiler is never given the bytes: it may take another line than its library for the one that
    names the encoding, because a lone \r ends a line for the compiler.
    """
    try:
        return decode_source(content)
    except (ValueError, LookupError) as error:
        raise SyntaxError(str(error)) from error


def _encoding(content: bytes) -> str:
    """Return the codec of a source file; empty if there is none, which the import reports."""
    try:
        return codecs.lookup(tokenize.detect_encoding(io.BytesIO(content).readline)[0]).name
    except (SyntaxError, LookupError):
        return ""


def _hides(encoding: str, content: bytes) -> bool:
    """Return whether a program that takes a file for ASCII shows other characters than those that run.

    In UTF-7 the text of a comment can be the end of the comment, and in some code pages a byte that is not
    ASCII is a quotation mark.
    """
    if encoding in PLAIN_ENCODINGS:
        return False
    if encoding in SLOW_ENCODINGS:
        return True
    try:
        decoded = content.decode(encoding)
    except (ValueError, LookupError):  # the import reports it
        return False
    return decoded.encode("ascii", "ignore") != content.translate(None, bytes(range(0x80, 0x100)))


def imported_names(content: bytes, package: str) -> Iterator[str]:
    """Yield the absolute dotted names that a file of `package` may import, `package.*` for all of a package.

    A name may be an attribute of a module rather than a module: only the folders tell.
    """
    for node in _nodes(content):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute("." * node.level + (node.module or ""), package)
            if base:
                yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and _called(node.func) in IMPORT_FUNCTIONS:
            argument = node.args[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                name = _absolute(argument.value, package)
                if name:
                    yield name


def _nodes(content: bytes) -> Iterator[ast.AST]:
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(source_text(content))
    except UNREADABLE:
        return iter(())
    return ast.walk(tree)


def _absolute(name: str, package: str) -> str:
    """Return the absolute name of `name`, which may be relative to `package`; empty if there is none."""
    bare = name.lstrip(".")
    level = len(name) - len(bare)
    if not level:
        return bare
    parts = package.split(".") if package else []
    if level > len(parts):
        return ""
    return ".".join([*parts[: len(parts) - level + 1], *([bare] if bare else [])])


def _called(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _public_names(content: bytes) -> Iterator[str]:
    """Yield the texts in the `__all__` of a package's file."""
    for node in _nodes(content):
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            yield from (
                item.value
                for item in ast.walk(node)
                if isinstance(item, ast.Constant) and isinstance(item.value, str)
            )

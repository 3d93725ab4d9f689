"""Imports user code: reads each file once, compares it with what the user trusts, executes these bytes.

The door is Python's own loaders, so that every way to import a file passes it: `import`, `import_module`,
`spec_from_file_location`, folders that user code adds to sys.path, packages and relative imports. A file that
is not installed is compared first; no bytecode cache is read or written for it. A finder at the end of
sys.meta_path searches the folders of user code, but only for names that the preset gives and that user code
imports: a library that tries an optional `import dill` does not find a `dill.py` there.

What trusted code reads and executes itself (`exec`, a subprocess) is its own affair.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import linecache
import os
import shlex
import sys
import zipimport
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from importlib.machinery import ExtensionFileLoader, ModuleSpec, SourceFileLoader, SourcelessFileLoader
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

from torchconsole.engine.config.import_path import find_in, installed_path, is_installed
from torchconsole.engine.config.user_code import is_trusted_content
from torchconsole.engine.config.user_imports import UserFile, read, source_text
from torchconsole.engine.errors import TrustError

PREFIX = "torchconsole_user_code_"
"""Begins the module names of files that a preset names by their path."""

OWN_FOLDER = str(Path(__file__).absolute().parents[2])
"""The folder with torchconsole's engine and console."""

UNPICKLERS = ("multiprocessing", "pickle", "cloudpickle", "joblib", "loky", "dill", "multiprocess")
"""Packages that import what an object of user code names: they may use the finder too."""

GENERATORS = ("torch._inductor.", "triton.", "torch.utils.cpp_extension.")
"""Modules that load code which they have just compiled, from a cache of their own."""

TEMPLATES = "torch.distributed.nn.jit.instantiator"
"""A module of older versions of torch that imports by name what it has written to a folder of its own."""

IMPORTERS = ("importlib", "_frozen_importlib", "_frozen_importlib_external", "zipimport", "pkgutil", "runpy")
"""Modules that import on behalf of their caller."""


class _Finder:
    """Finds modules of user code after everything else, for the preset and for user code only."""

    finds_user_code = True

    def __init__(self) -> None:
        self.folders: list[str] = []
        self.named: dict[str, str] = {}
        """Names of modules made from files -> path."""
        self.given: set[str] = set()
        """Top-level modules that the preset names."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module as Python's import does; submodules are found through their package."""
        if name in self.named:
            return importlib.util.spec_from_file_location(name, self.named[name])
        if path is not None or not (name in self.given or _is_for_user_code()):
            return None
        return find_in(name, self.folders)


_finder = _Finder()
_installed: list[str] = []
_loaded: set[str] = set()
"""Names of the modules that were loaded from user code."""

_kept: dict[str, bytes] = {}
"""The content of files at the start of the process, by their paths."""

_memory_files: list[int] = []
"""Open files with the extension modules that were loaded: their names must stay unique."""


def import_file(path: Path, search: Sequence[str]) -> ModuleType:
    """Import a file of user code by its path, once. Raises TrustError, and what the file raises."""
    name = f"{PREFIX}{path.stem}_{sha256(os.fsencode(path)).hexdigest()[:12]}"
    _finder.named[name] = str(path)
    _open_door(search)
    return importlib.import_module(name)


def import_module(name: str, search: Sequence[str]) -> ModuleType:
    """Import a module that a preset names. Raises TrustError, and what the module raises."""
    _finder.given.add(name.partition(".")[0])
    _open_door(search)
    return importlib.import_module(name)


REQUESTS = (import_file.__code__, import_module.__code__)
"""The code of the functions here that import what a preset names."""


def keep(files: Iterable[UserFile]) -> None:
    """Keep files of user code as they are now.

    A run may import them hours later, when somebody has edited them; it then uses what it was started with.
    """
    _kept.update((str(file.path), file.content) for file in files)


def folders() -> list[str]:
    """Return the folders in which this process searches user code; empty if it has not imported any."""
    return list(_finder.folders)


def is_user_module(name: str) -> bool:
    """Return whether the module called `name` was loaded from user code."""
    return name in _loaded


class ProgramName(str):
    """`sys.argv[0]` of a process with user code.

    multiprocessing, joblib and their like pass sys.argv on to the processes that they start. Unpickling it
    there lets them find and check user code as their parent does, before they import any.
    """

    def __reduce__(self) -> tuple[Callable[..., ProgramName], tuple[str, dict[str, Any]]]:
        state = {
            "folders": _finder.folders,
            "named": _finder.named,
            "given": sorted(_finder.given),
            "installed": _installed,
        }
        return _continue_in_child, (str(self), state)


def _continue_in_child(name: str, state: dict[str, Any]) -> ProgramName:
    _finder.named.update(state["named"])
    _finder.given.update(state["given"])
    if not _installed:
        _installed.extend(state["installed"])  # sys.path has what user code has added to it
    _open_door(state["folders"])
    return ProgramName(name)


def _open_door(search: Sequence[str]) -> None:
    """Let user code be imported from the folders `search`, and check every file of the user's from now on."""
    if _finder not in sys.meta_path:
        if not _installed:
            _installed.extend(str(Path(entry).absolute()) for entry in installed_path())
        _check_loaders()
        sys.meta_path.append(_finder)
    _finder.folders = list(dict.fromkeys([*search, *_finder.folders]))


def _check_loaders() -> None:
    """Put the check in front of Python's loaders of files."""
    source, sourceless = SourceFileLoader.get_code, SourcelessFileLoader.get_code
    create, from_zip = ExtensionFileLoader.create_module, zipimport.zipimporter.get_code

    def source_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        if not _is_users(fullname, path):
            return source(self, fullname)
        content = _checked(path)
        text = source_text(content)
        code: CodeType = self.source_to_code(text, path)
        _loaded.add(fullname)
        # Tracebacks, inspect.getsource and TorchScript shall see this text, not what the file holds later.
        linecache.cache[path] = (len(content), None, list(io.StringIO(text)), path)
        return code

    def bytecode(self: SourcelessFileLoader, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        if _is_users(fullname, path):
            raise TrustError(f"{path} is bytecode, which nobody can check; import its source, a .py file")
        return sourceless(self, fullname)

    def zipped_code(self: zipimport.zipimporter, fullname: str) -> CodeType:
        if _is_users(fullname, self.archive):
            raise TrustError(f"{self.archive}: user code cannot be imported from a zip file; unpack it")
        return from_zip(self, fullname)

    def extension(self: ExtensionFileLoader, spec: ModuleSpec) -> ModuleType:
        path = self.get_filename(spec.name)
        if not _is_users(spec.name, path):
            return create(self, spec)
        copy = ModuleSpec(spec.name, self, origin=_private_copy(_checked(path), spec.name))
        module = create(self, copy)
        _loaded.add(spec.name)
        module.__file__ = path
        return module

    for loader, method, checked in (
        (SourceFileLoader, "get_code", source_code),
        (SourcelessFileLoader, "get_code", bytecode),
        (zipimport.zipimporter, "get_code", zipped_code),
        (ExtensionFileLoader, "create_module", extension),
    ):
        setattr(loader, method, checked)


def _private_copy(content: bytes, name: str) -> str:
    """Return the path of a file in memory with the bytes that were checked, for the dynamic linker."""
    descriptor = os.memfd_create(name)
    _memory_files.append(descriptor)
    with os.fdopen(descriptor, "wb", closefd=False) as file:
        file.write(content)
    return f"/proc/self/fd/{descriptor}"


def _checked(path: str) -> bytes:
    """Return the content of a file of user code.

    Raises TrustError if the user does not trust it; ImportError instead if a library tries to import it.
    """
    content = read(Path(path))
    if is_trusted_content(content):
        return content
    file = str(Path(path).absolute())
    if file in _kept and is_trusted_content(_kept[file]):
        return _kept[file]
    message = (
        f"{file} is imported, but you do not trust its present content; read it, then run: "
        f"torchconsole trust {shlex.quote(file)}"
    )
    raise TrustError(message) if _is_for_user_code() else ImportError(message, path=path)


def _is_users(fullname: str, path: str) -> bool:
    """Return whether a file that is about to be loaded is neither of Python nor installed."""
    if fullname in _finder.named:
        return True
    absolute = os.path.normpath(Path(path).absolute())
    if _is_generated(absolute):
        return False
    if fullname.startswith("torchconsole.") and absolute.startswith(f"{OWN_FOLDER}/"):
        return False  # in an editable install too, whose import hook a child may not have yet
    return not is_installed(fullname, absolute, _installed)


def _is_for_user_code() -> bool:
    """Return whether the import under way was requested by the preset, by user code or by an unpickler."""
    frame, _ = _requester()
    name = str(frame.f_globals.get("__name__", ""))
    return frame.f_code in REQUESTS or name in _loaded or name.partition(".")[0] in UNPICKLERS


def _is_generated(path: str) -> bool:
    """Return whether torch loads what it has made: a compiler by the file's path, or TEMPLATES."""
    frame, by_name = _requester()
    name = str(frame.f_globals.get("__name__", ""))
    if name == TEMPLATES:
        folder = frame.f_globals.get("INSTANTIATED_TEMPLATE_DIR_PATH")
        return folder is not None and os.path.dirname(path) == os.path.normpath(folder)  # noqa: PTH120
    return not by_name and f"{name}.".startswith(GENERATORS)


def _requester() -> tuple[FrameType, bool]:
    """Return the frame that has requested the import under way, and whether it imports by name."""
    frame, by_name = sys._getframe(1), False
    while frame.f_back is not None:
        frame = frame.f_back
        by_name = by_name or frame.f_code.co_name == "_find_and_load"
        name = str(frame.f_globals.get("__name__", ""))
        if frame.f_code in REQUESTS or (name != __name__ and name.partition(".")[0] not in IMPORTERS):
            break
    return frame, by_name

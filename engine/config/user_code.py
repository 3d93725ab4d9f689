"""User code that a preset names as `file.py:Thing` or `package.module:Thing`: find it and check its trust.

Imports neither torch nor the user code. A file is trusted by the hash of its content, so that a preset from
someone else cannot run code that the user has not agreed to. The files that it imports count as well.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torchconsole.engine.config.import_path import code_folders, find_in, find_installed
from torchconsole.engine.config.preset_files import existing_file, with_absolute_paths
from torchconsole.engine.config.user_imports import ImportedFiles, UserFile, read
from torchconsole.engine.errors import ComponentError
from torchconsole.engine.user_folders import cannot_write, is_private, make_private, state_folder

log = logging.getLogger(__name__)

FOR_NOW = "TORCHCONSOLE_TRUSTED"
"""Variable with the hashes that are trusted but could not be recorded, for processes started from here."""


def is_user_code(name: str) -> bool:
    """Return whether a component's name refers to user code rather than to a class of torch."""
    return ":" in name


def is_path(module: str) -> bool:
    """Return whether the part of a name before the ":" is a file rather than a module."""
    return module.endswith(".py") or "/" in module


def source_file(section: str, name: str, folders: Sequence[str] | None = None) -> Path:
    """Return the file that `name` would be imported from, without importing anything.

    Modules are searched in `folders` (by default the working folder) after everything that is installed.

    Raises ComponentError for a malformed name, a missing file or module, and Python's standard modules.
    """
    module, _, thing = name.rpartition(":")
    if not module or not thing.isidentifier():
        raise ComponentError(
            f"{section}.name: {name!r} is not valid; write path/to/file.py:Thing or package.module:Thing"
        )
    if is_path(module):
        if (path := existing_file(module)) and path.suffix == ".py":
            return path.resolve()
        if path:
            raise ComponentError(f"{section}.name: {module!r} is not a Python file; its name must end in .py")
        raise ComponentError(f"{section}.name: file {module!r} does not exist")
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise ComponentError(
            f"{section}.name: {module!r} is part of Python's standard library and cannot be a component"
        )
    return _module_file(section, module, code_folders() if folders is None else folders)


def user_code_names(content: Any, section: str = "") -> Iterator[tuple[str, str]]:
    """Yield (section, name) for each component of a resolved preset's plain content that is user code."""
    if isinstance(content, dict):
        name = content.get("name")
        if isinstance(name, str) and is_user_code(name) and section:
            yield section, name
        for key, value in content.items():
            yield from user_code_names(value, f"{section}.{key}" if section else key)
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from user_code_names(value, f"{section}.{number}")


def locate_code(content: dict[str, Any]) -> dict[str, Any]:
    """Return a preset's plain content in which user code can be found from any folder.

    Paths become absolute, and the folders to search are noted as `code_folders`.
    """
    if not any(user_code_names(content)):
        return content
    located: dict[str, Any] = with_absolute_paths(content, Path.cwd())
    return located if located.get("code_folders") else {**located, "code_folders": code_folders()}


def search_folders(content: dict[str, Any]) -> list[str]:
    """Return the folders in which a resolved preset's user code is searched, after everything installed.

    The folders of the files that it names come first, then `code_folders`.
    """
    given = content.get("code_folders")
    given = given if given and isinstance(given, list) else code_folders()
    named = [name.rpartition(":")[0] for _, name in user_code_names(content)]
    files = [path.resolve() for name in named if is_path(name) and (path := existing_file(name))]
    return list(dict.fromkeys([*(str(path.parent) for path in files), *map(str, given)]))


def user_files(content: dict[str, Any]) -> list[UserFile]:
    """Return the files that this preset names, and those of the user's that they import.

    Imports are found by reading the files, not by running them. Raises ComponentError for a name that leads
    nowhere, TrustError for a file that cannot be read.
    """
    folders = search_folders(content)
    found = ImportedFiles(folders)
    for section, name in user_code_names(content):
        path, module = source_file(section, name, folders), name.rpartition(":")[0]
        if is_path(module):
            found.add_file(path)
        elif not found.add_module(module):  # it is installed, and so is what it imports
            found.files[path] = UserFile(path, read(path), is_named=True)
    return sorted(found.files.values(), key=lambda file: (not file.is_named, file.path))


def untrusted_files(content: dict[str, Any]) -> list[UserFile]:
    """Return the files of `user_files` whose content the user has not trusted yet. Raises as it does."""
    return [file for file in user_files(content) if not is_trusted_content(file.content)]


def describe_files(files: Sequence[UserFile], most: int | None = None) -> str:
    """Return what a preset runs, as "/x/own.py, which imports 2 more files: /x/a.py, /x/b.py (changed)".

    Of the imported files at most `most` are named.
    """
    before = _trusted_paths()
    texts = [f"{file.path}{' (changed)' if str(file.path) in before else ''}" for file in files]
    named = [text for text, file in zip(texts, files, strict=True) if file.is_named]
    others = texts[len(named) :]
    listed = ", ".join(others[:most]) + (", ..." if len(others[:most]) < len(others) else "")
    if not named:
        return f"code that imports {listed}"
    if not others:
        return ", ".join(named)
    imported = "1 more file" if len(others) == 1 else f"{len(others)} more files"
    verb = "which imports" if len(named) == 1 else "which import"
    return f"{', '.join(named)}, {verb} {imported}: {listed}"


def is_trusted(path: Path) -> bool:
    """Return whether the user trusts the file's present content. Raises TrustError if it cannot be read."""
    return is_trusted_content(read(path))


def is_trusted_content(content: bytes) -> bool:
    """Return whether the user trusts this content. An empty file, as many an `__init__.py`, does nothing."""
    if not content.strip():
        return True
    digest = hashlib.sha256(content).hexdigest()
    if digest in os.environ.get(FOR_NOW, "").split():
        return True
    # In a store that others can write to, anybody may have agreed.
    return is_private(_store()) and os.path.exists(_store() / digest)  # noqa: PTH110


def trust(path: Path, content: bytes | None = None) -> None:
    """Remember that the user trusts this content, in whatever file it is. Raises TrustError.

    Pass as `content` what the user has been asked about: the file may have changed since. If it cannot be
    recorded, it is trusted by this process and those that it starts, and a warning says so.
    """
    digest = hashlib.sha256(read(path) if content is None else content).hexdigest()
    try:
        make_private(_store())
        (_store() / digest).write_text(f"{path}\n", encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        os.environ[FOR_NOW] = f"{os.environ.get(FOR_NOW, '')} {digest}".strip()
        log.warning(cannot_write(_store(), error, f"you will be asked again whether you trust {path}"))


def _store() -> Path:
    return state_folder() / "trusted"


def _trusted_paths() -> set[str]:
    """Return the files that were trusted with any content."""
    try:
        return {
            entry.read_text(encoding="utf-8", errors="surrogateescape").rstrip("\n")
            for entry in _store().iterdir()
            if entry.is_file()
        }
    except OSError:
        return set()


def _module_file(section: str, module: str, folders: Sequence[str]) -> Path:
    """Search the file of a module as an import would: among what is installed, then in `folders`."""
    top, *rest = module.split(".")
    spec = find_installed(top) or find_in(top, folders)
    for number in range(len(rest)):
        locations = spec and spec.submodule_search_locations
        spec = find_in(".".join([top, *rest[: number + 1]]), locations) if locations else None
    if spec is not None and spec.loader is not None and spec.origin is not None:
        return Path(spec.origin).resolve()
    if find_installed(top) is not None and find_in(top, folders) is not None:
        raise ComponentError(
            f"{section}.name: the installed package {top!r} comes before yours and has no module {module!r}; "
            "rename yours, or write path/to/file.py:Thing"
        )
    raise ComponentError(
        f"{section}.name: module {module!r} is neither installed nor in {' or '.join(folders)}"
    )

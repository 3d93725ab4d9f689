"""Where modules are imported from: what is installed comes first, then the folders of user code.

Installed is what is found on Python's own path: the standard library, site-packages, the folders and the
import hooks of editable installs. Folders in PYTHONPATH belong to the user unless packages were installed
into them (`pip install --target`). Nothing is imported here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    BuiltinImporter,
    ExtensionFileLoader,
    FileFinder,
    FrozenImporter,
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path

PACKAGE_FOLDERS = {"site-packages", "dist-packages"}

LOADERS = (
    (ExtensionFileLoader, EXTENSION_SUFFIXES),
    (SourceFileLoader, SOURCE_SUFFIXES),
    (SourcelessFileLoader, BYTECODE_SUFFIXES),
)

OWN_FINDERS = (BuiltinImporter, FrozenImporter, PathFinder)
"""Python's finders; all others in sys.meta_path are import hooks, for example of editable installs."""

STANDARD_LIBRARY = str(Path(os.__file__).parent)

OWN_FOLDER = Path(__file__).parents[2]
"""The folder `torchconsole` that this program was imported from."""


def code_folders() -> list[str]:
    """Return the folders that user code is searched in by default: the working folder, then PYTHONPATH's."""
    return list(dict.fromkeys([*_working_folder(), *_user_entries()]))


def without_user_folders(path: Iterable[str]) -> list[str]:
    """Return the entries of a module search path that are not the user's folders in PYTHONPATH."""
    users = set(_user_entries())
    here = _working_folder()
    return [entry for entry in path if entry and str(Path(*here, entry)) not in users]


def worker_environment() -> dict[str, str]:
    """Return the environment of a process that trains: PYTHONPATH without the user's folders.

    Otherwise a folder `triton` or a file `random.py` in them would replace what is installed. What it prints
    is read by us and is UTF-8, whatever the locale.
    """
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:backslashreplace"}
    if "PYTHONPATH" in environment:
        entries = without_user_folders(environment["PYTHONPATH"].split(os.pathsep))
        environment["PYTHONPATH"] = os.pathsep.join(entries)
    return environment


def installed_path() -> list[str]:
    """Return Python's path without the user's folders."""
    return without_user_folders(sys.path)


def find_installed(name: str) -> ModuleSpec | None:
    """Find an installed top-level module, without importing it; None if there is none."""
    spec = BuiltinImporter.find_spec(name) or FrozenImporter.find_spec(name)
    return spec or PathFinder.find_spec(name, installed_path()) or find_by_hooks(name)


@cache
def find_by_hooks(name: str) -> ModuleSpec | None:
    """Find a top-level module that an import hook provides, for example of an editable install."""
    for hook in sys.meta_path:
        if hook in OWN_FINDERS or getattr(hook, "finds_user_code", False):
            continue
        with suppress(Exception):  # of another package
            if (found := hook.find_spec(name, None)) is not None:
                return found
    return None


def is_installed(name: str, path: str, entries: Iterable[str]) -> bool:
    """Return whether the absolute `path` of the module `name` is installed, with `entries` as Python's path.

    A folder that an editable install has put there may hold other things, such as the projects of the user;
    what is found by its name, or is in a package of that folder, is installed.
    """
    return any(
        _is_below(path, entry) and (_holds_packages(Path(entry)) or _provides(entry, path, name))
        for entry in entries
    ) or _is_hooked(name, path)


def _provides(entry: str, path: str, name: str) -> bool:
    inner = Path(path).relative_to(entry)
    if path == entry:
        return True
    top = find_in(inner.parts[0].partition(".")[0], [entry])
    if top is not None and top.loader is not None:
        return True
    names = [*inner.parts[:-1], inner.name.partition(".")[0]]
    return names in ([*name.split(".")], [*name.split("."), "__init__"])


def _is_hooked(name: str, path: str) -> bool:
    """Return whether an import hook provides the package that a module belongs to."""
    spec = find_by_hooks(name.partition(".")[0])
    places = [*(spec.submodule_search_locations or ()), spec.origin] if spec else []
    return any(place and _is_below(path, place) for place in places)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def find_in(name: str, folders: Iterable[str]) -> ModuleSpec | None:
    """Find the last part of a dotted module name in folders, as an import would; None if it is in none.

    The spec of a folder without an `__init__` (a namespace package) has no loader.
    """
    portions: list[str] = []
    for folder in folders:
        spec = FileFinder(str(folder), *LOADERS).find_spec(name)
        if spec is not None and spec.loader is not None:
            return spec
        portions += (spec and spec.submodule_search_locations) or []
    if not portions:
        return None
    namespace = ModuleSpec(name, None, is_package=True)
    namespace.submodule_search_locations = portions
    return namespace


def _user_entries() -> list[str]:
    """Return the folders in PYTHONPATH that no packages were installed into."""
    value, here = os.environ.get("PYTHONPATH"), _working_folder()
    folders = [Path(*here, entry) for entry in value.split(os.pathsep)] if value else []
    return [str(folder) for folder in folders if str(folder) in here or not _holds_packages(folder)]


def _working_folder() -> list[str]:
    """Return the working folder; nothing if it was removed."""
    try:
        return [str(Path.cwd())]
    except FileNotFoundError:
        return []


def _holds_packages(folder: Path) -> bool:
    """Return whether a folder of Python's path holds the standard library or packages, and nothing else."""
    if PACKAGE_FOLDERS & set(folder.parts) or folder == OWN_FOLDER.parent:
        return True
    if _is_below(str(folder), STANDARD_LIBRARY):
        return True
    return any(folder.glob("*.dist-info"))

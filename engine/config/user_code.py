"""Code of the user's that a preset names, as `file.py:Thing` or `package.module:Thing`: found and trusted.

Free of torch, and nothing is imported here: a file is found by its path and known by its content's hash, so
that a preset from elsewhere cannot run code that the user has not agreed to.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from platformdirs import user_state_path

from torchconsole.engine.config.files import existing_file
from torchconsole.engine.errors import ComponentError, TrustError


def is_own(name: str) -> bool:
    """Whether a component's name means the user's code rather than a class of torch."""
    return ":" in name


def source_of(section: str, name: str) -> Path:
    """The file that `name` is to be imported from, found without importing anything.

    Raises ComponentError for a name of another form, a file that is not there, and Python's own modules.
    """
    place, _, thing = name.rpartition(":")
    if not place or not thing.isidentifier():
        raise ComponentError(
            f"{section}.name: write {name!r} as path/to/file.py:Thing or package.module:Thing"
        )
    if place.endswith(".py") or "/" in place:
        if path := existing_file(place):
            return path.resolve()
        raise ComponentError(f"{section}.name: there is no file {place!r}")
    if place.partition(".")[0] in sys.stdlib_module_names:
        raise ComponentError(f"{section}.name: {place!r} is a module of Python's own, not a component")
    return _module_file(section, place)


def own_names(content: Any, section: str = "") -> Iterator[tuple[str, str]]:
    """Every (section, name) of a resolved preset's plain content that means the user's own code."""
    if isinstance(content, dict):
        name = content.get("name")
        if isinstance(name, str) and is_own(name) and section:
            yield section, name
        for key, value in content.items():
            yield from own_names(value, f"{section}.{key}" if section else key)
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from own_names(value, f"{section}.{number}")


def untrusted(content: dict[str, Any]) -> list[Path]:
    """The user's files that this preset would run and nobody has agreed to. Raises ComponentError."""
    files = {source_of(section, name) for section, name in own_names(content)}
    return sorted(path for path in files if not is_trusted(path))


def is_trusted(path: Path) -> bool:
    """Whether the user has agreed to this very content. Raises TrustError where it cannot be read."""
    return (_store() / _digest(path)).exists()


def trust(path: Path, content: bytes | None = None) -> None:
    """Remember that the user agrees to this content, wherever it lies. Raises TrustError.

    Give `content` where the user has read it: the file may have another one by now.
    """
    try:
        _store().mkdir(parents=True, exist_ok=True)
        digest = _digest(path) if content is None else hashlib.sha256(content).hexdigest()
        (_store() / digest).write_text(f"{path}\n", encoding="utf-8")
    except OSError as error:
        raise TrustError(f"{_store()}: cannot remember what is trusted: {error.strerror}") from error


def _store() -> Path:
    return user_state_path("torchconsole") / "trusted"


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise TrustError(f"{path}: cannot be read: {error.strerror}") from error


def _module_file(section: str, module: str) -> Path:
    """Look along Python's path as an import would, the working folder last."""
    base = module.replace(".", "/")
    for entry in [*sys.path, str(Path.cwd())]:
        for name in (f"{base}/__init__.py", f"{base}.py"):
            if path := existing_file(name, Path(entry)):
                return path.resolve()
    raise ComponentError(f"{section}.name: there is no module {module!r} on Python's path or in {Path.cwd()}")

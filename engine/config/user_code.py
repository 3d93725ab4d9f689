"""User code that a preset names as `file.py:Thing` or `package.module:Thing`: find it and check its trust.

Imports neither torch nor the user code. A file is trusted by the hash of its content, so that a preset from
someone else cannot run code that the user has not agreed to.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torchconsole.engine.config.preset_files import existing_file
from torchconsole.engine.errors import ComponentError, TrustError
from torchconsole.engine.user_folders import state_folder


def is_user_code(name: str) -> bool:
    """Return whether a component's name refers to user code rather than to a class of torch."""
    return ":" in name


def source_file(section: str, name: str) -> Path:
    """Return the file that `name` would be imported from, without importing anything.

    Raises ComponentError for a malformed name, a missing file or module, and Python's standard modules.
    """
    module, _, thing = name.rpartition(":")
    if not module or not thing.isidentifier():
        raise ComponentError(
            f"{section}.name: {name!r} is not valid; write path/to/file.py:Thing or package.module:Thing"
        )
    if module.endswith(".py") or "/" in module:
        if path := existing_file(module):
            return path.resolve()
        raise ComponentError(f"{section}.name: file {module!r} does not exist")
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise ComponentError(
            f"{section}.name: {module!r} is part of Python's standard library and cannot be a component"
        )
    return _module_file(section, module)


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


def untrusted_files(content: dict[str, Any]) -> list[Path]:
    """Return the files this preset would run that the user has not trusted yet. Raises ComponentError."""
    files = {source_file(section, name) for section, name in user_code_names(content)}
    return sorted(path for path in files if not is_trusted(path))


def is_trusted(path: Path) -> bool:
    """Return whether the user trusts the file's present content. Raises TrustError if it cannot be read."""
    return (_store() / _digest(path)).exists()


def trust(path: Path, content: bytes | None = None) -> None:
    """Remember that the user trusts this content, in whatever file it is. Raises TrustError.

    Pass as `content` what the user has read: the file may have changed since.
    """
    try:
        _store().mkdir(parents=True, exist_ok=True)
        digest = _digest(path) if content is None else hashlib.sha256(content).hexdigest()
        (_store() / digest).write_text(f"{path}\n", encoding="utf-8")
    except OSError as error:
        raise TrustError(f"{_store()}: cannot record that {path} is trusted: {error.strerror}") from error


def _store() -> Path:
    return state_folder() / "trusted"


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise TrustError(f"{path}: cannot be read: {error.strerror}") from error


def _module_file(section: str, module: str) -> Path:
    """Search Python's path as an import would, and the working folder last."""
    base = module.replace(".", "/")
    for entry in [*sys.path, str(Path.cwd())]:
        for name in (f"{base}/__init__.py", f"{base}.py"):
            if path := existing_file(name, Path(entry)):
                return path.resolve()
    raise ComponentError(f"{section}.name: module {module!r} is neither on Python's path nor in {Path.cwd()}")

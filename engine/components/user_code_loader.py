"""Imports the user's own components, and only those whose file the user has agreed to."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from torchconsole.engine.components.torchvision_ops import prepare_torchvision
from torchconsole.engine.config.user_code import is_trusted, source_of
from torchconsole.engine.errors import ComponentError, TrustError


class UserCode:
    """Resolves `file.py:Thing` and `package.module:Thing`."""

    def resolve(self, section: str, name: str) -> Any:
        """The thing that `name` means. Raises ComponentError where it is not there or its file does not
        import, TrustError where the user has not agreed to the file's content."""
        path = source_of(section, name)
        if not is_trusted(path):
            raise TrustError(f"{section}.name: {path} is not trusted; read it, then start with --trust")
        place, _, thing = name.rpartition(":")
        module = self._load(section, place, path)
        if not hasattr(module, thing):
            raise ComponentError(f"{section}.name: {path} has no {thing!r}")
        return getattr(module, thing)

    def _load(self, section: str, place: str, path: Path) -> ModuleType:
        prepare_torchvision()  # the user's code may import it
        try:
            if place.endswith(".py") or "/" in place:
                return _from_file(path)
            return importlib.import_module(place)
        except Exception as error:
            raise ComponentError(
                f"{section}.name: {path} does not import: {type(error).__name__}: {error}"
            ) from error


def _from_file(path: Path) -> ModuleType:
    """Import a file by its path, once; its neighbours can be imported by it, after everything installed."""
    name = f"torchconsole_own_{path.stem}_{abs(hash(path))}"
    if name in sys.modules:
        return sys.modules[name]
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Registered before it runs: its classes must be found by name when a loader worker unpickles them.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module

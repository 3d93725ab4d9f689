"""Imports components from user code, and turns what goes wrong there into one message."""

from __future__ import annotations

import argparse
import inspect
import shlex
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torchconsole.engine.components.torchvision_compat import prepare_torchvision
from torchconsole.engine.config import user_modules
from torchconsole.engine.config.user_code import is_path, is_trusted, source_file
from torchconsole.engine.errors import ComponentError, TorchconsoleError, TrustError
from torchconsole.engine.system_limits import is_memory_error
from torchconsole.engine.text import did_you_mean, error_summary

MAIN_GUARD = 'put what a program does below `if __name__ == "__main__":`'


def import_component(section: str, name: str, folders: Sequence[str]) -> Any:
    """Import the object that `name` refers to; modules are searched in `folders` after what is installed.

    Raises:
        ComponentError: if the file or the object does not exist, or the import fails.
        TrustError: if the user has not trusted this content of the file, or of one that it imports.
    """
    path = source_file(section, name, folders)
    if not is_trusted(path):
        raise TrustError(
            f"{section}.name: {path} is not trusted; read it, then start with --trust, or run: "
            f"torchconsole trust {shlex.quote(str(path))}"
        )
    module_name, _, attribute = name.rpartition(":")
    prepare_torchvision()  # user code may import it
    with _import_errors(section, path), as_program(path):
        if is_path(module_name):
            module = user_modules.import_file(path, [str(path.parent), *folders])
        else:
            module = user_modules.import_module(module_name, folders)
    if not hasattr(module, attribute):
        defined = [known for known in vars(module) if not known.startswith("_")]
        raise ComponentError(f"{section}.name: {path} has no {attribute!r}{did_you_mean(attribute, defined)}")
    return getattr(module, attribute)


@contextmanager
def as_program(path: str | Path) -> Iterator[None]:
    """Let user code see `sys.argv` as a program of that file without arguments would."""
    before = [*map(user_modules.ProgramName, sys.argv[:1]), *sys.argv[1:]]
    sys.argv = [user_modules.ProgramName(path)]
    try:
        yield
    finally:
        sys.argv = before


def describe_exit(error: SystemExit | KeyboardInterrupt) -> str:
    """Return how user code has tried to end the process, with the reason that it gives."""
    if isinstance(error, KeyboardInterrupt):
        return "it raises KeyboardInterrupt"
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is argparse.ArgumentParser.error.__code__:
            return f"its argparse.ArgumentParser exits: {frame.f_locals['message']}"
    return f"it calls sys.exit({error.code if error.code is not None else ''!r})"


def file_of(factory: Any) -> str | None:
    """Return the file of a class or a function in user code; None for one of a library."""
    module = inspect.getmodule(factory)
    if module is None or not user_modules.is_user_module(module.__name__):
        return None
    return module.__file__


@contextmanager
def _import_errors(section: str, path: Path) -> Iterator[None]:
    """Turn what an import raises into a ComponentError with the line that it comes from."""
    try:
        yield
    except TorchconsoleError as error:
        raise type(error)(f"{section}.name: {error}") from error
    except (SystemExit, KeyboardInterrupt) as error:
        message = f"cannot import {path}: {describe_exit(error)}{_line(error)}; {MAIN_GUARD}"
        raise ComponentError(f"{section}.name: {message}") from error
    except Exception as error:
        if is_memory_error(error):
            raise
        advice = ""
        if "no known parent package" in str(error):
            advice = "; name it as package.module:Thing instead of by its path"
        message = f"cannot import {path}: {error_summary(error)}{_line(error)}{advice}"
        raise ComponentError(f"{section}.name: {message}") from error


def _line(error: BaseException) -> str:
    """Return the last line of user code that an error comes from, in brackets; empty if it has its own."""
    if isinstance(error, SyntaxError):
        return ""
    for frame, number in reversed(list(traceback.walk_tb(error.__traceback__))):
        if user_modules.is_user_module(frame.f_globals.get("__name__", "")):
            return f" ({Path(frame.f_code.co_filename).name}, line {number})"
    return ""

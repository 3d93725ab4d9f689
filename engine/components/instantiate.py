"""Finds a class by the name a preset gives and calls it with the preset's arguments, checked first."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from torchconsole.engine.errors import ComponentError

T = TypeVar("T")


def pick(section: str, name: str, known: Mapping[str, T]) -> T:
    """The component called `name`. Raises ComponentError with the nearest right name."""
    if name in known:
        return known[name]
    raise ComponentError(f"{section}.name: no {section} named {name!r}{_hint(name, known)}")


def classes_of(module: Any, base: type[T]) -> dict[str, type[T]]:
    """The public, concrete subclasses of `base` that `module` offers, by name."""
    return {
        name: found
        for name, found in vars(module).items()
        if inspect.isclass(found) and issubclass(found, base) and found is not base and name[0] != "_"
    }


def call(section: str, factory: Any, given: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
    """Call `factory` with what the engine gives it and with a preset's own arguments.

    Raises ComponentError that names the section and the argument, for one that `factory` does not take, one
    that is missing, and a value that it refuses.
    """
    name = factory.__name__
    parameters = inspect.signature(factory).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    settable = [key for key in parameters if key not in given and key not in ("self", "kwargs", "args")]
    for key in arguments:
        if key not in settable and not open_ended:
            raise ComponentError(f"{section}.{key}: {name} takes no argument {key!r}{_hint(key, settable)}")
    missing = [
        key
        for key in settable
        if parameters[key].default is inspect.Parameter.empty
        and parameters[key].kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        and key not in arguments
    ]
    if missing:
        raise ComponentError(f"{section}.{missing[0]}: {name} needs it")
    try:
        return factory(**given, **arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ComponentError(f"{section}: {name} refuses these arguments: {error}") from error


def _hint(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f", did you mean {near[0]!r}?"
    return f"; there are: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}"

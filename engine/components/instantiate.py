"""Finds a component by the name a preset gives and calls it with the preset's arguments, checked first."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from inspect import Parameter
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from torchconsole.engine.components.torchvision_compat import prepare_torchvision
from torchconsole.engine.config.user_code import is_own, is_trusted, source_of
from torchconsole.engine.config.validation_errors import shown
from torchconsole.engine.errors import ComponentError, TrustError
from torchconsole.engine.text import did_you_mean, first_line

T = TypeVar("T")

NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)

BOOLEAN = (bool, "bool")
OPTIONAL_BOOLEAN = (bool | None, "bool | None", "Optional[bool]")
"""Annotations; they are text in modules that put off evaluating them."""


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


def pick(section: str, name: str, known: Mapping[str, T]) -> T:
    """The component called `name`. Raises ComponentError with the nearest right name."""
    if name in known:
        return known[name]
    raise ComponentError(f"{section}.name: there is no {name!r}{did_you_mean(name, known)}")


def find(
    section: str, name: str, known: Mapping[str, Callable[..., T]], own: UserCode, base: type[T]
) -> Callable[..., T]:
    """What makes the component called `name`: one of `known`, or the user's own where a ":" is in the name.

    The user's own may be a class derived from `base` or a function. Raises ComponentError for an unknown name
    and for what is neither, TrustError for code that the user has not agreed to.
    """
    if not is_own(name):
        return pick(section, name, known)
    found = own.resolve(section, name)
    fits = issubclass(found, base) if inspect.isclass(found) else inspect.isfunction(found)
    if not fits:
        raise ComponentError(
            f"{section}.name: {name} must be a class derived from {base.__name__}, or a function that "
            "returns an object of one"
        )
    factory: Callable[..., T] = found
    return factory


def build(
    section: str,
    factory: Callable[..., T],
    base: type[T],
    given: Mapping[str, Any],
    arguments: Mapping[str, Any],
) -> T:
    """`call` what `find` found. Raises ComponentError as `call` does, and where no `base` comes out of it."""
    made = call(section, factory, given, arguments)
    if not isinstance(made, base):
        raise ComponentError(
            f"{section}.name: {_name(factory)} returns a {type(made).__name__}, not a {base.__name__}"
        )
    return made


def call(section: str, factory: Any, given: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
    """Call `factory` with what the engine gives it and with a preset's own arguments.

    Raises ComponentError that names the section and the argument, for one that `factory` does not take, one
    that is missing, and a value that it refuses.
    """
    check_arguments(section, factory, given, arguments)
    try:
        return factory(**given, **arguments)
    except Exception as error:  # the user's own constructors among them may raise anything
        raise ComponentError(f"{section}{_refusal(factory, error, arguments)}") from error


def check_arguments(
    section: str, factory: Any, given: Mapping[str, Any], arguments: Mapping[str, Any]
) -> None:
    """Compare a preset's arguments with the signature. Raises ComponentError for the first that is wrong."""
    parameters = inspect.signature(factory).parameters
    settable = {key: p for key, p in parameters.items() if p.kind in NAMED and key not in given}
    open_ended = any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values())
    for key, value in arguments.items():
        if key not in settable and (key in given or not open_ended):
            raise ComponentError(
                f"{section}.{key}: {_name(factory)} takes no argument {key!r}{did_you_mean(key, settable)}"
            )
        if key in settable and not _fits(value, settable[key].annotation):
            # Any text is true to Python: nesterov = "no" would switch it on without a word.
            raise ComponentError(f"{section}.{key}: {_name(factory)} wants true or false, got {value!r}")
    for key, parameter in settable.items():
        if parameter.default is Parameter.empty and key not in arguments:
            raise ComponentError(f"{section}.{key}: {_name(factory)} needs it")


def accepted(factory: Any, offered: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `offered` that `factory` names among its parameters."""
    parameters = inspect.signature(factory).parameters
    return {key: value for key, value in offered.items() if key in parameters}


def classes_of(module: Any, base: type[T]) -> dict[str, type[T]]:
    """The public subclasses of `base` that `module` offers, by name."""
    return {
        name: found
        for name, found in vars(module).items()
        if inspect.isclass(found) and issubclass(found, base) and found is not base and name[0] != "_"
    }


def _refusal(factory: Any, error: Exception, arguments: Mapping[str, Any]) -> str:
    """What a constructor raised, and of which arguments where it names none.

    An argument that it hands on with **kwargs shows only now to be unknown.
    """
    unexpected = re.search(r"nexpected keyword arguments?:? ['`](\w+)['`]", str(error))
    if unexpected:
        return f".{unexpected[1]}: {_name(factory)} takes no argument {unexpected[1]!r}"
    told = first_line(error)
    named = not arguments or any(key in told for key in arguments)
    given = "" if named else f" ({', '.join(f'{key} = {shown(value)}' for key, value in arguments.items())})"
    return f": {_name(factory)} refuses these arguments: {told}{given}"


def _fits(value: Any, annotation: Any) -> bool:
    """Whether `value` is a boolean where nothing else is wanted, but for None where that may be left open."""
    if annotation in OPTIONAL_BOOLEAN:
        return value is None or isinstance(value, bool)
    return isinstance(value, bool) or annotation not in BOOLEAN


def _name(factory: Any) -> str:
    return getattr(factory, "__name__", type(factory).__name__)


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

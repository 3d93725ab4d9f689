"""Finds components by the names in a preset, checks the preset's arguments and calls them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from inspect import Parameter
from typing import Any, TypeVar

from torchconsole.engine.components.user_code import as_program, describe_exit, file_of, import_component
from torchconsole.engine.components.user_errors import describe_error
from torchconsole.engine.config import user_modules
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.config.user_code import is_user_code, search_folders, user_files
from torchconsole.engine.config.validation_errors import format_value
from torchconsole.engine.errors import ComponentError, TorchconsoleError
from torchconsole.engine.system_limits import is_memory_error
from torchconsole.engine.text import did_you_mean, first_line

T = TypeVar("T")

NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)

BOOLEAN = (bool, "bool")
OPTIONAL_BOOLEAN = (bool | None, "bool | None", "Optional[bool]")
"""Annotations as types, and as strings in modules with `from __future__ import annotations`."""


class UserCode:
    """Imports components from user code, named as `file.py:Thing` or `package.module:Thing`.

    Modules are searched in `folders`, by default in the working folder, after everything that is installed.
    """

    def __init__(self, folders: Sequence[str] | None = None) -> None:
        self._folders = search_folders({}) if folders is None else folders

    @classmethod
    def of(cls, preset: Preset) -> UserCode:
        """Return the user code of a preset, in the folders that it was loaded with.

        Raises ComponentError for code that does not exist.
        """
        content = preset.model_dump()
        user_modules.keep(user_files(content))
        return cls(search_folders(content))

    def resolve(self, section: str, name: str) -> Any:
        """Import the object that `name` refers to.

        Raises:
            ComponentError: if the file or the object does not exist, or the import fails.
            TrustError: if the user has not trusted this content of the file, or of one that it imports.
        """
        return import_component(section, name, self._folders)


def pick(section: str, name: str, known: Mapping[str, T]) -> T:
    """Return the component called `name`. Raises ComponentError, with the nearest known name."""
    if name in known:
        return known[name]
    raise ComponentError(f"{section}.name: unknown name {name!r}{did_you_mean(name, known)}")


def find(
    section: str, name: str, known: Mapping[str, Callable[..., T]], user_code: UserCode, base: type[T]
) -> Callable[..., T]:
    """Return the class or function called `name`: one of `known`, or user code if the name contains a ":".

    User code may provide a class derived from `base`, or a function that returns a `base`.

    Raises:
        ComponentError: for an unknown name, and for user code that provides neither.
        TrustError: for user code that is not trusted.
    """
    if not is_user_code(name):
        return pick(section, name, known)
    found = user_code.resolve(section, name)
    usable = issubclass(found, base) if inspect.isclass(found) else inspect.isfunction(found)
    if not usable:
        raise ComponentError(
            f"{section}.name: {name} must be a class derived from {base.__name__}, or a function that "
            f"returns a {base.__name__} object"
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
    """`call` a factory from `find`. Also raises ComponentError if the result is not a `base` object."""
    result = call(section, factory, given, arguments)
    if not isinstance(result, base):
        raise ComponentError(
            f"{section}.name: {_name(factory)} must return a {base.__name__} object, "
            f"but it returned {type(result).__name__}"
        )
    return result


def call(section: str, factory: Any, given: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
    """Call `factory` with the engine's arguments (`given`) and the preset's (`arguments`).

    Raises ComponentError, with the section and the argument, for an unknown argument, a missing one, or a
    value that `factory` rejects.
    """
    check_arguments(section, factory, given, arguments)
    file = file_of(factory)
    try:
        with as_program(file) if file else nullcontext():
            return factory(**given, **arguments)
    except TorchconsoleError:  # of a file that it imports
        raise
    except SystemExit as error:
        ended = f"{_name(factory)} ends the program: {describe_exit(error)}"
        raise ComponentError(f"{section}: {ended}") from error
    except Exception as error:  # constructors, including those of user code, may raise anything
        if is_memory_error(error):
            raise
        raise ComponentError(f"{section}{_describe_rejection(factory, error, arguments)}") from error


def check_arguments(
    section: str, factory: Any, given: Mapping[str, Any], arguments: Mapping[str, Any]
) -> None:
    """Check a preset's arguments against the signature. Raises ComponentError for the first wrong one."""
    parameters = inspect.signature(factory).parameters
    settable = {key: p for key, p in parameters.items() if p.kind in NAMED and key not in given}
    takes_any = takes_any_keyword(factory)
    for key, value in arguments.items():
        if key not in settable and (key in given or not takes_any):
            raise ComponentError(
                f"{section}.{key}: {_name(factory)} takes no argument {key!r}{did_you_mean(key, settable)}"
            )
        if key in settable and not _is_valid_boolean(value, settable[key].annotation):
            # Every non-empty string is true in Python: nesterov = "no" would silently enable it.
            raise ComponentError(f"{section}.{key}: must be true or false, got {value!r}")
    for key, parameter in settable.items():
        if parameter.default is Parameter.empty and key not in arguments:
            raise ComponentError(f"{section}.{key}: {_name(factory)} requires this argument")


def parameters_of(factory: Any) -> dict[str, Parameter]:
    """Return the parameters, with those of base classes to which a class passes others on.

    Raises TypeError or ValueError if `factory` is neither a class nor a function.
    """
    found = dict(inspect.signature(factory).parameters)
    for base in factory.__mro__[1:] if inspect.isclass(factory) else []:
        if not any(parameter.kind is Parameter.VAR_KEYWORD for parameter in found.values()):
            break
        if inspect.isfunction(method := vars(base).get("__init__")):
            found = {name: each for name, each in found.items() if each.kind is not Parameter.VAR_KEYWORD}
            found = {**inspect.signature(method).parameters, **found}
    found.pop("self", None)
    return found


def accepted(factory: Any, offered: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of `offered` that `factory` has a parameter for."""
    parameters = inspect.signature(factory).parameters
    return {key: value for key, value in offered.items() if key in parameters}


def takes_any_keyword(factory: Any) -> bool:
    """Whether `factory` has a parameter like **kwargs."""
    return any(p.kind is Parameter.VAR_KEYWORD for p in inspect.signature(factory).parameters.values())


def unexpected_keyword(error: BaseException | None) -> str | None:
    """Return the argument that an error of a call names as unexpected; None if it names none."""
    found = re.search(r"nexpected keyword arguments?:? ['`](\w+)['`]", str(error))
    return found[1] if found else None


def classes_of(module: Any, base: type[T]) -> dict[str, type[T]]:
    """Return the public subclasses of `base` in `module`, by name."""
    return {
        name: found
        for name, found in vars(module).items()
        if inspect.isclass(found) and issubclass(found, base) and found is not base and name[0] != "_"
    }


def _describe_rejection(factory: Any, error: Exception, arguments: Mapping[str, Any]) -> str:
    """Format the error of a constructor; the arguments are added if the error names none of them.

    If a constructor passes **kwargs on, an unknown argument is only found here.
    """
    if unexpected := unexpected_keyword(error):
        return f".{unexpected}: {_name(factory)} takes no argument {unexpected!r}"
    is_own = file_of(factory) is not None
    message = describe_error(error) if is_own else first_line(error)
    if is_own and not isinstance(error, ValueError | TypeError | AssertionError):
        return f": {_name(factory)} cannot be built: {message}"
    names_argument = not arguments or any(key in message for key in arguments)
    values = ", ".join(f"{key} = {format_value(value)}" for key, value in arguments.items())
    return f": {_name(factory)} rejects these arguments: {message}{'' if names_argument else f' ({values})'}"


def _is_valid_boolean(value: Any, annotation: Any) -> bool:
    """Whether `value` is a boolean, or None where that is allowed; True for any other annotation."""
    if annotation in OPTIONAL_BOOLEAN:
        return value is None or isinstance(value, bool)
    return isinstance(value, bool) or annotation not in BOOLEAN


def _name(factory: Any) -> str:
    return getattr(factory, "__name__", type(factory).__name__)

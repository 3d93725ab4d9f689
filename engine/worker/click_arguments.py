"""Describes the parameters of a command of click or typer."""

from __future__ import annotations

import os
import shlex
from enum import Enum
from typing import Any, Literal, get_args, get_origin

from torchconsole.engine.config.program_arguments import TRUE_FALSE, Argument, Kind, ProgramArguments, as_text
from torchconsole.engine.text import error_summary
from torchconsole.engine.worker.argparse_arguments import NO_FIELD, Other, given_words, no_subcommands

PYTHON_TYPES: dict[object, str] = {int: "integer", float: "number", str: "text"}
TYPES = {"integer": "integer", "integer range": "integer", "float": "number", "float range": "number"}


def describe_command(command: Any, words: list[str], parser: str) -> ProgramArguments:
    """Describe the parameters of a command, and what `words` gives them; `parser` is click or typer.

    typer has a copy of click of its own, so nothing here depends on the classes.
    """
    found = [_argument(param) for param in command.params if _has_field(param)]
    hidden = [param for param in command.params if not _has_field(param)]
    others: list[Other] = [
        (_flags(param), 0 if getattr(param, "is_flag", False) else None if param.nargs == 1 else param.nargs)
        for param in hidden
    ]
    remarks = []
    subcommands = getattr(command, "commands", None)
    if subcommands is not None:
        remarks.append(no_subcommands(subcommands))
        others.append(((), "A..."))
    for param in command.params:
        if _is_pairs(param):
            remarks.append(f"{_key(param)} has no field: type it into {NO_FIELD}")
        elif _asks(param):
            remarks.append(f"{_key(param)} asks for its value, and a run has no keyboard: give it one")
    intermixed = getattr(command, "allow_interspersed_args", True)
    arguments, rest = given_words(found, words, others, intermixed=intermixed)
    return ProgramArguments(
        parser=parser,
        description=" ".join((command.help or "").split()),
        arguments=arguments,
        rest=rest,
        remarks=remarks,
    )


def _has_field(param: Any) -> bool:
    """Whether a parameter sets something: `--version` and the options for completion do not."""
    return bool(param.expose_value) and not getattr(param, "hidden", False) and not _is_pairs(param)


def _is_pairs(param: Any) -> bool:
    """Whether an option takes several words each time, and may be repeated."""
    return bool(getattr(param, "multiple", False)) and param.nargs != 1


def _asks(param: Any) -> bool:
    """Whether the command asks for a value that is not given."""
    asks = getattr(param, "prompt", None) and (param.required or param.prompt_required)
    return bool(asks) and not _is_set(param)


def _is_set(param: Any) -> bool:
    """Whether an environment variable gives the value."""
    names = param.envvar or ()
    return any(os.environ.get(name) for name in ([names] if isinstance(names, str) else names))


def _flags(param: Any) -> list[str]:
    return [flag for flag in param.opts if flag.startswith("-")]


def _key(param: Any) -> str:
    return max(_flags(param), key=len) if param.param_type_name == "option" else str(param.name)


def _argument(param: Any) -> Argument:
    kind = _kind(param)
    default = _default(param, kind)
    is_list = kind == "list"
    type_name, choices = _type(param)
    if kind in ("flag", "switch", "count"):
        type_name, choices = "", list(TRUE_FALSE) if kind != "count" else []
    asks = _asks(param)
    return Argument(
        key=_key(param),
        flags=_flags(param) + list(param.secondary_opts) if param.param_type_name == "option" else [],
        off=sorted(param.secondary_opts, key=len, reverse=True) if kind == "switch" else [],
        kind=kind,
        type=type_name,
        least=int(param.required) if param.nargs == -1 else param.nargs if is_list else 0,
        most=param.nargs if is_list and param.nargs != -1 else None,
        default="" if asks else default,
        shown_default=default,
        alone=_alone(param) if kind == "value" else None,
        choices=choices,
        any_case=not getattr(_described(param), "case_sensitive", True),
        help=" ".join((getattr(param, "help", None) or "").split()),
        required=asks or (param.required and not _is_set(param)),
        group=getattr(param, "rich_help_panel", None) or "",
        joined=False,
    )


def _kind(param: Any) -> Kind:
    if getattr(param, "count", False):
        return "count"
    if getattr(param, "is_flag", False):
        return "switch" if param.secondary_opts else "flag"
    if getattr(param, "multiple", False):
        return "repeated"
    return "list" if param.nargs != 1 else "value"


def _described(param: Any) -> Any:
    """Return what says how a parameter's words are read; in typer from 0.29 on, it is no type of click's."""
    declared = getattr(param, "type", None)
    return param.type_descriptor if declared is None else declared


def _alone(param: Any) -> str | None:
    """Return what an option means without a word; None if it needs or asks for one."""
    if not getattr(param, "_flag_needs_value", False) or _is_unset(param.flag_value):
        return None
    return str(param.flag_value)


def _type(param: Any) -> tuple[str, list[str]]:
    """Return the name of a parameter's type, and its choices."""
    if (declared := getattr(param, "type", None)) is not None:
        name = str(getattr(declared, "name", "text"))
        return TYPES.get(name, name), [
            str(getattr(each, "name", each)) for each in getattr(declared, "choices", ())
        ]
    annotation = param.type_descriptor.annotation  # of typer from 0.29 on
    if get_origin(annotation) in (list, tuple):
        inner = set(get_args(annotation)) - {...}
        annotation = inner.pop() if len(inner) == 1 else str
    if get_origin(annotation) is Literal:
        return "text", [str(each) for each in get_args(annotation)]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "text", [str(each.value) for each in annotation]
    return PYTHON_TYPES.get(annotation) or str(getattr(annotation, "__name__", "text")), []


def _default(param: Any, kind: Kind) -> str:
    value = param.default
    if kind == "flag":
        return TRUE_FALSE[1]
    if _is_unset(value) or callable(value):
        return ""
    if kind == "switch":
        return str(bool(value)).lower()
    if isinstance(value, list | tuple):  # what is given replaces it, also of a repeated option
        return shlex.join(_word(param, each) for each in value)
    return as_text(_word(param, value))


def _is_unset(value: object) -> bool:
    return value is None or ("UNSET" in repr(value) and not isinstance(value, str))


def _word(param: Any, value: object) -> str:
    """Return the word for a default: of an Enum its name or value, whichever is a choice."""
    if not isinstance(value, Enum):
        return str(value)
    return value.name if value.name in _type(param)[1] else str(value.value)


def command_problem(command: Any, words: list[str]) -> str:
    """Return what a command finds wrong with the words; empty if nothing is.

    Callbacks of parameters run, as in the program.
    """
    try:
        command.make_context("", list(words))
    except (SystemExit, KeyboardInterrupt):
        return ""
    except Exception as error:  # noqa: BLE001 - from a function that reads a word
        if type(error).__name__ == "Abort":
            return "a parameter without a value asks for one, and a run has no keyboard"
        if type(error).__name__ == "NoArgsIsHelpError":  # its message is the whole help
            return "without arguments it only shows its help"
        message = getattr(error, "format_message", None)
        return " ".join(message().split()) if callable(message) else error_summary(error)
    return ""

"""Describes the arguments of argparse's parsers, and finds which words of a command line belong to each."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
from collections.abc import Iterable, Sequence
from enum import Enum
from itertools import islice
from pathlib import PurePath
from traceback import walk_tb
from typing import Any, NoReturn

from torchconsole.engine.config.program_arguments import TRUE_FALSE, Argument, Kind, ProgramArguments, as_text
from torchconsole.engine.text import error_summary

TYPES: dict[object, str] = {
    int: "integer",
    float: "number",
    str: "text",
    None: "text",
    bool: "bool: any text is true",
}
LISTS = ("*", "+")
SHOWS_AND_ENDS = argparse._HelpAction | argparse._VersionAction
PLAIN_GROUPS = ("options", "optional arguments", "positional arguments")
MOST_CHOICES = 100
"""Choices that are offered; of more, only the parser tells what is wrong."""

NO_FIELD = "script.args"
"""The key that the words without a field are in."""

Other = tuple[Sequence[str], int | str | None]
"""Flags and nargs of an argument that has no field."""


def describe_parsers(
    parsers: Sequence[argparse.ArgumentParser], words: list[str], *, intermixed: bool = False
) -> ProgramArguments:
    """Describe all arguments of the parsers, of which the last is the main one, with what `words` gives.

    intermixed: whether options may stand between the words of one positional argument.
    """
    main = parsers[-1]
    if main.fromfile_prefix_chars:
        with contextlib.suppress(SystemExit):  # a file that cannot be read: the parser says so again
            words = main._read_args_from_files(words)
    actions = {_key(action): action for parser in parsers for action in parser._actions}
    groups = [group for parser in parsers for group in parser._mutually_exclusive_groups]
    exclusive = {id(action): number for number, group in enumerate(groups) for action in group._group_actions}
    found: list[Argument] = []
    others: list[Other] = []
    remarks = []
    for key, action in actions.items():
        if (kind := _kind(action)) is not None:
            argument = _argument(main, key, action, kind)
            found.append(argument.model_copy(update={"exclusive": exclusive.get(id(action))}))
            continue
        others.append((action.option_strings, action.nargs))
        if isinstance(action, argparse._SubParsersAction):
            remarks.append(no_subcommands(map(str, action.choices)))
        elif action.help is not argparse.SUPPRESS and not isinstance(action, SHOWS_AND_ENDS):
            remarks.append(f"{key} has no field: type it into {NO_FIELD}")
    arguments, rest = given_words(found, words, others, intermixed=intermixed)
    return ProgramArguments(
        parser="argparse",
        description=" ".join((main.description or "").replace("%(prog)s", main.prog).split()),
        arguments=arguments,
        required_groups=[number for number, group in enumerate(groups) if group.required],
        rest=rest,
        remarks=remarks,
    )


def no_subcommands(names: Iterable[str]) -> str:
    """Say that subcommands have no fields."""
    return f"subcommands ({', '.join(names)}) have no fields: type one with its arguments into {NO_FIELD}"


def _key(action: argparse.Action) -> str:
    flags = [flag for flag in action.option_strings if not flag.startswith("--no-")] or action.option_strings
    return max(flags, key=len) if flags else str(action.dest)


def _off(action: argparse.Action) -> list[str]:
    """Return the flags that turn an option off, if others turn it on."""
    off = [flag for flag in action.option_strings if flag.startswith("--no-")]
    is_switch = isinstance(action, argparse.BooleanOptionalAction) and len(off) < len(action.option_strings)
    return off if is_switch else []


def _kind(action: argparse.Action) -> Kind | None:
    """Return what kind of field an argument has; None if it has none."""
    if isinstance(action, SHOWS_AND_ENDS) or action.help is argparse.SUPPRESS:
        return None
    if isinstance(action, argparse.BooleanOptionalAction):
        return "switch" if _off(action) else "flag"
    if isinstance(action, argparse._CountAction | argparse._AppendConstAction):
        return "count"
    if action.nargs == 0:
        return "flag" if action.option_strings else None
    if action.nargs in (argparse.REMAINDER, argparse.PARSER):
        return None
    if isinstance(action, argparse._ExtendAction):
        return "repeated" if action.nargs in (None, *LISTS) else None
    if isinstance(action, argparse._AppendAction):
        return "repeated" if action.nargs is None else None
    return "list" if isinstance(action.nargs, int) or action.nargs in LISTS else "value"


def _argument(parser: argparse.ArgumentParser, key: str, action: argparse.Action, kind: Kind) -> Argument:
    nargs = action.nargs
    least = nargs if isinstance(nargs, int) else 1 if nargs == "+" else 0
    default, shown = _default(action, kind)
    return Argument(
        key=key,
        flags=list(action.option_strings),
        off=_off(action),
        kind=kind,
        type=_type(action.type) if kind not in ("flag", "switch", "count") else "",
        least=least,
        most=nargs if isinstance(nargs, int) else None,
        default=default,
        shown_default=shown,
        alone=_alone(action) if nargs == "?" and action.option_strings else None,
        choices=_choices(action, kind),
        any_case=action.type not in (None, str),
        help=_help(parser, action, kind),
        required=action.required and (bool(action.option_strings) or nargs not in ("?", "*")),
        group=_group(parser, action),
    )


def _type(reads: object) -> str:
    """Return the name of what reads a word."""
    name = str(getattr(reads, "__name__", type(reads).__name__))
    return TYPES.get(reads) or ("text" if name.startswith("<") else name)


def _alone(action: argparse.Action) -> str:
    return "alone" if action.const is None else str(action.const)


def _default(action: argparse.Action, kind: Kind) -> tuple[str, str]:
    """Return the default as it would be typed, and as it is shown."""
    value = action.default
    if kind == "flag":
        return TRUE_FALSE[1], TRUE_FALSE[1]
    if value is None or value is argparse.SUPPRESS:
        return "", ""
    if kind == "switch":
        return str(bool(value)).lower(), str(bool(value)).lower()
    if kind == "count" and value != 0:  # what is counted is added to the default
        return "", str(value)
    if isinstance(value, list | tuple) and kind in ("list", "repeated"):
        # What is appended is added to the default, so a default is not part of what is given.
        text = shlex.join(map(_word, value))
        return ("" if kind == "repeated" else text), text
    if isinstance(value, str) and kind == "list":
        return shlex.quote(value), value
    if isinstance(value, Enum):
        return as_text(_parsed_as(action, value)), _parsed_as(action, value)
    if isinstance(value, str | int | float | PurePath):
        return as_text(str(value)) if str(value) else "", str(value)
    return "", repr(value)


def _choices(action: argparse.Action, kind: Kind) -> list[str]:
    if kind in ("flag", "switch"):
        return list(TRUE_FALSE)
    try:
        choices = list(islice(action.choices or (), MOST_CHOICES + 1))
    except TypeError:  # it can only tell what it contains
        return []
    return [_parsed_as(action, each) for each in choices] if len(choices) <= MOST_CHOICES else []


def _parsed_as(action: argparse.Action, choice: object) -> str:
    """Return the word that the argument's type makes this choice of: its text, or of an Enum its name."""
    words = [_word(choice), str(choice), str(getattr(choice, "name", "")), str(getattr(choice, "value", ""))]
    if not callable(action.type):
        return words[0]
    for word in words:
        with contextlib.suppress(Exception):
            if action.type(word) == choice:
                return word
    return words[0]


def _word(value: object) -> str:
    return str(value.value) if isinstance(value, Enum) else str(value)


def _help(parser: argparse.ArgumentParser, action: argparse.Action, kind: Kind) -> str:
    if action.help:
        try:
            return " ".join(parser._get_formatter()._expand_help(action).split())
        except (KeyError, TypeError, ValueError):  # a "%" that is not doubled
            return " ".join(action.help.split())
    if isinstance(action, argparse._AppendConstAction):
        return f"adds {action.const} each time"
    if kind == "flag" and action.const is not None:
        const = str(action.const).lower() if isinstance(action.const, bool) else action.const
        return f"sets {action.dest} to {const}"
    return ""


def _group(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    titles = [group.title for group in parser._action_groups if action in group._group_actions]
    return next((title for title in titles if title and title not in PLAIN_GROUPS), "")


class _Record(argparse.Action):
    """Notes the words of an argument instead of reading them."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        words = values if isinstance(values, list) else [] if values is None else [values]
        namespace.seen.append((self.dest, option_string, words))


class _Recorder(argparse.ArgumentParser):
    """Splits a command line as a program's parser does, without reading the words."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def given_words(
    arguments: list[Argument], words: list[str], others: Sequence[Other], *, intermixed: bool
) -> tuple[list[Argument], list[str]]:
    """Return the arguments with what `words` gives them, and the words that belong to none of them.

    Nothing is lost: of words that cannot be told apart, all are left.
    """
    flags = [
        *(flag for each in arguments for flag in each.flags),
        *(flag for names, _ in others for flag in names),
    ]
    starts = "".join({flag[0] for flag in flags} | {"-"})
    recorder = _Recorder(add_help=False, conflict_handler="resolve", prefix_chars=starts)
    # Python's own pattern takes -1e-3 for an option.
    recorder._negative_number_matcher = re.compile(r"-\.?\d[\w.+-]*$")
    for number, each in enumerate(arguments):
        own = [flag for flag in each.flags if flag not in each.off]
        recorder.add_argument(*own, **_recorded(each, str(number)))
        if each.off:
            recorder.add_argument(*each.off, **_recorded(each, str(number)))
    for names, nargs in others:
        recorder.add_argument(*names, action=_Record, nargs=nargs, dest=NO_FIELD)
    for action in recorder._actions:
        action.required = False
    space = argparse.Namespace(seen=[])
    is_plain = all(nargs not in (argparse.REMAINDER, argparse.PARSER) for _, nargs in others)
    parse = recorder.parse_known_intermixed_args if intermixed and is_plain else recorder.parse_known_args
    try:
        extra = parse(words, space)[1]
    except ValueError:
        return arguments, words
    seen: dict[str, list[tuple[str | None, list[str]]]] = {}
    rest = list(extra)
    for dest, flag, taken in space.seen:
        seen.setdefault(dest, []).append((flag, taken))
    given = list(arguments)
    for dest, times in seen.items():
        if dest != NO_FIELD and all(word.isprintable() for _, taken in times for word in taken):
            if times != [(None, [])]:
                number = int(dest)
                given[number] = arguments[number].model_copy(
                    update={"given": _given(arguments[number], times)}
                )
        else:  # it has no field, or none that could show it
            rest = [*rest, *(word for flag, taken in times for word in ([flag] if flag else []) + taken)]
    return given, rest


def _recorded(argument: Argument, dest: str) -> dict[str, Any]:
    nargs: int | str | None = {"flag": 0, "switch": 0, "count": 0}.get(argument.kind)
    if argument.kind == "list":
        nargs = argument.most or ("+" if argument.least else "*")
    elif argument.kind == "repeated" and argument.least:
        nargs = "+"
    elif argument.alone is not None or (argument.is_positional and not argument.required):
        nargs = "?"
    return {"action": _Record, "nargs": nargs, "dest": dest}


def _given(argument: Argument, times: list[tuple[str | None, list[str]]]) -> str:
    """Return the text for what was given, the last time or each time."""
    flag, words = times[-1]
    if argument.kind == "flag":
        return TRUE_FALSE[0]
    if argument.kind == "switch":
        return TRUE_FALSE[flag in argument.off]
    if argument.kind == "count":
        return str(len(times))
    if argument.kind == "repeated":
        return shlex.join(word for _, taken in times for word in taken)
    if argument.kind == "list":
        return shlex.join(words)
    return as_text(words[0]) if words else argument.alone or ""


def parser_problem(
    parser: argparse.ArgumentParser, words: list[str], *, knows_all: bool, intermixed: bool = False
) -> str:
    """Return what a parser finds wrong with the words; unknown ones too if it `knows_all`.

    Not asked if it would open files, which empties those that are written to.
    """
    if any(isinstance(action.type, argparse.FileType) for action in parser._actions):
        return ""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed):
            plain = argparse.ArgumentParser  # what a class of the program's does before it parses is done
            parse = plain.parse_known_intermixed_args if intermixed else plain.parse_known_args
            _, unknown = parse(parser, list(words))
    except SystemExit as error:
        if isinstance(error.code, str):
            return error.code
        lines = [line for line in printed.getvalue().strip().splitlines() if line.strip()]
        last = lines[-1] if lines else ""
        return last.partition("error: ")[2] or last if error.code else ""
    except Exception as error:  # noqa: BLE001 - from a function that reads a word
        return f"{_argument_read_in(error)}{error_summary(error)}"
    return f"unrecognized arguments: {' '.join(unknown)}" if knows_all and unknown else ""


def _argument_read_in(error: Exception) -> str:
    """Return the argument whose word was being read, as argparse names it; empty if there was none."""
    read = [frame.f_locals.get("action") for frame, _ in walk_tb(error.__traceback__)]
    action = next((each for each in read if isinstance(each, argparse.Action)), None)
    return "" if action is None else f"argument {'/'.join(action.option_strings) or action.dest}: "

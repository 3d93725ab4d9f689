"""The arguments that a program of the user's takes, and how texts of form fields become its command line.

A process that runs the program finds them (`engine.worker.arguments`); nothing here imports user code.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from pydantic import BaseModel

from torchconsole.engine.text import did_you_mean

Kind = Literal["value", "list", "repeated", "flag", "switch", "count"]
"""One word; several words; an option that is repeated with a word each; an option without a word; one with an
opposite (`--amp`, `--no-amp`); an option that counts (`-vv`)."""

TRUE_FALSE = ("true", "false")

NEGATIVE = re.compile(r"-\d+|-\d*\.\d+")
"""Words that argparse never takes for an option, in all versions of Python."""


class Argument(BaseModel):
    """An argument of a program. Texts are as typed into a field; several words are quoted as in a shell.

    key: its longest flag, or the name of a positional argument.
    flags: all its flags; none if it is positional.
    off: the flags that turn a switch off.
    type: integer, number, text, or the name of the function that reads a word.
    least, most: how many words a list takes, or a repeated option each time; `most` is None without a limit.
    default: the default as text; empty if there is none that could be typed.
    shown_default: the default as it is shown.
    alone: what the option means without its word; None if it needs one.
    any_case: whether choices are also read in upper or lower case.
    group: heading; exclusive: number of its mutually exclusive group.
    given: the present text; None if the argument is not given.
    joined: whether a word that begins with "-" is written as `--flag=word`: it is an option otherwise, unless
        it is a negative number.
    """

    key: str
    flags: list[str] = []
    off: list[str] = []
    kind: Kind = "value"
    type: str = "text"
    least: int = 0
    most: int | None = None
    default: str = ""
    shown_default: str = ""
    alone: str | None = None
    choices: list[str] = []
    any_case: bool = False
    help: str = ""
    required: bool = False
    group: str = ""
    exclusive: int | None = None
    given: str | None = None
    joined: bool = True

    @property
    def is_positional(self) -> bool:
        """Whether it is known by its place."""
        return not self.flags

    @property
    def original(self) -> str:
        """The text that its field begins with."""
        return self.default if self.given is None else self.given


class ProgramArguments(BaseModel):
    """What a program says of its arguments.

    parser: argparse, click or typer; empty if it uses none of them.
    required_groups: mutually exclusive groups of which one argument is needed.
    rest: the words of its command line that belong to none of the arguments.
    remarks: what cannot be set in fields.
    problem: what the program's own parser finds wrong with the command line.
    """

    parser: str = ""
    description: str = ""
    arguments: list[Argument] = []
    required_groups: list[int] = []
    rest: list[str] = []
    remarks: list[str] = []
    problem: str = ""


def as_text(word: str) -> str:
    """Return a word as typed into a field for one word: quoted only if it would be read differently."""
    return word if word and word == word.strip() and word[0] not in "'\"" else shlex.quote(word)


def words_in(argument: Argument, text: str) -> list[str]:
    """Return the words of a field's text, without flags. Raises ValueError for an open quote."""
    if not text:
        return []
    if argument.kind in ("list", "repeated"):
        return shlex.split(text)
    if text[0] in "'\"" and len(words := shlex.split(text)) == 1:
        return words
    return [text]


def command_line(arguments: Sequence[Argument], texts: Mapping[str, str], rest: Sequence[str]) -> list[str]:
    """Return the words for a program. `texts` are those of the fields, by key; `rest` comes last.

    Raises ValueError for an open quote.
    """
    # Some options would take what follows, so positional arguments come first and such options next.
    options = sorted(
        (each for each in arguments if not each.is_positional and _is_given(each, texts[each.key])),
        key=lambda each: not _takes_more(each, texts[each.key]),
    )
    words = [word for each in options for word in _option(each, texts[each.key])]
    places = [each for each in arguments if each.is_positional]
    positional = [word for each in places for word in words_in(each, texts[each.key])]
    if any(_is_option(each, word) for each in places for word in words_in(each, texts[each.key])):
        return [*words, *rest, "--", *positional]
    return [*positional, *words, *rest]


def argument_errors(
    arguments: Sequence[Argument], texts: Mapping[str, str], required_groups: Sequence[int]
) -> Iterator[str]:
    """Yield a line `key: what is wrong` for each error in the texts of the fields."""
    for each in arguments:
        if problem := _problem(each, texts[each.key]):
            yield f"{each.key}: {problem}"
    missing = ""
    for each in (one for one in arguments if one.is_positional):
        if texts[each.key] and missing:
            yield f"{missing}: is needed before {each.key}"
        missing = missing or ("" if texts[each.key] else each.key)
    groups: dict[int, list[Argument]] = {}
    for each in arguments:
        if each.exclusive is not None:
            groups.setdefault(each.exclusive, []).append(each)
    for number, members in groups.items():
        given = [each.key for each in members if _is_given(each, texts[each.key])]
        if len(given) > 1:
            yield f"{given[-1]}: excludes {given[0]}: clear one of them"
        elif not given and number in required_groups:
            yield f"{members[0].key}: one of {', '.join(each.key for each in members)} is required"


def _is_given(argument: Argument, text: str) -> bool:
    """Whether the argument has to be on the command line. An empty text leaves it to its default."""
    if argument.kind == "flag":
        return text == TRUE_FALSE[0]
    return bool(text) and (argument.required or text != argument.default or text == argument.given)


def _option(argument: Argument, text: str) -> list[str]:
    """Return the words of an option that is given."""
    flag = argument.key
    if argument.kind == "flag":
        return [flag]
    if argument.kind == "switch":
        return [flag if text == TRUE_FALSE[0] else argument.off[0]]
    if argument.kind == "count":
        return [flag] * int(text)
    words = words_in(argument, text)
    if argument.kind == "list":
        return [flag, *words]
    if argument.alone is not None and words == [argument.alone]:
        return [flag]
    return [word for each in words for word in _joined(argument, flag, each)]


def _takes_more(argument: Argument, text: str) -> bool:
    """Whether an option would take words that follow its own."""
    if argument.alone is not None:
        return text == argument.alone
    return argument.most is None and (argument.kind == "list" or argument.least > 0)


def _is_option(argument: Argument, word: str) -> bool:
    """Whether a word that stands alone would be taken for an option."""
    return word.startswith("-") and not (argument.joined and NEGATIVE.fullmatch(word))


def _joined(argument: Argument, flag: str, word: str) -> list[str]:
    return [f"{flag}={word}"] if argument.joined and word.startswith("-") else [flag, word]


def _problem(argument: Argument, text: str) -> str:
    """Return what is wrong with the text of a field; empty if nothing is."""
    if not text:
        return "is required" if argument.required else ""
    if argument.kind in ("flag", "switch"):
        return "" if text in TRUE_FALSE else "must be true or false"
    if argument.kind == "count":
        return "" if text.isdecimal() and len(text) < 3 else "must be a number from 0 to 99"
    try:
        words = words_in(argument, text)
    except ValueError:
        return "a quote is not closed"
    if argument.kind == "list" and not argument.least <= len(words) <= (argument.most or len(words)):
        return f"takes {_amount(argument)}, got {len(words)}"
    if argument.joined and argument.kind == "list" and not argument.is_positional:
        taken = next((word for word in words if _is_option(argument, word) and " " not in word), None)
        if taken is not None and not _is_number(taken):
            return f"cannot have {taken!r}, which argparse takes for an option"
    return next(filter(None, (_wrong_word(argument, word) for word in words)), "")


def _amount(argument: Argument) -> str:
    least, most = argument.least, argument.most
    if least == most:
        return f"{least} values"
    return f"{least} or more values" if most is None else f"{least} to {most} values"


def _wrong_word(argument: Argument, word: str) -> str:
    if word == argument.alone:
        return ""
    if argument.choices:
        given = words_in(argument, argument.given or "")  # the parser itself tells whether these are right
        is_known = word in argument.choices or word in given
        if not is_known and argument.any_case:
            is_known = word.casefold() in map(str.casefold, argument.choices)
        return "" if is_known else f"cannot be {word!r}{did_you_mean(word, argument.choices)}"
    if argument.type == "integer" and not _is_integer(word):
        return f"must be an integer, not {word!r}"
    if argument.type == "number" and not _is_number(word):
        return f"must be a number, not {word!r}"
    return ""


def _is_integer(word: str) -> bool:
    try:
        int(word)
    except ValueError:
        return False
    return True


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True

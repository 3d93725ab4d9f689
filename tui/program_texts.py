"""What is said about a program of the user's own and its arguments."""

from __future__ import annotations

from collections.abc import Iterator

from torchconsole.engine.config.program_arguments import Argument, ProgramArguments


def describe_program(found: ProgramArguments) -> Iterator[str]:
    """Yield a line for whatever is to be said: the parser's error, what has no field, or that all is well."""
    yield from (f"note: {remark}" for remark in found.remarks)
    if found.problem:
        yield f"error: {found.parser} refuses these arguments: {found.problem}"
    elif found.parser:
        yield f"check: {found.parser} accepts these arguments"


def argument_meaning(argument: Argument) -> str:
    """Return the help of an argument, and what is special about it."""
    alone = f"without a value: {argument.alone}" if argument.alone is not None else ""
    return "; ".join(filter(None, (argument.help, alone)))

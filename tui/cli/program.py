"""`torchconsole check` of a preset that runs a program of the user's own: its arguments."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from torchconsole.engine.text import printable
from torchconsole.tui.cli.terminal import print_json, print_table, print_wrapped
from torchconsole.tui.program_texts import argument_meaning, describe_program
from torchconsole.tui.table import Column

if TYPE_CHECKING:
    from torchconsole.engine.config.script import Script

COLUMNS = (
    Column("ARGUMENT", least=12),
    Column("VALUE", rank=1, least=8),
    Column("TYPE", rank=3),
    Column("MEANING", rank=2, least=20),
)


def check_program(script: Script, as_json: bool) -> int:
    """Print what the program says of its arguments; return 2 if it refuses those that it would get.

    Raises TorchconsoleError if the program cannot be asked.
    """
    from torchconsole.tui import launch

    found = asyncio.run(launch.program_arguments(script))
    if as_json:
        print_json(found.model_dump(mode="json"))
        return 2 if found.problem else 0
    if found.arguments:
        rows = [
            (
                each.key,
                each.original or ("(required)" if each.required else each.shown_default),
                (each.type and ", ".join(each.choices)) or each.type,
                argument_meaning(each),
            )
            for each in found.arguments
        ]
        print_table(COLUMNS, rows)
        print()
    for line in describe_program(found):
        print_wrapped(printable(line))
    return 2 if found.problem else 0

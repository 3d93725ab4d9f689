"""One command of the command line: its help says what to type, and negative numbers are no options."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from typer.core import TyperArgument, TyperCommand

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

NEGATIVE_NUMBER = re.compile(r"-\.?\d\S*")


class PlainCommand(TyperCommand):
    """Shows arguments as RUN and [VALUE], where typer would write {RUN}, [[VALUE]] and their types."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Take what looks like a negative number as an argument."""
        ctx.ignore_unknown_options = any(map(NEGATIVE_NUMBER.fullmatch, args))
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        """The words after the command's name in its usage line."""
        return [re.sub("[{}]", "", piece) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write down the arguments, then the options."""
        params = self.get_params(ctx)
        arguments = [param for param in params if isinstance(param, TyperArgument)]
        if arguments:
            with formatter.section("Arguments"):
                formatter.write_dl([(param.metavar or "", param.help or "") for param in arguments])
        options = [param for param in params if param not in arguments]
        with formatter.section("Options"):
            formatter.write_dl([line for param in options if (line := param.get_help_record(ctx))])

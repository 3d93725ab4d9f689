"""What the command line uses of typer beyond its documented interface: the layout of help, and a zsh script.

tests/unit/tui/cli/test_typer_compat.py names the versions that this is tested with.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from typer.core import TyperArgument, TyperCommand

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

NEGATIVE_NUMBER = re.compile(r"-\.?\d\S*")

ZSH_REGISTRATION = "\ncompdef %(complete_func)s %(prog_name)s\n"
"""The last line of typer's script."""

ZSH_FIRST_CALL = """
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  %(complete_func)s "$@"
else
  compdef %(complete_func)s %(prog_name)s
fi
"""
"""zsh loads an installed script at the first tab and expects completions; typer's only registers itself."""


class Command(TyperCommand):
    """Shows arguments in its help as RUN and [VALUE], and accepts negative numbers as arguments.

    typer would write {RUN} and [[VALUE]], and take -1 for an option.
    """

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse the arguments (called by typer)."""
        ctx.ignore_unknown_options = any(map(NEGATIVE_NUMBER.fullmatch, args))
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        """Return the words after the command's name in its usage line (called by typer)."""
        return [re.sub("[{}]", "", piece) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the arguments, then the options (called by typer)."""
        params = self.get_params(ctx)
        arguments = [param for param in params if isinstance(param, TyperArgument)]
        if arguments:
            with formatter.section("Arguments"):
                formatter.write_dl([(param.metavar or "", param.help or "") for param in arguments])
        options = [param for param in params if param not in arguments]
        with formatter.section("Options"):
            formatter.write_dl([line for param in options if (line := param.get_help_record(ctx))])


class ProgramCommand(Command):
    """A command whose first argument is a program: all that follows belongs to the program."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse the arguments (called by typer)."""
        with_value = {
            name
            for option in self.get_params(ctx)
            if not getattr(option, "is_flag", True)
            for name in option.opts
        }
        position = 0
        while position < len(args) and args[position].startswith("-") and args[position] not in ("--", "-m"):
            position += 2 if args[position] in with_value else 1
        if args[position : position + 1] == ["-m"]:
            position += 2
        if args[position : position + 1] != ["--"]:
            args = [*args[:position], "--", *args[position:]]
        return super().parse_args(ctx, args)


def complete_at_first_tab() -> None:
    """Make typer's zsh script complete when it is loaded. Leaves another script of a later typer as it is."""
    from typer import _completion_shared

    scripts: dict[str, str] = getattr(_completion_shared, "_completion_scripts", {})
    if "zsh" in scripts:
        scripts["zsh"] = scripts["zsh"].replace(ZSH_REGISTRATION, ZSH_FIRST_CALL)

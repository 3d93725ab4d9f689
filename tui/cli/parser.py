"""The command line: its commands, their help, and the messages for wrong use."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.tui.cli import report_error
from torchconsole.tui.cli.attach import attach
from torchconsole.tui.cli.check import check
from torchconsole.tui.cli.checkpoints import checkpoints
from torchconsole.tui.cli.compare import compare
from torchconsole.tui.cli.device import device
from torchconsole.tui.cli.evaluate import evaluate
from torchconsole.tui.cli.events import events
from torchconsole.tui.cli.export import export
from torchconsole.tui.cli.features import features
from torchconsole.tui.cli.find_batch import find_batch
from torchconsole.tui.cli.find_lr import find_lr
from torchconsole.tui.cli.find_workers import find_workers
from torchconsole.tui.cli.graph import graph
from torchconsole.tui.cli.import_run import import_run
from torchconsole.tui.cli.metrics import metrics
from torchconsole.tui.cli.notify import notify
from torchconsole.tui.cli.options import RunsDir
from torchconsole.tui.cli.plot import plot
from torchconsole.tui.cli.predict import predict
from torchconsole.tui.cli.presets import presets, show
from torchconsole.tui.cli.profile import profile
from torchconsole.tui.cli.run import run
from torchconsole.tui.cli.runs import delete, runs
from torchconsole.tui.cli.send import send
from torchconsole.tui.cli.submit import submit
from torchconsole.tui.cli.summary import summary
from torchconsole.tui.cli.train import resume, train
from torchconsole.tui.cli.trust import trust
from torchconsole.tui.cli.typer_compat import Command, ProgramCommand, complete_at_first_tab

COMMANDS = (
    train, run, submit, attach, resume, send, events, runs, compare, metrics, plot, import_run, delete,
    checkpoints, evaluate, predict, features, export, presets, show, summary, graph, check, find_lr,
    find_batch, find_workers, profile, trust, device, notify,
)  # fmt: skip


MEANT = {
    **dict.fromkeys(("journal", "history", "changes"), "events RUN"),
    **dict.fromkeys(("log", "logs", "tail", "follow"), "events RUN --follow"),
    **dict.fromkeys(("ls", "list", "ps", "status", "jobs"), "runs"),
    **dict.fromkeys(("kill", "cancel", "abort"), "send RUN stop"),
    **dict.fromkeys(("rm", "remove", "del"), "delete RUN"),
    **dict.fromkeys(("open", "watch", "top", "view", "ui"), "attach RUN"),
    **dict.fromkeys(("start", "fit"), "train PRESET"),
    **dict.fromkeys(("continue", "restart", "extend"), "resume RUN"),
    **dict.fromkeys(("test", "validate", "eval"), "evaluate RUN"),
    **dict.fromkeys(("infer", "inference"), "predict RUN INPUT"),
    **dict.fromkeys(("diff", "cmp"), "compare RUN RUN"),
    **dict.fromkeys(("gpu", "gpus", "devices", "info"), "device"),
    "help": "--help",
    "version": "--version",
}
"""What people type -> the command that does it, beside the commands of `send`."""

TOGETHER = ("train", "resume", "run")
"""Commands that the processes of a launcher run together."""


def run_command(arguments: Sequence[str]) -> int:
    """Parse the arguments, run their command, and return the exit status."""
    command = next((word for word in arguments if not word.startswith("-")), "")
    if "RANK" in os.environ or "SLURM_PROCID" in os.environ:
        from torchconsole.engine.client.ranks import has_nothing_to_do

        if command not in TOGETHER and (reason := has_nothing_to_do()):
            print(f"torchconsole: {reason}", file=sys.stderr)
            return 0
    try:
        status: int | None = build_parser()(list(arguments), standalone_mode=False, prog_name="torchconsole")
    except typer.TyperException as error:
        # typer passes on how pydantic begins the message of a ValueError.
        message = " ".join(error.format_message().split()).rstrip(".").replace("Value error, ", "")
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "torchconsole"
        return report_error(f"{_with_what_was_meant(message)} (see `{command} --help`)")
    return status or 0


def _with_what_was_meant(message: str) -> str:
    """Name the command that does what an unknown one asks for, if that is known."""
    from torchconsole.tui.cli.send import NAMES

    found = re.match(r"No such command '([\w-]+)'", message)
    word = found[1].lower() if found else ""
    meant = MEANT.get(word) or (f"send RUN {word}" if word in NAMES else "")
    return f"No such command {word!r}; use `torchconsole {meant}`" if meant else message


def build_parser() -> typer.Typer:
    """Return the parser of all commands. A command has its function's name, with hyphens."""
    complete_at_first_tab()
    parser = typer.Typer(
        callback=_without_command,
        invoke_without_command=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for command in COMMANDS:
        parser.command(cls=ProgramCommand if command is run else Command)(command)
    return parser


def _print_version(is_requested: bool) -> None:
    if is_requested:
        print(f"torchconsole {version('torchconsole')}")
        raise typer.Exit


def _without_command(
    context: typer.Context,
    runs_dir: RunsDir = None,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> int:
    """Train PyTorch networks from the terminal, and watch and steer the runs.

    Without a command, opens the console's menu.
    """
    from torchconsole.tui.cli.console import open_menu

    if context.invoked_subcommand is None:
        return open_menu(runs_dir)
    if runs_dir is not None:
        _set_default_runs_dir(runs_dir, context)
    return 0


def _set_default_runs_dir(runs_dir: Path, context: typer.Context) -> None:
    """Make --runs-dir before the command the default of the command's own --runs-dir."""
    name = context.invoked_subcommand or ""
    function = name.replace("-", "_")
    if not any(
        command.__name__ == function and "runs_dir" in command.__annotations__ for command in COMMANDS
    ):
        raise TorchconsoleError(f"{name} takes no --runs-dir")
    context.default_map = {name: {"runs_dir": runs_dir}}

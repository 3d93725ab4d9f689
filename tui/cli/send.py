"""`torchconsole send`: steer a run from a script."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from torchconsole.engine.errors import CommandRejectedError, RunError, TorchconsoleError
from torchconsole.tui.cli import report_error
from torchconsole.tui.cli.options import RunName, RunsDir
from torchconsole.tui.printable import printable

if TYPE_CHECKING:
    from torchconsole.engine.protocol.commands import Command
    from torchconsole.engine.protocol.events import CommandApplied
    from torchconsole.engine.runtime.run_folder import RunFolder

NAMES = ("pause", "resume", "lr", "save", "eval", "stop")


def send(
    run: RunName,
    command: Annotated[str, typer.Argument(metavar="COMMAND", help="pause, resume, lr, save, eval or stop.")],
    value: Annotated[
        str | None, typer.Argument(metavar="[VALUE]", help="For lr: 0.01, or x0.5 for a factor.")
    ] = None,
    runs_dir: RunsDir = None,
) -> int:
    """Send a command to a live run and wait until it is applied."""
    from torchconsole.engine.runtime.registry import find_run

    request = parse_command(command, value)
    folder = find_run(run, runs_dir, live=True)
    try:
        applied = asyncio.run(_deliver(folder, request))
    except (CommandRejectedError, RunError) as error:
        return report_error(str(error), status=1)
    print(f"applied at step {applied.step}: {printable(applied.detail)}")
    return 0


def parse_command(name: str, value: str | None) -> Command:
    """The command that the words stand for. Raises TorchconsoleError."""
    from torchconsole.engine.protocol import commands

    plain: dict[str, Callable[[], Command]] = {
        "pause": commands.PauseRun,
        "resume": commands.ResumeRun,
        "save": commands.SaveCheckpoint,
        "eval": commands.RunEvaluation,
        "stop": commands.StopRun,
    }
    if name == "lr":
        return _learning_rate(value)
    if name not in plain:
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(NAMES)}"
        raise TorchconsoleError(f"no command {name!r}; {hint}")
    if value is not None:
        raise TorchconsoleError(f"{name} takes no value, got {value!r}")
    return plain[name]()


def _learning_rate(text: str | None) -> Command:
    from torchconsole.tui.learning_rate import ACCEPTED, parse_learning_rate

    if text is None:
        raise TorchconsoleError(f"lr needs {ACCEPTED}")
    try:
        return parse_learning_rate(text)
    except ValueError as error:
        raise TorchconsoleError(f"lr {text}: {error}") from error


async def _deliver(folder: RunFolder, command: Command) -> CommandApplied:
    from torchconsole.engine.runtime.client import connect

    async with connect(folder) as client:
        return await client.send(command)

"""`torchconsole send`: send a command to a live run."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchconsole.engine.errors import CommandRejectedError, RunError, TorchconsoleError
from torchconsole.engine.text import did_you_mean, printable
from torchconsole.tui.cli import report_error
from torchconsole.tui.cli.completion import complete_live_setting, complete_run, complete_word
from torchconsole.tui.cli.named_runs import find_run
from torchconsole.tui.cli.options import RunsDir

if TYPE_CHECKING:
    from torchconsole.engine.protocol.commands import Command
    from torchconsole.engine.protocol.events import CommandApplied
    from torchconsole.engine.run.record import RunRecord

NAMES = (
    "pause", "unpause", "step", "lr", "hold", "release", "save", "eval", "profile", "stats", "freeze",
    "unfreeze", "rollback", "set", "stop",
)  # fmt: skip

MOST_DIGITS = 18
"""Digits of the largest step."""

NOTICE_SECONDS = 2.0
"""How long to wait for the worker's answer before a message says so (seconds)."""

_ENDINGS = {
    "finished": "has finished",
    "stopped": "was stopped",
    "failed": "has failed",
    "lost": "is lost",
    "interrupted": "was interrupted by a reboot",
}


def send(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="Run name, folder, unique prefix, or a preset's name (its newest live run).",
            autocompletion=complete_run,
        ),
    ],
    command: Annotated[
        str,
        typer.Argument(
            metavar="COMMAND",
            help=f"{', '.join(NAMES[:-1])} or {NAMES[-1]}.",
            autocompletion=complete_word(NAMES),
        ),
    ],
    value: Annotated[
        str | None,
        typer.Argument(
            metavar="VALUE",
            help="For lr: 0.01, or x0.5 for a factor. For hold: 0.01 (default: the current lr). "
            "For step: steps until a pause (default: 1). "
            "For stats, which measures the layers: steps between two measurements (default: 50), or off. "
            "For freeze and unfreeze: a layer, for example features.0. "
            "For rollback, which goes back to a checkpoint and trains on from there: best, last or a step "
            "such as 12000 (default: the best one, since the last may have diverged already). "
            "For set: KEY=VALUE, a key of the preset that may change in a live run "
            "(docs/PRESETS.md), for example training.clip_norm=1.0; KEY= unsets it.",
            autocompletion=complete_live_setting,
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Stop waiting for the worker after this time (seconds)."),
    ] = None,
    runs_dir: RunsDir = None,
) -> int:
    """Send a live run a command and wait until it is applied."""
    if timeout is not None and not timeout >= 0:
        raise TorchconsoleError(f"--timeout: must be 0 or more seconds, got {timeout:g}")
    request = parse_command(command, value)
    folder = find_run(run, runs_dir, live=True, by_preset="newest live")
    record = folder.read_record()
    if why := _why_not(record):
        return report_error(f"{command} cannot be sent: run {record.name} {why}", status=1)
    try:
        applied = asyncio.run(_send(record, request, timeout))
    except TimeoutError:
        late = f"{record.name} has not applied {command} within {timeout:g} s{_suspended_note(record)}"
        return report_error(f"{late}; it may still apply it", status=1)
    except (CommandRejectedError, RunError) as error:
        return report_error(str(error), status=1)
    print(f"applied at step {applied.step:,}: {printable(applied.detail)}")
    return 0


def _why_not(record: RunRecord) -> str:
    """Return why a run takes no commands from here; empty if it does."""
    from torchconsole.engine.run.suspension import how_to_continue

    if not (record.is_live and record.is_here):
        return _unreachable_reason(record)
    if cause := record.suspended_by:
        return f"is suspended ({cause}); {how_to_continue(cause, record.pid)}, then send it again"
    return ""


def parse_command(name: str, value: str | None) -> Command:
    """Parse a command's name and value. Raises TorchconsoleError."""
    from torchconsole.engine.protocol import commands

    plain: dict[str, Callable[[], Command]] = {
        "pause": commands.PauseRun,
        "unpause": commands.UnpauseRun,
        "release": commands.ReleaseLearningRate,
        "save": commands.SaveCheckpoint,
        "eval": commands.RunEvaluation,
        "profile": commands.ProfileSteps,
        "stop": commands.StopRun,
    }
    if name in ("lr", "hold"):
        return _learning_rate(name, value)
    if name == "stats":
        return _statistics(value)
    if name == "set":
        return _setting(value)
    if name == "step":
        return _steps(value)
    if name in ("freeze", "unfreeze"):
        if value is None:
            raise TorchconsoleError(
                f"{name} needs a layer's name, such as features.0; the model pane shows them"
            )
        return commands.FreezeLayer(layer=value) if name == "freeze" else commands.UnfreezeLayer(layer=value)
    if name == "rollback":
        return commands.RollBack(checkpoint=_checkpoint(value))
    if name == "resume":
        raise TorchconsoleError(
            "resume is not a command for a live run; use `unpause` to end a pause, "
            "or `torchconsole resume RUN` to continue a run that has ended"
        )
    if name not in plain:
        raise TorchconsoleError(f"unknown command {name!r}{did_you_mean(name, NAMES, len(NAMES))}")
    if value is not None:
        raise TorchconsoleError(f"{name} takes no value, got {value!r}")
    return plain[name]()


def _learning_rate(name: str, text: str | None) -> Command:
    from torchconsole.tui.lr_syntax import ACCEPTED, parse_hold, parse_learning_rate

    try:
        if name == "hold":
            return parse_hold(text)
        if text is None:
            raise TorchconsoleError(f"lr needs {ACCEPTED}")
        return parse_learning_rate(text)
    except ValueError as error:
        raise TorchconsoleError(f"{name} {text}: {error}") from error


def _statistics(text: str | None) -> Command:
    from torchconsole.engine.protocol.commands import MeasureLayers

    if text is None:
        return MeasureLayers()
    try:
        return MeasureLayers(every=0 if text == "off" else int(text))
    except ValueError as error:
        raise TorchconsoleError(
            f"stats {text}: needs a number of steps up to 1,000,000 (default: 50), or off"
        ) from error


def _setting(text: str | None) -> Command:
    from torchconsole.engine.protocol.commands import ChangeSetting

    key, equals, value = (text or "").partition("=")
    if not (key.strip() and equals):
        raise TorchconsoleError(
            f"set {text or ''}".rstrip() + ": needs KEY=VALUE, such as training.clip_norm=1.0"
        )
    return ChangeSetting(key=key.strip(), value=value.strip())


def _steps(text: str | None) -> Command:
    from torchconsole.engine.protocol.commands import TrainSteps

    try:
        return TrainSteps(steps=1 if text is None else int(text))
    except ValueError as error:
        raise TorchconsoleError(
            f"step {text}: needs a number of steps from 1 to 1,000,000 (default: 1)"
        ) from error


def _checkpoint(text: str | None) -> str | None:
    """Return a checkpoint's name; a step may be written as 12000, 12,000 or step-00012000."""
    from torchconsole.engine.run.checkpoints import folder_name
    from torchconsole.engine.run.names import LINKS

    if text is None or text in LINKS:
        return text
    digits = text.removeprefix("step-").replace(",", "")
    if not (digits.isdecimal() and digits.isascii() and len(digits) <= MOST_DIGITS):
        raise TorchconsoleError(f"rollback {text}: needs best, last or a step such as 12000")
    return folder_name(int(digits))


def _unreachable_reason(record: RunRecord) -> str:
    """Return why the run takes no commands from here, and what to do instead if something can be done."""
    from torchconsole.engine.run.folder import RunFolder
    from torchconsole.engine.run.script_runs import refuse_script

    if record.is_live:
        return f"is {record.status} on {record.host}; send the command from that machine"
    try:
        refuse_script(RunFolder(Path(record.folder)), "resume")
    except RunError:
        return _ENDINGS[record.status]
    return f"{_ENDINGS[record.status]}; to continue it: torchconsole resume {record.name}"


async def _send(record: RunRecord, command: Command, timeout: float | None) -> CommandApplied:
    """Send the command and wait for its answer. Raises TimeoutError after `timeout` seconds."""
    from torchconsole.engine.client.client import connect
    from torchconsole.engine.run.folder import RunFolder

    notice = asyncio.get_running_loop().call_later(NOTICE_SECONDS, _print_waiting, record)
    try:
        async with asyncio.timeout(timeout), connect(RunFolder(Path(record.folder))) as client:
            return await client.send(command)
    finally:
        notice.cancel()


def _print_waiting(record: RunRecord) -> None:
    waiting = "waiting for the worker to reach a step boundary…"
    print(f"{waiting}{_suspended_note(record)}", file=sys.stderr, flush=True)


def _suspended_note(record: RunRecord) -> str:
    """Return what to do about a worker that has been suspended since; empty if it is not."""
    from torchconsole.engine.run.suspension import how_to_continue

    cause = record.suspended_by
    return f" (its process is suspended by {cause}; {how_to_continue(cause, record.pid)})" if cause else ""

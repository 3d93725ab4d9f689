"""The `torchconsole` command: the menu at once, everything else by way of the command-line parser.

Exit statuses: 0 done; 1 the run failed or the command was refused; 2 the user's input is wrong;
130 interrupted, 143 terminated.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from torchconsole.engine.errors import TorchconsoleError


def main() -> int:
    """Do what the command line asks for and return the exit status."""
    try:
        status = _dispatch(sys.argv[1:])
        sys.stdout.flush()
    except TorchconsoleError as error:
        return report_error(str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _discard_output()
        return 1
    except OSError as error:
        return report_error(str(error), status=1)
    return status


def report_error(message: str, status: int = 2) -> int:
    """Print each line of `message` as an error of its own and return `status`."""
    from torchconsole.engine.text import printable

    for line in message.splitlines():
        print(f"torchconsole: error: {printable(line)}", file=sys.stderr)
    return status


def _dispatch(arguments: Sequence[str]) -> int:
    """Open the menu without importing the parser, which costs as much as the menu's first frame.

    A shell that asks for completions calls the program without arguments, too: the parser answers it.
    """
    match arguments:
        case [] if "_TORCHCONSOLE_COMPLETE" not in os.environ:
            runs_dir = None
        case ["--runs-dir", folder]:
            runs_dir = Path(folder)
        case _:
            from torchconsole.tui.cli.parser import run_command

            return run_command(arguments)
    from torchconsole.tui.cli.console import open_menu

    return open_menu(runs_dir)


def _discard_output() -> None:
    """The reader has gone: let the interpreter's last flush fall into the void instead of failing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

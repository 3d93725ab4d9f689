"""The `torchconsole` command. The menu opens without the command-line parser; all else goes through it.

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
    """Run the command line and return the exit status."""
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
    """Print each line of `message` as an error to stderr, and return `status`."""
    from torchconsole.engine.text import printable

    for line in message.splitlines():
        print(f"torchconsole: error: {printable(line)}", file=sys.stderr)
    return status


def _dispatch(arguments: Sequence[str]) -> int:
    """Open the menu, or run the parser, whose import takes as long as the menu's first frame.

    A shell that asks for completions also passes no arguments; the parser answers it.
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
    """Redirect stdout to /dev/null, so that the interpreter's last flush to the closed pipe does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

"""The `torchconsole` command. The menu opens without the command-line parser; all else goes through it.

Exit statuses: 0 done; 1 the run failed or the command was refused; 2 the user's input is wrong;
70 an unexpected error, whose traceback is kept in a file; 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.files import working_folder_exists
from torchconsole.engine.system_limits import explain_limit, raise_file_limit
from torchconsole.engine.text import os_error_summary, printable
from torchconsole.tui import IS_PROGRAM
from torchconsole.tui.cli.output import discard_output, prepare_streams, use_utf8_for_files


def main() -> int:
    """Run the command line and return the exit status."""
    use_utf8_for_files()
    with _raised_interrupts():
        return _main()


@contextmanager
def _raised_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt at ctrl+c inside this context, if it ends the process outside (see tui)."""
    replaces = IS_PROGRAM and signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    if replaces:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:  # a second one, while the first is handled
        sys.exit(130)
    finally:
        if replaces:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _main() -> int:
    if "PYTHONPATH" in os.environ:
        from torchconsole.engine.config.import_path import without_user_folders

        sys.path[:] = without_user_folders(sys.path)
    status = _run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError as error:
        discard_output(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            report_error(f"the output cannot be written: {os_error_summary(error)}")
        return status or 1
    return status


def _run(arguments: Sequence[str]) -> int:
    """Run the command, report how it failed, and return the exit status."""
    try:
        prepare_streams()
        raise_file_limit()
        return _dispatch(arguments)
    except TorchconsoleError as error:
        return report_error(str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1
    except (OSError, MemoryError) as error:
        return report_error(_explain(error), status=1)
    except Exception as error:  # noqa: BLE001 - the last net
        limit = explain_limit(error)
        return report_error(limit, status=1) if limit else report_crash(error)


def _explain(error: OSError | MemoryError) -> str:
    if limit := explain_limit(error):
        return limit
    if not working_folder_exists():
        return "the working folder was removed; change to another folder"
    return os_error_summary(error) if isinstance(error, OSError) else str(error)


def report_crash(error: BaseException) -> int:
    """Print one line about an unexpected error, keep its traceback in a file, and return the exit status."""
    from torchconsole.engine.crash_report import CRASH_STATUS, describe_crash

    return report_error(f"unexpected error: {describe_crash(error)}", status=CRASH_STATUS)


def report_error(message: str, status: int = 2) -> int:
    """Print each line of `message` as an error to stderr, and return `status`."""
    for line in message.splitlines():
        with suppress(OSError):
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

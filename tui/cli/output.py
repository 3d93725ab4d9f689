"""The standard streams of a command: closed ones, encodings that lack characters, and warnings."""

from __future__ import annotations

import codecs
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from torchconsole.engine.text import escaped, printable, printable_lines
from torchconsole.tui import IS_PROGRAM
from torchconsole.tui.signs import drawn_in_ascii, stand_in

ESCAPE = "torchconsole.escape"
"""Error handler for the output of commands: our signs become ASCII, other characters escapes."""

CELLS = "torchconsole.cells"
"""Error handler for the console: a character becomes as many ASCII characters as it has cells."""

SIGNS = {
    "\N{HORIZONTAL ELLIPSIS}": "...", "\N{EN DASH}": "-", "\N{EM DASH}": "-", "\N{MINUS SIGN}": "-",
    "\N{MIDDLE DOT}": "*", "\N{BULLET}": "*", "\N{MULTIPLICATION SIGN}": "x", "\N{PLUS-MINUS SIGN}": "+-",
    "\N{RIGHTWARDS ARROW}": "->", "\N{LEFTWARDS ARROW}": "<-", "\N{UPWARDS ARROW}": "^",
    "\N{DOWNWARDS ARROW}": "v", "\N{GREATER-THAN OR EQUAL TO}": ">=", "\N{LESS-THAN OR EQUAL TO}": "<=",
    "\N{MICRO SIGN}": "u", "\N{GREEK SMALL LETTER MU}": "u", "\N{DEGREE SIGN}": " deg",
    "\N{LEFT SINGLE QUOTATION MARK}": "'", "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"', "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    "\N{CHECK MARK}": "+", "\N{BALLOT X}": "x", "\N{NO-BREAK SPACE}": " ",
}  # fmt: skip
"""Signs of ours that an encoding may lack, with what is printed instead."""


def use_utf8_for_files() -> None:
    """Start the program again with UTF-8 for file names if they are limited to ASCII; see PEP 540.

    That is so in the C locale if the environment forbids Python what it does by default. The terminal's
    encoding stays. Does not return in that case.
    """
    if sys.getfilesystemencoding() != "ascii" or not IS_PROGRAM:
        return
    os.environ["PYTHONUTF8"] = "1"
    os.environ.setdefault("PYTHONIOENCODING", "ascii")
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def prepare_streams() -> None:
    """Make the standard streams print anything: without errors, and also if they are closed."""
    _open_closed_streams()
    codecs.register_error(ESCAPE, _handler(_escaped))
    codecs.register_error(CELLS, _handler(drawn_in_ascii))
    sys.stdout, sys.stderr = _escaping(sys.stdout), _escaping(sys.stderr)
    replace_by(ESCAPE)
    _report_through_logging()


def replace_by(handler: str) -> None:
    """Replace what the encoding of the standard output and error lacks with `handler`.

    The console draws on the interpreter's own stream, the commands print on ours.
    """
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=handler)


def discard_output(stream: TextIO) -> None:
    """Redirect a stream to /dev/null, so that the interpreter's last flush of it does not fail."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _EscapingStream(TextIOWrapper):
    """A standard stream that prints control characters as escapes: names and texts may be anybody's.

    None of them can clear the screen, set the title or reverse the text, whoever prints it. The console
    itself draws on the interpreter's own stream.
    """

    def write(self, text: str, /) -> int:
        """Write a text."""
        super().write(printable_lines(text))
        return len(text)

    def write_colored(self, text: str, color: str) -> None:
        """Write a text between the ANSI sequences of a color, which `write` would escape."""
        super().write(f"\x1b[{color}m{printable_lines(text)}\x1b[0m")


def print_colored(text: str, color: str) -> None:
    """Print a text without a line end, in a color, for example "1;31", if a terminal with colors reads it."""
    stream = sys.stdout
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty()
    if isinstance(stream, _EscapingStream) and not plain:
        stream.write_colored(text, color)
    else:
        stream.write(text)


def _escaping(stream: TextIO) -> TextIO:
    if type(stream) is not TextIOWrapper:  # ours already, or one of a test
        return stream
    stream.flush()
    return _EscapingStream(
        stream.buffer, stream.encoding, stream.errors, line_buffering=stream.line_buffering
    )


class WarningLines(logging.Handler):
    """Prints each warning once, as one line on the standard error. What has a traceback is kept in a file."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._printed: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record (called by logging)."""
        message = describe_record(record)
        if message not in self._printed:
            self._printed.add(message)
            level = "error" if record.levelno >= logging.ERROR else "warning"
            print(f"torchconsole: {level}: {printable(message)}", file=sys.stderr, flush=True)


def describe_record(record: logging.LogRecord) -> str:
    """Return a log record as one line; its traceback, if it has one, is kept in a file."""
    from torchconsole.engine.crash_report import describe_crash

    message = " ".join(record.getMessage().split())
    error = record.exc_info[1] if record.exc_info else None
    return message if error is None else f"{message}: {describe_crash(error)}"


def _report_through_logging() -> None:
    """Send errors of threads and of destructors through logging: Python would print their tracebacks."""
    root = logging.getLogger()
    if not any(isinstance(handler, WarningLines) for handler in root.handlers):
        root.addHandler(WarningLines())
    log = logging.getLogger(__name__)

    def report_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            log.error("a thread ended", exc_info=args.exc_value)

    def report_unraisable(args: sys.UnraisableHookArgs) -> None:
        if isinstance(args.exc_value, Exception) and not isinstance(args.exc_value, BrokenPipeError):
            log.error(args.err_msg or "an error was ignored", exc_info=args.exc_value)

    threading.excepthook = report_thread
    sys.unraisablehook = report_unraisable


def _open_closed_streams() -> None:
    """Open /dev/null for each closed standard stream, whose place the next opened file would take."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - until the end


def _handler(replace: Callable[[str], str]) -> Callable[[UnicodeError], tuple[str, int]]:
    def handle(error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        return "".join(map(replace, error.object[error.start : error.end])), error.end

    return handle


def _escaped(char: str) -> str:
    sign = SIGNS.get(char) or stand_in(char)
    return sign or (f"\\u00{ord(char):02x}" if ord(char) < 0x100 else escaped(char))  # as in TOML and JSON

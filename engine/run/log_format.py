r"""The lines of worker.log: `2026-11-29T07:51:01Z\tINFO\tmessage`, and whatever user code prints.

Times are in UTC. A line of another form, such as one of a traceback, belongs to the line before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from torchconsole.engine.protocol.events import LogLevel, LogWritten

_TIME = "%Y-%m-%dT%H:%M:%SZ"
_LEVELS: dict[str, LogLevel] = {"DEBUG": "debug", "INFO": "info", "WARNING": "warning", "ERROR": "error"}


def format_line(time: float, level: LogLevel, message: str) -> str:
    """Format a log line, without its newline. `time` is in seconds since the epoch."""
    return f"{datetime.fromtimestamp(time, UTC).strftime(_TIME)}\t{level.upper()}\t{message}"


def parse_lines(lines: Iterable[str], time: float) -> Iterator[LogWritten]:
    """Read log lines back. A line of another form has the time of the line before it, or else `time`."""
    for line in lines:
        if parsed := _parse(line):
            time = parsed.time
        yield parsed or LogWritten(message=line, time=time)


def _parse(line: str) -> LogWritten | None:
    time, _, rest = line.partition("\t")
    level, tab, message = rest.partition("\t")
    if not tab or level not in _LEVELS:
        return None
    try:
        written = datetime.strptime(time, _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None
    return LogWritten(level=_LEVELS[level], message=message, time=written.timestamp())

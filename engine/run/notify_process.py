"""Delivers one message of a worker, as a process of its own that outlives it and cannot slow it down.

`python -P -m torchconsole.engine.run.notify_process` reads what `as_order` returns. A failure is a line in
worker.log, which is the standard error, and a line to the worker, if it still listens.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from types import FrameType

from torchconsole.engine.config.user_config import NotifyConfig
from torchconsole.engine.run.line_formats import log_line
from torchconsole.engine.run.notification import COMMAND_SECONDS, WEBHOOK_SECONDS, deliver

NICENESS = 10
MOST_SECONDS = int(COMMAND_SECONDS + 3 * WEBHOOK_SECONDS)
"""A server that answers slowly, byte by byte, passes every shorter limit."""


def main() -> int:
    """Deliver the message on the standard input; return 0, or 1 if that failed."""
    os.nice(NICENESS)
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(MOST_SECONDS)
    config, content = json.load(sys.stdin)
    errors = deliver(NotifyConfig(**config), content)
    for error in errors:
        with suppress(OSError):
            print(log_line(time.time(), "warning", error), file=sys.stderr, flush=True)
    with suppress(OSError):  # the worker has ended
        print("\n".join(errors), end="", flush=True)
    return 1 if errors else 0


def _give_up(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"no answer within {MOST_SECONDS} seconds")


if __name__ == "__main__":
    sys.exit(main())

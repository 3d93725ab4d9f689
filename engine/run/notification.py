"""Messages about a run for the command and the webhook of `[notify]`: their JSON, and their delivery."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import IO, Any
from urllib.parse import urlsplit

from torchconsole.engine.config.user_config import NotifyConfig
from torchconsole.engine.protocol.happenings import Happening, describe
from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.text import ascii_json, printable
from torchconsole.engine.user_folders import home_folder

COMMAND_SECONDS = 30.0
WEBHOOK_SECONDS = 10.0
MOST_REASON = 4000
MOST_ERROR = 2000
"""Bytes that are kept of what a command prints to its standard error."""

MOST_MESSAGE = 48 << 10
"""Bytes. A pipe holds more, so that handing a message over never waits for its reader."""


def message(happening: Happening, record: RunRecord, metrics: Mapping[str, float | None]) -> dict[str, Any]:
    """Return what is sent about a run: `event`, `text`, the latest `metrics`, and what `runs --json` has."""
    best = record.best
    described = f"{best['metric']} {_text(best['value'])} at step {best['step']:,}" if best else ""
    reason = record.reason[:MOST_REASON]
    return {
        "event": happening,
        "text": printable(describe(happening, record.name, record.step, reason, described)),
        **record.to_json(),
        "reason": reason,
        "progress": record.progress,
        "metrics": {name: value if _is_finite(value) else None for name, value in metrics.items()},
    }


def encode(content: Mapping[str, Any]) -> bytes:
    """Return a message as JSON of at most MOST_MESSAGE bytes; the metrics of a huge one are left out."""
    data = ascii_json(json.dumps(content)).encode()
    return data if len(data) <= MOST_MESSAGE else json.dumps({**content, "metrics": {}}).encode()


def deliver(config: NotifyConfig, content: Mapping[str, Any]) -> list[str]:
    """Send a message to the command and to the webhook; return one line for each that failed."""
    errors = []
    if config.command and (error := run_command(config.command, encode(content))):
        errors.append(f"notify.command: {error}")
    if config.webhook and (error := post(config.webhook, content)):
        errors.append(f"notify.webhook: {error}")
    return errors


def run_command(command: str, data: bytes, seconds: float = COMMAND_SECONDS) -> str:
    """Run a shell command with `data` on its standard input; return why it failed, empty if it did not.

    It is the leader of its own process group, which is killed after `seconds`.
    """
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            cwd=_folder(),
        )
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    assert process.stdin is not None
    assert process.stderr is not None
    printed = bytearray()
    # Processes that the command leaves behind may keep its standard error open, so nothing waits for its end.
    reader = threading.Thread(target=_keep_tail, args=(process.stderr, printed), daemon=True)
    reader.start()
    with suppress(OSError):  # it does not read its input
        process.stdin.write(data)
        process.stdin.close()
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"did not end within {seconds:g} seconds, so it was killed"
    if status == 0:
        return ""
    reader.join(0.5)
    lines = bytes(printed).decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    how = f"exit status {status}" if status > 0 else f"killed by {_signal_name(-status)}"
    return printable(f"{how}: {last}" if last else how)


def post(url: str, content: Mapping[str, Any], seconds: float = WEBHOOK_SECONDS) -> str:
    """Send a message to a URL; return why that failed, empty if it did not.

    Chat services show what is in `text` or `content`. Errors never name the URL: it may contain a secret.
    """
    data = encode({"content": content["text"], **content})
    headers = {"Content-Type": "application/json", "User-Agent": "torchconsole"}
    host = urlsplit(url).hostname
    try:
        request = urllib.request.Request(url, data, headers)
        with urllib.request.urlopen(request, timeout=seconds):
            return ""
    except urllib.error.HTTPError as error:
        return printable(f"{host} answers {error.code} {error.reason}")
    except urllib.error.URLError as error:
        return printable(f"{host}: {error.reason}")
    except (OSError, ValueError) as error:  # a timeout, or an answer that is not HTTP
        return printable(f"{host}: {error or type(error).__name__}")
    except Exception as error:  # noqa: BLE001 - http.client has errors of its own
        return printable(f"{host}: {type(error).__name__}")


def as_order(config: NotifyConfig, content: Mapping[str, Any]) -> bytes:
    """Return what `notify_process` reads: the message, and where it goes."""
    return json.dumps([asdict(config), json.loads(encode(content))]).encode()


def _keep_tail(stream: IO[bytes], tail: bytearray) -> None:
    with suppress(OSError, ValueError):
        while piece := stream.read1(4096):  # type: ignore[attr-defined]
            tail += piece
            del tail[:-MOST_ERROR]


def _folder() -> str:
    home = home_folder()
    return str(home) if home.is_dir() else "/"


def _signal_name(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def _text(value: float | None) -> str:
    return "nan" if value is None else f"{value:.4g}"


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)

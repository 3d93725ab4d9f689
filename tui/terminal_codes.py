"""Codes that do more than draw: title, bell, desktop notification and clipboard of a terminal, or of tmux."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress

from torchconsole.engine.text import printable

BELL = "\a"
SAVE_TITLE, RESTORE_TITLE = "\x1b[22;2t", "\x1b[23;2t"
MOST_TITLE = 120
MOST_TEXT = 250

MOST_COPIED = 50_000
"""Bytes: terminals ignore a longer text for the clipboard."""

TMUX_SECONDS = 2.0

OSC_9 = ("kitty", "ghostty", "wezterm", "iterm", "konsole")
OSC_777 = ("foot", "rxvt", "contour")
"""Parts of $TERM or $TERM_PROGRAM of terminals that show a notification by one of the codes.

Some know both, and would show it twice. An unknown terminal gets both.
"""


def title(text: str) -> str:
    """Set the title of the terminal's window."""
    return f"\x1b]2;{_plain(text, MOST_TITLE)}{BELL}"


def desktop_codes(heading: str, text: str, env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the codes of a desktop notification by name, of those that this terminal may know."""
    heading, text = _plain(heading, MOST_TEXT).replace(";", ","), _plain(text, MOST_TEXT)
    codes = {"OSC 9": f"\x1b]9;{text}{BELL}", "OSC 777": f"\x1b]777;notify;{heading};{text}{BELL}"}
    name = f"{env.get('TERM', '')} {env.get('TERM_PROGRAM', '')}".lower()
    if any(part in name for part in OSC_9):
        del codes["OSC 777"]
    elif any(part in name for part in OSC_777):
        del codes["OSC 9"]
    return {key: passed_through(code, env) for key, code in codes.items()}


def clipboard(text: str, env: Mapping[str, str] = os.environ) -> str:
    """Have the terminal put a text into the clipboard of the machine that it is shown on (OSC 52)."""
    code = f"\x1b]52;c;{base64.b64encode(text.encode(errors='replace')).decode()}{BELL}"
    wrapped = passed_through(code, env)
    # tmux takes the plain code if set-clipboard is on, and passes the other one on if allow-passthrough is.
    return code if wrapped == code else code + wrapped


def passed_through(code: str, env: Mapping[str, str] = os.environ) -> str:
    """Wrap a code so that tmux passes it on to the terminal that it is shown in."""
    if is_tmux(env):
        return f"\x1bPtmux;{code.replace(chr(27), chr(27) * 2)}\x1b\\"
    return code


def is_tmux(env: Mapping[str, str] = os.environ) -> bool:
    """Whether the terminal is tmux, here or at the other end of an SSH connection."""
    return bool(env.get("TMUX")) or env.get("TERM", "").startswith("tmux")


def can_show_title(env: Mapping[str, str] = os.environ) -> bool:
    """Whether the terminal knows the code for the title; the Linux console prints a part of it."""
    return env.get("TERM", "") not in ("", "dumb", "linux")


def tmux_option(name: str) -> str | None:
    """Return an option of the tmux that this process runs in; None outside of one, or if tmux lacks it."""
    return _tmux("show-options", "-Apqv", name) or _tmux("show-options", "-gqv", name)


def give_to_tmux(text: str) -> bool:
    """Put a text into tmux's buffer and, through tmux, into the clipboard; return whether that worked."""
    return _tmux("load-buffer", "-w", "-", text=text) is not None


def _tmux(*arguments: str, text: str = "") -> str | None:
    if not os.environ.get("TMUX"):
        return None
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            ["tmux", *arguments],
            input=text,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=TMUX_SECONDS,
            check=False,
        )
        return done.stdout.strip() if done.returncode == 0 else None
    return None


def _plain(text: str, most: int) -> str:
    text = printable(" ".join(text.split()))
    return text if len(text) <= most else f"{text[: most - 3]}..."

"""Whether this process will outlive its user's logout: systemd ends some, and that must be said in time."""

from __future__ import annotations

import getpass
import re
import subprocess
from pathlib import Path

SECONDS = 3.0
"""How long systemd-logind may take to answer."""

CGROUP = Path("/proc/self/cgroup")

_SESSION = re.compile(r"/session-[^/]+\.scope")
_USER_MANAGER = re.compile(r"/user@\d+\.service")


def logout_warning() -> str | None:
    """What the user must know and do where a logout would end this process; None where it would not.

    With KillUserProcesses=yes systemd-logind kills a session's processes: only those of KillOnlyUsers where
    that is set, and never those of KillExcludeUsers, which is root unless told otherwise. What runs below the
    user's own manager ends with that: at the last logout, unless the user lingers. See logind.conf(5) and
    loginctl(1).
    """
    place = _place()
    if _USER_MANAGER.search(place):
        if _property("show-user", _user(), "Linger") != "no":
            return None
        return (
            "this run ends when you log out for the last time: your systemd user manager stops then. "
            "`loginctl enable-linger` keeps it"
        )
    if not (_SESSION.search(place) and _kills(_user())):
        return None
    first = (
        "" if _property("show-user", _user(), "Linger") == "yes" else "`loginctl enable-linger` once, then "
    )
    return (
        "this machine ends your processes when you log out (KillUserProcesses of systemd-logind), and this "
        f"run with them. To keep it: {first}start or resume it with "
        "`systemd-run --user --scope torchconsole ...`"
    )


def _kills(user: str) -> bool:
    if _property("show-session", "", "KillUserProcesses") != "yes":
        return False
    only = (_property("show-session", "", "KillOnlyUsers") or "").split()
    excluded = (_property("show-session", "", "KillExcludeUsers") or "").split()
    return user not in excluded and (not only or user in only)


def _property(command: str, subject: str, name: str) -> str | None:
    """What loginctl says of a user, or without a subject of the login manager; None where it says nothing."""
    words = ["loginctl", command, *([subject] if subject else []), f"--property={name}", "--value"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _place() -> str:
    try:
        return CGROUP.read_text(encoding="utf-8")
    except OSError:
        return ""


def _user() -> str:
    return getpass.getuser()

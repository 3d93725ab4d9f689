"""What may end a worker from outside: signals, which save the run first, and the user's logout."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from torchconsole.engine.protocol.commands import SaveCheckpoint, StopRun
from torchconsole.engine.run.liveness import HANDLED_SIGNALS, STOP_SIGNALS
from torchconsole.engine.run.membership import BEFORE_TRAINING, HANGING, STOP_NOTE, WITHIN_STEP
from torchconsole.engine.run.process_signals import DO_NOTHING, handle, ignore
from torchconsole.engine.training.command_queue import INSIST_SECONDS, Abandoned, CommandQueue, Terminated
from torchconsole.engine.user_folders import user_name

log = logging.getLogger(__name__)

BATCH_SECONDS = 1.0
"""How long to wait for a batch once the run is to stop."""

AT_ONCE = 0.01

HANGING_SECONDS = 10.0
"""How long a stop may wait for the end of a step before the user is told what else can be done."""

LOGINCTL_SECONDS = 3.0
"""How long systemd-logind may take to answer."""

CGROUP = Path("/proc/self/cgroup")

_SESSION = re.compile(r"/session-[^/]+\.scope")
_USER_MANAGER = re.compile(r"/user@\d+\.service")


class Signals:
    """Handlers: SIGTERM and SIGINT save and stop the run, SIGUSR1 saves, SIGHUP does nothing.

    A signal becomes a command like any other, so that it waits for the end of the step and cannot interrupt a
    save. Two things it interrupts at once: the preparation, which takes no commands, and a wait for a batch
    that does not come. A second stop, by signal or command, also interrupts a step or an evaluation.
    `exit_status` is the exit status after such an end; 0 before any signal.
    """

    def __init__(self, commands: CommandQueue) -> None:
        self.exit_status = 0
        self.alarms = 0
        """How often the main thread has noticed, after a stop, that it is to end: every second."""
        self.find_loss: Callable[[str], str] = lambda reason: ""
        """Returns which other process has died if that is why the preparation stops with this reason."""
        self._commands = commands
        self._name = ""
        self._reason = ""
        self._raises = False
        self._told = False
        self._next_interruption = 0.0
        commands.on_stop = self.start_alarm
        ignore(signal.SIGHUP)
        for number in STOP_SIGNALS:
            handle(number, self._on_stop)
        handle(signal.SIGUSR1, self._on_save)
        handle(signal.SIGCONT, self._on_continue)
        handle(signal.SIGALRM, self._on_alarm)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED_SIGNALS)

    @contextmanager
    def ending_preparation(self) -> Iterator[None]:
        """Raise Terminated on a signal that arrives inside this context, or has arrived before.

        Python discards what is raised in a destructor or in a weak reference's callback. So the alarm raises
        it again, and so does the end of the context.
        """
        self._raises = True
        try:
            self._check()
            yield
            self._check()
        finally:
            self._raises = False

    @property
    def ends_preparation(self) -> bool:
        """Whether a signal would end the preparation now."""
        return self._raises

    def end(self, reason: str) -> None:
        """Stop the run like SIGTERM does, from any thread, for a reason that comes from inside."""
        self._reason = reason
        os.kill(os.getpid(), signal.SIGTERM)

    def ignore(self) -> None:
        """Ignore signals from now on: everything is saved, and nothing should disturb the exit."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in (*HANDLED_SIGNALS, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)

    def _check(self) -> None:
        if self._name:
            raise Terminated(f"{self._name} {BEFORE_TRAINING}")

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        """Act on the first signal and ignore later ones: a stop is under way already, and since handlers can
        interrupt each other, a flood of signals would reach the recursion limit.
        """
        for other in STOP_SIGNALS:
            ignore(other)
        if self._name:
            return
        self._name = self._reason or signal.Signals(number).name
        self.exit_status = 1 if self._reason else 128 + number
        by = "torchconsole" if self._reason else self._name
        self._commands.put(f"signal-{number}", StopRun(reason=self._name), by=by)
        if self._raises:
            self._check()

    def _on_stop_again(self, number: int, _frame: FrameType | None) -> None:
        for other in STOP_SIGNALS:
            ignore(other)
        self._commands.put(f"signal-{number}-again", StopRun(reason=self._name), by=self._name)

    def handles(self, number: int) -> bool:
        """Whether this handles a signal now, and no handler of user code does. Any thread may call this."""
        own = (self._on_stop, self._on_stop_again, self._on_alarm, DO_NOTHING)
        return signal.getsignal(number) in own

    def start_alarm(self) -> None:
        """Have `_on_alarm` called until the run ends. Any thread may call this."""
        first = AT_ONCE if self._commands.insists else BATCH_SECONDS
        signal.setitimer(signal.ITIMER_REAL, first, BATCH_SECONDS)

    def _on_save(self, number: int, _frame: FrameType | None) -> None:
        """Slurm can send this signal before a job's time limit: `--signal=USR1@120`."""
        name = signal.Signals(number).name
        self._commands.put(f"{name}-{time.monotonic_ns()}", SaveCheckpoint(), by=name)

    def _on_continue(self, _number: int, _frame: FrameType | None) -> None:
        self._commands.was_suspended = True

    def _on_alarm(self, _number: int, _frame: FrameType | None) -> None:
        """Some time after a stop: end a preparation, a wait for data or user code that is still under way."""
        self.alarms += 1
        _tell_parent()
        commands, now = self._commands, time.monotonic()
        name = self._name or "stopped"
        if self._raises:
            self._check()
            if commands.insists:
                raise Terminated(f"{name} {BEFORE_TRAINING}")
        if commands.waits_since is not None and now - commands.waits_since >= BATCH_SECONDS:
            raise Terminated(f"{name} while waiting for data")
        if commands.insists and commands.running_user_code.is_entered and now >= self._next_interruption:
            # Again only after some time: the first one may have to end processes.
            self._next_interruption = now + INSIST_SECONDS
            raise Abandoned(f"{name} {WITHIN_STEP}")
        stopping = now - (commands.stops_since or now)
        if stopping >= INSIST_SECONDS and self._name and signal.getsignal(signal.SIGTERM) == DO_NOTHING:
            for number in STOP_SIGNALS:
                handle(number, self._on_stop_again)
        if stopping >= HANGING_SECONDS and not self._told:
            self._told = True
            # In a thread of its own: this one may be about to write to the same log.
            threading.Thread(target=log.warning, args=(HANGING,), daemon=True).start()


def _tell_parent() -> None:
    """Tell the parent of several processes that the stop is known here: else this one waits in torch."""
    with suppress(KeyError, OSError):  # there is no parent, or it was told of no stop
        os.utime(os.environ[STOP_NOTE])


def logout_warning() -> str | None:
    """Warn if the user's logout would end this process, and tell how to prevent that; else None.

    With KillUserProcesses=yes, systemd-logind kills the processes of a session: only those of users in
    KillOnlyUsers if that is set, and never those of users in KillExcludeUsers (root by default). Processes
    below the user's own systemd manager end with it: at the last logout, unless the user lingers. See
    logind.conf(5) and loginctl(1).
    """
    cgroup = _own_cgroup()
    below_manager, in_session = _USER_MANAGER.search(cgroup), _SESSION.search(cgroup)
    if not (below_manager or in_session):
        return None
    user = user_name()
    lingers = _property("show-user", user, "Linger")
    if below_manager:
        if lingers != "no":
            return None
        return (
            "this run ends at your last logout, because your systemd user manager stops then; "
            "to keep it running: `loginctl enable-linger`"
        )
    if not _logout_kills(user):
        return None
    first = "" if lingers == "yes" else "`loginctl enable-linger` once, then "
    return (
        "this run ends when you log out, because this machine kills your processes then (KillUserProcesses "
        f"of systemd-logind); to keep it running: {first}start or resume it with "
        "`systemd-run --user --scope torchconsole ...`"
    )


def _logout_kills(user: str) -> bool:
    if _property("show-session", "", "KillUserProcesses") != "yes":
        return False
    only = (_property("show-session", "", "KillOnlyUsers") or "").split()
    excluded = (_property("show-session", "", "KillExcludeUsers") or "").split()
    return user not in excluded and (not only or user in only)


def _property(command: str, subject: str, name: str) -> str | None:
    """Ask loginctl for a property of a user, or without `subject` of the login manager; None if it fails."""
    words = ["loginctl", command, *([subject] if subject else []), f"--property={name}", "--value"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=LOGINCTL_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _own_cgroup() -> str:
    try:
        return CGROUP.read_text(encoding="utf-8")
    except OSError:
        return ""

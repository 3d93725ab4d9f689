"""Textual's driver of the terminal, for a process that may be stopped by anybody."""

from __future__ import annotations

from textual.drivers.linux_driver import LinuxDriver


class Driver(LinuxDriver):
    """After SIGSTOP too the terminal is taken anew, and is at the end what it was before the console."""

    def _sigcont_application(self, *_: object) -> None:
        if self._auto_restart and not self._must_signal_resume:
            # SIGSTOP cannot be heard: without this the settings to return to would be the console's own.
            self.suspend_application_mode()
            self._must_signal_resume = True
        super()._sigcont_application()

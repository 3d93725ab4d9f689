"""A pseudo-terminal that runs a program, with an emulated screen."""

from __future__ import annotations

import re
import termios
import time
from collections.abc import Callable
from typing import Any

import pexpect
import pyte

from tests.support.program_user import DEADLINE, PROGRAM, User, wait_until
from tests.support.tracebacks import assert_no_traceback


class Terminal:
    """A pseudo-terminal that runs a program, with an emulated screen.

    With `answers`, it answers what terminals are asked: their attributes (DA1), and whether they work (DSR).
    """

    def __init__(
        self,
        user: User,
        *arguments: str,
        program: str = PROGRAM,
        rows: int = 24,
        columns: int = 80,
        answers: bool = False,
    ) -> None:
        self._answers = {b"\x1b[c": "\x1b[?62c", b"\x1b[5n": "\x1b[0n"} if answers else {}
        self.screen = pyte.Screen(columns, rows)
        self.output = b""
        self._stream = pyte.ByteStream(self.screen)
        self.process = pexpect.spawn(
            program,
            list(arguments),
            cwd=str(user.folder),
            env=user.env,
            dimensions=(rows, columns),
            timeout=None,
        )
        self.attributes = termios.tcgetattr(self.process.child_fd)

    @property
    def text(self) -> str:
        """The text on the screen."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    @property
    def final_output(self) -> str:
        """What the program wrote after it left the alternate screen."""
        text = self.output.rpartition(b"\x1b[?1049l")[2].decode()
        return re.sub(r"\x1b\[[0-9;?<>]*[a-zA-Z]", "", text)

    def press(self, keys: str) -> None:
        """Send keys as a terminal does."""
        self.process.send(keys)

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size; the kernel sends the program SIGWINCH."""
        self.screen.resize(rows, columns)
        self.process.setwinsize(rows, columns)

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = DEADLINE) -> Any:
        """Read the program's output until `condition()` is true; fail with the screen after the deadline."""
        deadline = time.monotonic() + seconds
        while not (result := condition()):
            assert time.monotonic() < deadline, f"waited {seconds} s for {what}; on screen:\n{self.text}"
            self.read()
        return result

    def wait_for(self, *texts: str, seconds: float = DEADLINE) -> str:
        """Wait until all these texts are on the screen, and return the screen."""
        self.wait(lambda: all(text in self.text for text in texts), f"{texts}", seconds)
        return self.text

    def wait_gone(self, text: str, seconds: float = DEADLINE) -> None:
        """Wait until this text is no longer on the screen, and is not being drawn again."""
        self.wait(
            lambda: text not in self.text and not self.read() and text not in self.text,
            f"{text!r} to disappear",
            seconds,
        )

    def wait_exit(self, seconds: float = DEADLINE) -> int:
        """Wait until the program ends; returns its exit status, or the negative signal number."""
        self.wait(lambda: not self.process.isalive(), "the program to end", seconds)
        while self.read():
            pass
        status: int | None = self.process.exitstatus
        return -self.process.signalstatus if status is None else status

    def assert_restored(self) -> None:
        """Assert that the program restored the terminal: modes off, cursor shown, settings unchanged."""
        assert termios.tcgetattr(self.process.child_fd) == self.attributes
        for switched_on, switched_off in (
            (b"\x1b[?1049h", b"\x1b[?1049l"),
            (b"\x1b[?25l", b"\x1b[?25h"),
            (b"\x1b[?2004h", b"\x1b[?2004l"),
            (b"\x1b[?1000h", b"\x1b[?1000l"),
            (b"\x1b[?1003h", b"\x1b[?1003l"),
            (b"\x1b[>", b"\x1b[<u"),
        ):
            assert self.output.rfind(switched_on) < self.output.rfind(switched_off), switched_off

    def hang_up(self) -> None:
        """Close the terminal's window while the program runs."""
        self.process.ptyproc.fileobj.close()

    def close(self) -> None:
        """Close the window and kill the program; fail if it has printed a traceback."""
        try:
            self.process.close(force=True)
        except pexpect.ExceptionPexpect:  # killed, but on a loaded machine it has not ended yet
            wait_until(lambda: not self.process.isalive(), "the killed program to end")
        assert_no_traceback(self.output)

    def read(self) -> bool:
        """Read the program's output for up to 50 ms; returns False if there was none."""
        try:
            data: bytes = self.process.read_nonblocking(65536, timeout=0.05)
        except (pexpect.TIMEOUT, pexpect.EOF):
            return False
        for question, answer in self._answers.items():
            asked = (self.output[-len(question) + 1 :] + data).count(question)
            self.process.send(answer * asked)
        self.output += data
        self._stream.feed(data)
        return True

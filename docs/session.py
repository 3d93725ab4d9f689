"""Records a session in a pseudo-terminal: the menu, a start, steering, a pane, and detaching."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pyte
from animation import INK, PAPER, Cell, Frame, Row, animated

COLUMNS, ROWS = 100, 30
FILM_SECONDS = 20.0
LONGEST_STEP, KEY_STEP = 0.5, 0.9
"""Most seconds that a frame is shown, since waiting is cut; and how long a key can be read."""

SHORTEST_STEPS = (0.15, 0.25, 0.4, 0.7, 1.2)
"""Least seconds that a frame is shown: what happens at once is one frame. The first that is small enough."""

MOST_BYTES = 380_000

QUIET_SECONDS = 0.06
PATIENCE_SECONDS = 300.0
LAST_SECONDS = 2.0
NAMED = {"black": "#000000", "white": "#ffffff"}


class Recorder:
    """Runs a program in a pseudo-terminal and keeps what its screen shows."""

    def __init__(self, command: Sequence[str]) -> None:
        self.frames: list[Frame] = []
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._key = ""
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.execv(command[0], list(command))
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    @property
    def text(self) -> str:
        """The text on the screen."""
        return "\n".join(self._screen.display)

    def watch(self, seconds: float) -> None:
        """Record for so many seconds."""
        self.wait_for(lambda: False, seconds, must=False)

    def wait_for(
        self, condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS, *, must: bool = True
    ) -> None:
        """Record until a condition is met. Exits after so many seconds, if it must be met."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not condition():
            self._read()
        if must and not condition():
            sys.exit(f"the session stopped at:\n{self.text}")

    def press(self, keys: str, shown: str) -> None:
        """Press keys, and show below the screen what they are."""
        self._key = shown
        self._keep()
        os.write(self._terminal, keys.encode())

    def close(self) -> None:
        """Wait until the program has ended."""
        os.close(self._terminal)
        os.waitpid(self._pid, 0)

    def _read(self) -> None:
        """Read the output until nothing comes for a moment, and keep the screen."""
        has_changed = False
        while select.select([self._terminal], [], [], QUIET_SECONDS)[0]:
            try:
                data = os.read(self._terminal, 65536)
            except OSError:  # the program has ended
                time.sleep(QUIET_SECONDS)
                break
            self._stream.feed(data)
            has_changed = True
        if has_changed:
            self._keep()

    def _keep(self) -> None:
        rows = tuple(self._row(y) for y in range(ROWS))
        if not self.frames or (rows, self._key) != (self.frames[-1].rows, self.frames[-1].key):
            self.frames.append(Frame(time.monotonic(), rows, self._key))

    def _row(self, y: int) -> Row:
        line = self._screen.buffer[y]
        return tuple(_cell(line[x]) for x in range(COLUMNS))


def _cell(char: pyte.screens.Char) -> Cell:
    color, background = _color(char.fg, INK), _color(char.bg, "")
    if char.reverse:
        color, background = background or PAPER, color
    if background == PAPER:
        background = ""
    return Cell(char.data or " ", color if char.data.strip() else "", background, char.bold)


def _color(name: str, default: str) -> str:
    if name == "default":
        return default
    return NAMED.get(name, f"#{name}")


def paced(frames: Sequence[Frame], shortest: float) -> tuple[list[Frame], float]:
    """Return frames with the times of the film, and its length in seconds, which is about FILM_SECONDS."""
    steps = [min(LONGEST_STEP, after.time - frame.time) for frame, after in pairwise(frames)]
    is_key = [after.key != frame.key for frame, after in pairwise(frames)]
    left = FILM_SECONDS - LAST_SECONDS - KEY_STEP * sum(is_key)
    speed = max(0.2, left / sum(steps))
    kept: list[Frame] = []
    clock = shown = 0.0
    for frame, step, comes_key in zip(frames, steps, is_key, strict=False):
        if shown <= 0:
            kept.append(Frame(clock, frame.rows, frame.key))
        shown += step * speed + KEY_STEP * comes_key
        if shown >= shortest:
            clock, shown = clock + shown, 0.0
    kept.append(Frame(clock + shown, frames[-1].rows, frames[-1].key))
    return kept, kept[-1].time + LAST_SECONDS


def record(command: Sequence[str], file: Path) -> None:
    """Record the session with the preset `demo`, and write the film."""
    session = Recorder(command)
    session.wait_for(lambda: "quit" in session.text)
    session.watch(1.5)
    session.press("/demo\r", "/demo  find the preset")
    session.watch(1.5)
    session.press("\r", "enter  start the training")
    session.wait_for(lambda: "space pause" in session.text and "running" in session.text)
    session.watch(8)
    session.press("-", "-  lower the learning rate")
    session.watch(3)
    session.press("=", "=  as scheduled again")
    session.watch(2.5)
    session.press("4", "4  the classes")
    session.watch(3)
    session.press("\x1b", "esc  back to the charts")
    session.watch(2.5)
    session.press("d", "d  detach: it keeps training")
    session.watch(2.5)
    session.close()
    for shortest in SHORTEST_STEPS:
        frames, seconds = paced(session.frames, shortest)
        poster = next((number for number, frame in enumerate(frames) if frame.key.startswith("4")), 1)
        film = animated(frames, seconds, poster - 1).encode()
        if len(film) <= MOST_BYTES:
            break
    file.write_bytes(film)
    print(f"{file.name} ({len(frames)} frames, {seconds:.0f} s, {len(film) / 1000:.0f} kB)")

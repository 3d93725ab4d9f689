"""What the console tells a real terminal besides the screen: title, clipboard and mouse."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

from tests.support.program_user import User
from tests.support.pseudo_terminal import Terminal
from tests.support.runs import make_folder

OpenTerminal = Callable[..., Terminal]
COPIED = re.compile(rb"\x1b\]52;c;([^\x07]*)\x07")


def test_title_clipboard_and_mouse(user: User, open_terminal: OpenTerminal) -> None:
    run = make_folder(user.runs_dir, status="finished", step=9).name
    terminal = open_terminal("attach", run, rows=40, columns=120)
    terminal.wait_for(run[-4:], "finished", "q leave")
    terminal.wait(lambda: f"\x1b]2;finished · {run}\x07".encode() in terminal.output, "the title")
    terminal.press("Y")
    (copied,) = terminal.wait(lambda: COPIED.findall(terminal.output), "the clipboard")
    assert base64.b64decode(copied)
    begin = len(terminal.output)
    terminal.press("M")
    terminal.wait(lambda: b"\x1b[?1003l" in terminal.output[begin:], "the mouse to be off")
    terminal.press("M")
    terminal.wait(lambda: b"\x1b[?1003h" in terminal.output[begin:], "the mouse to be on")
    terminal.press("q")
    terminal.wait_for("enter start or attach")
    terminal.press("q")
    assert terminal.wait_exit() == 0
    terminal.assert_restored()
    assert terminal.output.count(b"\x1b[22;2t") == terminal.output.count(b"\x1b[23;2t") == 1


def test_the_mouse_stays_off_if_config_says_so(user: User, open_terminal: OpenTerminal) -> None:
    folder = user.home / "config" / "torchconsole"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("[console]\nmouse = false\n")
    terminal = open_terminal()
    terminal.wait_for("enter start or attach")
    terminal.press("q")
    assert terminal.wait_exit() == 0
    assert b"\x1b[?1003h" not in terminal.output

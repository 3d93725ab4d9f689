"""The console in terminals of different kinds: colors, signs, the background, and what it leaves behind."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.support.compared_runs import add_compared_run
from tests.support.program_user import User
from tests.support.pseudo_terminal import Terminal

OpenTerminal = Callable[..., Terminal]

READY = "q quit"
SGR = re.compile(rb"\x1b\[([0-9;]*)m")
LIGHT = b"48;2;251;250;247"
WHITE = "\x1b]11;rgb:ffff/ffff/ffff\x1b\\"
ATTRIBUTES = "\x1b[?62;4c"


def color_kinds(output: bytes) -> set[str]:
    """Return which kinds of colors a program has written: truecolor, 256, 16."""
    kinds = set()
    for codes in SGR.findall(output):
        numbers = codes.decode().split(";")
        if "38;2" in codes.decode() or "48;2" in codes.decode():
            kinds.add("truecolor")
        elif "38;5" in codes.decode() or "48;5" in codes.decode():
            kinds.add("256")
        elif any(re.fullmatch(r"[349][0-7]|10[0-7]", number) for number in numbers):
            kinds.add("16")
    return kinds


KINDS = pytest.mark.parametrize(
    ("env", "kinds", "is_ascii"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, {"truecolor"}, False),
        ({"TERM": "xterm-256color"}, {"256"}, False),
        ({"TERM": "screen-256color"}, {"256"}, False),
        ({"TERM": "xterm"}, {"16"}, False),
        ({"TERM": "linux"}, {"16"}, True),
        ({"TERM": "xterm-256color", "LANG": "C"}, {"256"}, True),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": "1"}, set(), False),
    ],
    ids=["truecolor", "xterm-256color", "screen-256color", "xterm", "linux", "LANG=C", "NO_COLOR"],
)


@KINDS
def test_the_menu_is_drawn_with_what_the_terminal_has(
    user: User, open_terminal: OpenTerminal, env: dict[str, str], kinds: set[str], is_ascii: bool
) -> None:
    user.env |= env
    terminal = open_terminal()
    terminal.wait_for(READY)
    terminal.press("j")
    terminal.press("?")
    terminal.wait_for("esc closes")
    terminal.press("\x1b")
    terminal.wait_gone("esc closes")
    assert color_kinds(terminal.output) == kinds
    assert terminal.text.isascii() == is_ascii
    terminal.press("q")
    assert terminal.wait_exit() == 0
    terminal.assert_restored()


@KINDS
def test_a_run_is_drawn_with_what_the_terminal_has(
    user: User, open_terminal: OpenTerminal, env: dict[str, str], kinds: set[str], is_ascii: bool
) -> None:
    user.env |= env
    user.runs_dir.mkdir(parents=True, exist_ok=True)
    run = add_compared_run(user.runs_dir, "run", "", 6, total_steps=600, step=600).path.name
    terminal = open_terminal("attach", run, rows=40, columns=120)
    terminal.wait_for("loss", "accuracy", "log", "q leave")
    terminal.press("c")
    terminal.wait_for("c back")
    assert color_kinds(terminal.output) == kinds
    assert terminal.text.isascii() == is_ascii
    codes = {code for found in SGR.findall(terminal.output) for code in found.decode().split(";")}
    assert kinds != {"16"} or not codes & {"34", "44", "31", "41"}, "navy, or red for validation"


def test_the_theme_is_the_one_for_the_background_and_keys_typed_meanwhile_count(
    user: User, open_terminal: OpenTerminal
) -> None:
    user.env |= {"COLORTERM": "truecolor"}
    terminal = open_terminal()
    terminal.press(f"{WHITE}?{ATTRIBUTES}")  # it is there when the console asks, and so is the key
    terminal.wait_for("esc closes")
    assert LIGHT in terminal.output
    terminal.press("\x1b")
    terminal.wait_gone("esc closes")
    terminal.press("q")
    assert terminal.wait_exit() == 0
    terminal.assert_restored()


def test_a_late_answer_is_no_key_and_is_remembered(user: User, open_terminal: OpenTerminal) -> None:
    user.env |= {"COLORTERM": "truecolor"}
    terminal = open_terminal()
    terminal.wait_for(READY)
    assert LIGHT not in terminal.output
    terminal.press(f"{WHITE}{ATTRIBUTES}/")
    terminal.wait_for("search names")
    terminal.press("\x1b")
    terminal.press("\x03")
    assert terminal.wait_exit() == 0
    terminal = open_terminal()
    terminal.wait_for(READY)
    assert LIGHT in terminal.output


def test_what_is_wrong_in_the_users_settings_is_shown_and_the_users_keys_work(
    user: User, open_terminal: OpenTerminal
) -> None:
    folder = user.home / "config" / "torchconsole"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('[console]\nthme = "x"\n[keys]\nhelp = "b"\n')
    terminal = open_terminal(columns=120)
    terminal.wait_for("b help", "'theme'?")  # the path decides where the message is wrapped
    terminal.press("b")
    terminal.wait_for("esc closes")

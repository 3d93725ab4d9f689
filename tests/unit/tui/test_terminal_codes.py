"""Codes for title, notification and clipboard: which a terminal gets, and how tmux passes them on."""

from __future__ import annotations

import base64

import pytest

from torchconsole.tui import terminal_codes as codes


@pytest.mark.parametrize(
    ("env", "names"),
    [
        ({"TERM": "xterm-256color"}, ["OSC 9", "OSC 777"]),
        ({"TERM": "xterm-kitty"}, ["OSC 9"]),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, ["OSC 9"]),
        ({"TERM": "foot"}, ["OSC 777"]),
        ({"TERM": "rxvt-unicode-256color"}, ["OSC 777"]),
    ],
)
def test_a_terminal_that_knows_both_codes_gets_one(env: dict[str, str], names: list[str]) -> None:
    assert list(codes.desktop_codes("torchconsole", "done", env)) == names


def test_a_notification_cannot_contain_codes_or_more_fields() -> None:
    found = codes.desktop_codes("a;b", "x\x1b]2;evil\x07\n;y" + "z" * 1000, {"TERM": "xterm"})
    assert found["OSC 777"].startswith("\x1b]777;notify;a,b;x\\x1b]2;evil\\x07 ;yzz")
    assert [code.count("\x1b") for code in found.values()] == [1, 1]
    assert max(map(len, found.values())) < 300


@pytest.mark.parametrize("env", [{"TMUX": "/tmp/s,1,0", "TERM": "screen"}, {"TERM": "tmux-256color"}])
def test_tmux_passes_codes_on_with_their_escapes_doubled(env: dict[str, str]) -> None:
    assert codes.passed_through("\x1b]9;x\x07", env) == "\x1bPtmux;\x1b\x1b]9;x\x07\x1b\\"
    assert codes.desktop_codes("a", "b", env)["OSC 9"].startswith("\x1bPtmux;")


def test_a_text_is_copied_by_the_terminal_and_in_tmux_by_either_way_that_it_allows() -> None:
    encoded = base64.b64encode("Größe\n".encode()).decode()
    assert codes.clipboard("Größe\n", {"TERM": "xterm"}) == f"\x1b]52;c;{encoded}\x07"
    assert codes.clipboard("Größe\n", {"TERM": "tmux"}) == (
        f"\x1b]52;c;{encoded}\x07\x1bPtmux;\x1b\x1b]52;c;{encoded}\x07\x1b\\"
    )


def test_the_linux_console_gets_no_title() -> None:
    assert not codes.can_show_title({"TERM": "linux"})
    assert codes.can_show_title({"TERM": "screen"})
    assert codes.title("50% \x07 " + "x" * 500).count("\x07") == 1

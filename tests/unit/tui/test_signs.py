"""ASCII stand-ins: which terminals need them, and what stands for each sign."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color

from torchconsole.tui.line_filters import AsciiFilter
from torchconsole.tui.signs import ascii_encoding, drawn_in_ascii, must_be_asked, stand_in


@pytest.mark.parametrize(
    ("environ", "encoding"),
    [
        ({}, None),  # a container
        ({"TERM": "xterm-256color", "LANG": "en_US.UTF-8"}, None),
        ({"LANG": "de_DE.utf8@euro"}, None),
        ({"LC_ALL": "C.UTF-8", "LANG": "C"}, None),
        ({"LANG": "C"}, "ascii"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "POSIX"}, "ascii"),
        ({"LANG": "en_US.UTF-8", "LC_CTYPE": "C"}, "ascii"),
        ({"LANG": "de_DE"}, "latin-1"),
        ({"LANG": "ja_JP.eucJP"}, "eucJP"),
        ({"TERM": "linux", "LANG": "C.UTF-8"}, "utf-8"),
        ({"TERM": "linux-16color"}, "utf-8"),
    ],
)
def test_the_locale_and_the_linux_console_ask_for_ascii(
    environ: dict[str, str], encoding: str | None
) -> None:
    assert ascii_encoding(environ) == encoding


@pytest.mark.parametrize(
    ("signs", "ascii"),
    [
        ("●○‖✓✗■◐★◆▼↺▲•→━╸─│┊", "*o=vx#o*+v@^o>=--|:"),
        ("╭╮╰╯┌┐└┘├┤", "+" * 10),
        ("▁▂▃▄▅▆▇█", "._-=+*%#"),
        ("⠉⠒⠤⣀⣿⡇⢸⠁⡀⠀", "'--.||" + "|'. "),
    ],
)
def test_each_sign_has_a_stand_in(signs: str, ascii: str) -> None:
    assert "".join(map(stand_in, signs)) == ascii


def test_every_character_keeps_its_width() -> None:
    ranges = ((0xA1, 0x250), (0x370, 0x400), (0x2000, 0x2BFF), (0x3041, 0x3060), (0xAC00, 0xAC10))
    for char in (chr(code) for start, end in ranges for code in range(start, end)):
        assert len(drawn_in_ascii(char)) == cell_len(char) or not char.isprintable(), hex(ord(char))


def test_letters_stay_where_the_encoding_has_them() -> None:
    def drawn(text: str, encoding: str) -> str:
        (segment,) = AsciiFilter(encoding).apply([Segment(text)], Color(0, 0, 0))
        return segment.text

    assert drawn("Käse → 中 ●", "utf-8") == "Käse > 中 *"
    assert drawn("Käse → 中 ●", "latin-1") == "Käse > ?? *"
    assert drawn("Käse → 中 ●", "ascii") == "K?se > ?? *"
    assert drawn("Käse", "an encoding that Python lacks") == "K?se"


@pytest.mark.parametrize(
    ("environ", "asked"),
    [
        ({}, True),
        ({"LANG": "ja_JP.UTF-8"}, True),
        ({"LC_ALL": "zh_TW.UTF-8", "LANG": "C"}, True),
        ({"LANG": "en_US.UTF-8"}, False),
        ({"LANG": "C"}, False),
    ],
)
def test_where_only_the_terminal_knows_it_is_asked(environ: dict[str, str], asked: bool) -> None:
    assert must_be_asked(environ) == asked

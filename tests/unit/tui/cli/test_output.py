"""The standard streams of a command: encodings without our characters, warnings, and the last net."""

from __future__ import annotations

import gc
import io
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from torchconsole.engine.run import registry
from torchconsole.tui import cli
from torchconsole.tui.cli.output import CELLS, ESCAPE, WarningLines, prepare_streams, print_colored


@pytest.fixture(autouse=True)
def prepared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Prepare this process as a command, and undo it after the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for module, name in ((threading, "excepthook"), (sys, "unraisablehook")):
        monkeypatch.setattr(module, name, getattr(module, name))
    prepare_streams()
    yield
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, WarningLines)]:
        root.removeHandler(handler)


def encoded(text: str, encoding: str, errors: str) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors)
    stream.write(text)
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "ascii", "latin"),
    [
        ("lr 0.1 → 0.2 · 3 ≥ 2…", "lr 0.1 -> 0.2 * 3 >= 2...", "lr 0.1 -> 0.2 · 3 >= 2..."),
        ("Käse 中", "K\\u00e4se \\u4e2d", "Käse \\u4e2d"),
        ("a\udcffb", "a\\xffb", "a\\xffb"),
        ("┌─┐ ⣀", "+-+ .", "+-+ ."),
    ],
)
def test_what_an_encoding_lacks_is_replaced(text: str, ascii: str, latin: str) -> None:
    assert encoded(text, "ascii", ESCAPE) == ascii
    assert encoded(text, "latin-1", ESCAPE) == latin


@pytest.mark.parametrize("text", ["┌─┐│█▇⣀○●◉ ✓✗", "Käse", "0.1 → 0.2 …", "≥±°"])
def test_on_the_screen_a_replacement_has_as_many_cells(text: str) -> None:
    assert len(encoded(text, "ascii", CELLS)) == len(text)
    assert encoded("中e\N{COMBINING ACUTE ACCENT}.", "ascii", CELLS) == "??e."


def test_a_warning_is_one_line_and_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        logging.getLogger("any").warning("a\nlong \x1b[31mwarning")
    assert capsys.readouterr().err == "torchconsole: warning: a long \\x1b[31mwarning\n"


def run_main(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(registry, "list_runs", fail)
    monkeypatch.setattr(sys, "argv", ["torchconsole", "runs"])
    return cli.main()


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("nothing"), RecursionError(), ExceptionGroup("a", [KeyError()])]
)
def test_no_traceback_reaches_the_user(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run_main(monkeypatch, error) == 70
    (line,) = capsys.readouterr().err.splitlines()
    (file,) = (tmp_path / "state" / "torchconsole" / "crashes").iterdir()
    assert line.startswith(f"torchconsole: error: unexpected error: {type(error).__name__}")
    assert line.endswith(f"; its traceback is in {file}")


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), 130), (BrokenPipeError(), 1), (OSError(5, "gone", "x"), 1)]
)
def test_what_is_no_bug_keeps_its_status(
    error: BaseException, status: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run_main(monkeypatch, error) == status
    assert not (tmp_path / "state").exists()


def test_errors_of_threads_and_destructors_are_lines_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    class Fragile:
        def __del__(self) -> None:
            raise ValueError("in a destructor")

    def fail() -> None:
        raise ValueError("in a thread")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    Fragile()
    gc.collect()
    lines = capsys.readouterr().err.splitlines()
    assert "a thread ended: ValueError: in a thread; its traceback is in " in lines[0]
    assert "ValueError: in a destructor; its traceback is in " in lines[1]
    assert len(lines) == 2


@pytest.mark.parametrize("plain", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_color_of_ours_reaches_a_terminal_and_one_of_a_text_does_not(
    plain: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in plain.items():
        monkeypatch.setenv(name, value)
    written = io.BytesIO()
    terminal = io.TextIOWrapper(written, encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", terminal)
    prepare_streams()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_colored("hint \x1b[31m", "1;36")
    sys.stdout.flush()
    text = "hint \\x1b[31m"
    assert written.getvalue().decode() == (text if plain else f"\x1b[1;36m{text}\x1b[0m")

"""An app that copies, uses the mouse or not, and tells in the terminal what happens to runs out of view."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TypeVar

from textual.screen import Screen

from torchconsole.engine.text import printable
from torchconsole.tui import terminal_codes
from torchconsole.tui.attention import PROGRAM, Attention, SeenRun, window_title
from torchconsole.tui.keys import FORM
from torchconsole.tui.textual_compat import TerminalApp
from torchconsole.tui.themed_app import ThemedApp, on_setting_changed
from torchconsole.tui.user_keys import key_named

Result = TypeVar("Result")

LOOK_SECONDS = 1.0
TITLE_SECONDS = 5.0
"""Least time between two titles that differ in numbers alone: each takes about 50 bytes."""

IDLE_SECONDS = 60.0
"""Without a key or the mouse for this long, nobody is taken to look at a terminal that tells no focus."""

SHOWN_CHARACTERS = 60


class AttentiveApp(ThemedApp[Result], TerminalApp[Result]):
    """Screens say which runs they show by `seen_runs`, widgets what `Y` copies by `text_to_copy`."""

    _title = ""
    _titled = ""
    """Folder of the run that the title is about: the one in view, or else the last one, while it is live."""

    def start_attention(self) -> None:
        """Look at the runs from now on."""
        self._attention = Attention()
        self.last_input = time.monotonic()
        self._title_status = ""
        self._title_set = -TITLE_SECONDS
        self.set_interval(LOOK_SECONDS, self._look)
        on_setting_changed(self, "mouse", call=lambda: self.set_mouse(self.config.mouse))
        self._look()

    def forget_screen(self) -> None:
        """Write everything again: another program may have set the title too."""
        self._title = ""
        super().forget_screen()

    def action_toggle_mouse(self) -> None:
        """Use the mouse, or leave it to the terminal, in which text can be selected then."""
        is_used = not self.config.mouse
        self.remember("mouse", is_used)
        name = "form_mouse" if FORM in getattr(self.screen, "SECTIONS", ()) else "mouse"
        off = f"mouse off: the terminal selects text; {key_named(self, name)} switches it on"
        self.notify("mouse on" if is_used else off, markup=False)

    def action_copy(self) -> None:
        """Copy the highlighted line, the value, the command or the path, whatever the focus is on."""
        nodes = (self.screen.focused or self.screen).ancestors_with_self
        texts = (node.text_to_copy() for node in nodes if hasattr(node, "text_to_copy"))
        text = next(filter(None, texts), "")
        if not text:
            self.notify("nothing to copy here", markup=False)
            return
        if len(text.encode(errors="replace")) > terminal_codes.MOST_COPIED:
            self.notify("too long to copy: terminals ignore more than 50 kB", severity="warning")
            return
        self.copy_to_clipboard(text)
        lines = text.count("\n")
        shown = f"{lines + 1} lines" if lines else printable(text)
        if len(shown) > SHOWN_CHARACTERS:
            shown = f"{shown[: SHOWN_CHARACTERS - 3]}..."
        self.notify(f"copied: {shown}", timeout=3, markup=False)

    def copy_to_clipboard(self, text: str) -> None:
        """Put a text into the clipboard of the machine that the terminal is shown on."""
        self.write_code(terminal_codes.clipboard(text))
        if terminal_codes.is_tmux():
            # tmux puts a text into the clipboard by itself, whatever its options allow to programs.
            self.run_worker(lambda: terminal_codes.give_to_tmux(text), thread=True)

    def _look(self) -> None:
        """Tell what has happened since the last look, and set the title."""
        if not self.config.notify_terminal:
            return
        runs, in_view = self._seen_runs()
        is_away = not self.app_focus or (not self.tells_focus and self.idle_seconds > IDLE_SECONDS)
        for text in self._attention.look(runs, in_view, is_away=is_away, now=time.monotonic()):
            self.write_code(terminal_codes.BELL)
            for code in terminal_codes.desktop_codes(PROGRAM, text).values():
                self.write_code(code)
            self.notify(printable(text), timeout=15, markup=False)
        self._titled = in_view or self._titled
        titled = next((run for run in runs if run.folder == self._titled), None)
        self._set_title(titled if titled and (in_view or titled.is_live) else None)

    def _seen_runs(self) -> tuple[list[SeenRun], str]:
        """Return what the screens know of runs, each once, and the folder of the run that is in view."""
        runs: dict[str, SeenRun] = {}
        in_view = ""
        for screen in reversed(self.screen_stack):
            shown = _runs_of(screen)
            if len(shown) == 1 and not runs and hasattr(screen, "shows_one_run"):
                in_view = shown[0].folder
            for run in shown:
                runs.setdefault(run.folder, run)
        return list(runs.values()), in_view

    def _set_title(self, run: SeenRun | None) -> None:
        title, status = window_title(run), run.status if run else ""
        now = time.monotonic()
        is_due = status != self._title_status or now - self._title_set >= TITLE_SECONDS
        if title != self._title and is_due and terminal_codes.can_show_title():
            self._title, self._title_status, self._title_set = title, status, now
            self.write_code(terminal_codes.title(title))


def _runs_of(screen: Screen[object]) -> list[SeenRun]:
    """Return the runs that a screen shows."""
    seen: Iterable[SeenRun] = screen.seen_runs() if hasattr(screen, "seen_runs") else ()
    return list(seen)

"""Copying, the mouse, and what the terminal is told about runs out of view."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textual.events import AppBlur

from tests.support.scripted import ScriptedRun, running
from tests.support.textual_compat import WrittenApp, notifications
from tests.support.watching import Console, Host
from torchconsole.engine.protocol import events as ev
from torchconsole.tui import attentive_app
from torchconsole.tui.attentive_app import AttentiveApp

COPIED = re.compile(r"\x1b\]52;c;([^\x07]*)\x07")


class AttentiveHost(WrittenApp, AttentiveApp[None], Host):
    """A run screen in an app that is attentive."""

    def on_mount(self) -> None:
        """Show the run screen."""
        self.push_screen(self.run_screen)
        self.start_attention()


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("TERM_PROGRAM", raising=False)
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.setattr(attentive_app, "LOOK_SECONDS", 0.02)


@asynccontextmanager
async def attentive(run: ScriptedRun) -> AsyncIterator[tuple[Console, AttentiveHost]]:
    app = AttentiveHost(run)
    async with app.run_test(headless=False, size=(100, 30)) as pilot:
        console = Console(run, app, pilot)
        await console.until(lambda: run.opened)
        await console.settle()
        yield console, app


def copied(app: AttentiveHost) -> list[str]:
    return [base64.b64decode(text).decode() for text in COPIED.findall(app.written)]


async def test_copying_on_the_screen_of_a_run_gives_the_command_that_attaches() -> None:
    async with attentive(running()) as (console, app):
        app.set_focus(None)
        await console.press("Y")
        assert copied(app) == ["torchconsole attach digits-cnn-20250615-150640"]
        text = "copied: torchconsole attach digits-cnn-20250615-150640"
        await console.until(lambda: notifications(app) == text)


async def test_the_title_shows_the_run_and_its_loss() -> None:
    async with attentive(running()) as (console, app):
        await console.until(lambda: "\x1b]2;6% loss " in app.written)
        assert "digits-cnn-20250615-150640\x07" in app.written
        console.run.emit(ev.RunFinished(status="finished", reason="all epochs done", step=92, epoch=4))
        await console.until(lambda: "\x1b]2;finished · digits-cnn" in app.written)
        assert "\x1b]777" not in app.written, "the run was in view"


async def test_the_end_of_a_run_is_told_when_the_terminal_has_lost_the_focus() -> None:
    async with attentive(running()) as (console, app):
        app.post_message(AppBlur())
        await console.until(lambda: not app.app_focus)
        console.run.emit(ev.RunFailed(reason="the loss was not finite at step 93"))
        await console.until(lambda: "\x1b]777;notify;torchconsole;run digits-cnn" in app.written)
        assert "\x07\x1b]9;run digits-cnn-20250615-150640 has diverged after step 92" in app.written
        await console.until(lambda: "has diverged" in notifications(app))


async def test_nothing_is_told_if_the_user_does_not_want_it() -> None:
    async with attentive(running()) as (console, app):
        app.config.notify_terminal = False
        before = len(app.written)
        app.post_message(AppBlur())
        console.run.emit(ev.RunFailed(reason="out of memory"))
        await console.shows("out of memory")
        await console.pilot.pause(0.1)
        assert "\x1b]" not in app.written[before:].replace("\x1b]22;default", "")

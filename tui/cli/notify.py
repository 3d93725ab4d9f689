"""`torchconsole notify`: how you are told about runs, and a test of each way."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from torchconsole.tui.cli.terminal import print_facts

SHOWN_SECONDS = 2.0
"""How long the window's title is the test's."""

INDENT = 16
HEADING, TEXT = "torchconsole", "this is a test of `torchconsole notify --test`"


def notify(
    test: Annotated[bool, typer.Option("--test", help="Try each way now, and report which fail.")] = False,
) -> int:
    """Show how you are told that a run has ended, and test it.

    You are told that a run has ended, failed, diverged, or has a new best that nobody watched.

    The console uses the terminal: its title, its bell, and its desktop notifications if the run's screen is
    not in view. A worker, also a detached one, uses the section [notify] of config.toml: `command` gets the
    run as JSON on its standard input, `webhook` is a URL that the JSON is sent to.
    """
    from torchconsole.engine.config.user_config import read_notify_config, user_config_file
    from torchconsole.engine.run.notification import encode, message, post, run_command
    from torchconsole.engine.run.record import BestValue, RunRecord

    config = read_notify_config()
    best = BestValue(metric="val/loss", value=0.1234, step=900)
    run = RunRecord("example", "/nowhere", status="finished", step=1380, total_steps=1380, best=best)
    example = message("test", run, {"val/loss": 0.1234})
    facts = [("config", str(user_config_file()))]
    facts += _terminal_facts(test) if config.terminal else [("terminal", "off: notify.terminal is false")]
    errors = {"command": "", "webhook": ""}
    if test and config.command:
        errors["command"] = run_command(config.command, encode(example))
    if test and config.webhook:
        errors["webhook"] = post(config.webhook, example)
    for key, error in errors.items():
        answer = (f"failed: {error}" if error else "works") if test else "set"
        facts.append((key, answer if getattr(config, key) else "not set"))
    print_facts(facts, INDENT)
    return 1 if any(errors.values()) else 0


def _terminal_facts(test: bool) -> list[tuple[str, str]]:
    """Describe the ways of the terminal, and use them if `test`."""
    from torchconsole.tui import terminal_codes as codes

    terminal = sys.__stderr__
    if terminal is None or not terminal.isatty():
        return [("terminal", "none: this command does not write to one")]
    desktop = codes.desktop_codes(HEADING, TEXT)
    ways = {"bell": codes.BELL, **desktop}
    if codes.can_show_title():
        ways = {"title": codes.SAVE_TITLE + codes.title(TEXT), **ways}
    if test:
        terminal.write("".join(ways.values()))
        terminal.flush()
        if "title" in ways:
            time.sleep(SHOWN_SECONDS)
            terminal.write(codes.RESTORE_TITLE)
            terminal.flush()
    state = "sent; not every terminal shows it" if test else "used"
    facts = [(way, "sent" if test and way not in desktop else state) for way in ways]
    return facts + ([("tmux", _tmux_advice())] if codes.is_tmux() else [])


def _tmux_advice() -> str:
    from torchconsole.tui.terminal_codes import tmux_option

    allowed = tmux_option("allow-passthrough")
    if allowed in ("on", "all"):
        return f"passes OSC 9 and 777 on (allow-passthrough {allowed})"
    known = "" if allowed is None else f"allow-passthrough is {allowed}, so "
    return f"{known}OSC 9 and 777 do not pass: tmux set -g allow-passthrough on"

"""The console in a pseudo-terminal: menu, keys, the engine's answers, resizing, leaving."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable

import psutil
import pytest

from tests.support.program_user import ENDLESS, User
from tests.support.pseudo_terminal import Terminal
from torchconsole.tui.process import NICENESS

OpenTerminal = Callable[..., Terminal]
UP, DOWN, TAB, ESCAPE, CTRL_C, CTRL_Q, CTRL_Z = "\x1b[A", "\x1b[B", "\t", "\x1b", "\x03", "\x11", "\x1a"
F3, F6, F8 = "\x1bOR", "\x1b[17~", "\x1b[19~"
LEFT_SCREEN = b"\x1b[?1049l"
LARGEST_NICENESS = 19
KEY_BAR = re.compile(r"unpause.*leave.*help")


@pytest.fixture
def endless_preset(user: User) -> None:
    """Write the preset aa-endless: digits-mlp without an end and with a constant lr of 0.003."""
    shown = user.run("show", "digits-mlp", *ENDLESS, "--set", "title=Endless MLP", "--set", "schedule=[]")
    user.write_preset("aa-endless", shown.stdout)


@pytest.mark.usefixtures("endless_preset")
def test_a_run_is_started_from_the_menu_and_steered_with_every_key(
    user: User, open_terminal: OpenTerminal
) -> None:
    terminal = open_terminal()
    terminal.wait_for("aa-endless", "none yet", "enter start or attach")
    terminal.press(DOWN)
    terminal.wait_for("A small network learns")
    terminal.press(UP)
    terminal.wait_for("Two hidden layers", "aa-endless")
    terminal.press("\r")
    terminal.wait_for("aa-", "running", "space pause")

    terminal.press(" ")
    terminal.wait_for("paused", "applied at step")
    (run,) = user.runs()
    console, shell = psutil.Process(terminal.process.pid), psutil.Process()
    assert console.nice() == min(shell.nice() + NICENESS, LARGEST_NICENESS)
    assert psutil.Process(user.worker(run)).nice() == shell.nice()
    step = user.record(run)["step"]
    assert f"applied at step {step:,}" in terminal.text
    terminal.press("+")
    terminal.wait_for("0.003 -> 0.005")
    terminal.press("-")
    terminal.wait_for("-> 0.003 ")
    terminal.press("l")
    terminal.wait_for("Learning rate")
    terminal.press("x0.5\r")
    terminal.wait_for("0.003 -> 0.0015")
    terminal.press("s")
    terminal.wait_for(f"step-{step:08}")
    terminal.press("e")
    terminal.wait_for("val/accuracy")
    terminal.press("?")
    terminal.wait_for("Pause after the current step, or unpause")
    terminal.press(ESCAPE)
    terminal.wait_gone("Pause after the current step")
    terminal.press(" ")
    terminal.wait_for("running", "unpaused")
    terminal.wait(lambda: user.last_step(run) > step + 50, "steps after the pause")

    terminal.press("d")
    terminal.wait_for(run, "enter start or attach")
    assert user.record(run)["status"] == "running"
    terminal.press("q")
    assert terminal.wait_exit() == 0
    terminal.assert_restored()
    assert f"run {run} is still running: torchconsole attach {run}" in terminal.final_output


@pytest.mark.usefixtures("endless_preset")
def test_a_run_is_attached_from_the_list(user: User, open_terminal: OpenTerminal) -> None:
    run = user.start(preset="aa-endless")
    terminal = open_terminal(rows=40, columns=120)
    terminal.wait_for("running", run)
    terminal.press(TAB + "\r")
    terminal.wait_for(run[-4:], "running", "space pause")
    terminal.press(CTRL_C)
    terminal.wait_for(f"Leave {run}?")
    terminal.press("x")
    terminal.wait_for("stopped", "enter start or attach")
    terminal.press(CTRL_Q)
    assert terminal.wait_exit() == 0
    terminal.assert_restored()


def test_train_opens_the_console_on_the_run(user: User, open_terminal: OpenTerminal) -> None:
    terminal = open_terminal("train", "digits-mlp", *ENDLESS)
    terminal.wait_for("running", "space pause")
    (run,) = user.runs()
    terminal.press("q")
    terminal.wait_for(f"Leave {run}?", "keep the run running")
    terminal.press("d")
    terminal.wait_for("enter start or attach", run)
    terminal.press("q")
    assert terminal.wait_exit() == 0
    terminal.assert_restored()
    assert terminal.final_output.strip() == f"run {run} is still running: torchconsole attach {run}"

    attached = open_terminal("attach")
    attached.wait_for(run[-4:], "running")
    attached.press("x")
    attached.wait_for(f"Stop {run}?")
    attached.press("y")
    attached.wait_for("stopped at step")
    attached.press("q")
    attached.wait_for("enter start or attach")
    attached.press("q")
    assert attached.wait_exit() == 0
    attached.assert_restored()
    assert f"run {run} stopped after step" in attached.final_output

    recorded = open_terminal("attach", run)
    recorded.wait_for(run[-4:], "stopped", "loss")
    recorded.press("q")
    recorded.wait_for("enter start or attach")
    recorded.press("q")
    assert recorded.wait_exit() == 0


def test_ctrl_z_suspends_the_console_and_the_run_continues(user: User, open_terminal: OpenTerminal) -> None:
    terminal = open_terminal("train", "digits-mlp", *ENDLESS)
    terminal.wait_for("running", "space pause")
    (run,) = user.runs()
    console = psutil.Process(terminal.process.pid)
    terminal.press(CTRL_Z)
    terminal.wait(lambda: console.status() == psutil.STATUS_STOPPED, "the console to be suspended")
    terminal.wait(lambda: LEFT_SCREEN in terminal.output, "the shell's screen")
    step = user.last_step(run)
    terminal.wait(lambda: user.last_step(run) > step, "the run to continue")
    terminal.screen.reset()
    console.send_signal(signal.SIGCONT)
    terminal.wait_for("running", "space pause", "q leave")
    terminal.press("d")
    terminal.wait_for("enter start or attach")
    terminal.press("q")
    assert terminal.wait_exit() == 0
    terminal.assert_restored()


def test_the_console_adapts_to_the_size_of_the_window(user: User, open_terminal: OpenTerminal) -> None:
    terminal = open_terminal("train", "digits-mlp", *ENDLESS)
    terminal.wait_for("running", "space pause", "metrics", "leave")
    terminal.press(" ")
    terminal.wait_for("paused", "unpause")
    for rows, columns in ((40, 120), (24, 80), (50, 200), (24, 80)):
        terminal.resize(rows, columns)
        terminal.wait(lambda: KEY_BAR.search(terminal.screen.display[-1]), f"the key bar at row {rows}")
        terminal.wait_for("loss", "metrics", "paused")
    terminal.press(" ")
    terminal.wait_for("running")


def test_a_dead_worker_is_reported_and_can_be_resumed(user: User, open_terminal: OpenTerminal) -> None:
    terminal = open_terminal("train", "digits-mlp", *ENDLESS)
    terminal.wait_for("running", "space pause")
    terminal.press("s")
    terminal.wait_for("saved step-")
    (run,) = user.runs()
    os.kill(user.worker(run), signal.SIGKILL)
    terminal.wait_for("lost", "killed by SIGKILL", "resume")
    terminal.press("r")
    terminal.wait_for("running")
    terminal.press("d")
    terminal.wait_for("enter start or attach")
    terminal.press("q")
    assert terminal.wait_exit() == 0
    assert "is still running" in terminal.final_output


def test_the_error_of_a_failed_run_is_printed_after_the_console(
    user: User, open_terminal: OpenTerminal
) -> None:
    terminal = open_terminal("train", "imagefolder-finetune")
    terminal.wait_for("failed", "there is no folder")
    terminal.press("q")
    terminal.wait_for("not started", "enter start or attach")
    terminal.press("q")
    assert terminal.wait_exit() == 2
    terminal.assert_restored()
    assert terminal.final_output.startswith("torchconsole: error: ")
    assert "there is no folder" in terminal.final_output


def preview(terminal: Terminal) -> str:
    """Return what stands at the right of the menu without white space: a path determines its line breaks."""
    return "".join("".join(line.rpartition("││")[2].split()) for line in terminal.text.splitlines()).replace(
        "│", ""
    )


def test_broken_and_hostile_presets_do_no_harm_to_the_menu(user: User, open_terminal: OpenTerminal) -> None:
    user.write_preset("aa-broken", "title = ")
    user.write_preset("ab-wrong", 'title = "[red]Wrong\\u001b[2J"\n[data]\nname = "digits"\n')
    terminal = open_terminal(rows=40, columns=120)
    terminal.wait_for("aa-broken", "cannot be read", r"[red]Wrong\x1b[2J", "digits-mlp")
    terminal.press("\r")
    terminal.wait_for("not started", "missing")
    terminal.press(DOWN + "\r")
    terminal.wait(lambda: "isnotvalidTOML" in preview(terminal), "the reason")
    assert not user.runs()
    terminal.press("q")
    assert terminal.wait_exit() == 0
    terminal.assert_restored()


def set_epochs(terminal: Terminal) -> None:
    """Set training.epochs in the form by the list of all keys."""
    terminal.wait_for("epochs", "no errors")
    terminal.press(F3)
    terminal.wait_for("─ keys ─")
    terminal.press("training.epochs=2\r")
    terminal.wait_for("was 10", "modified: 1 setting", "no errors")


def test_a_form_with_user_code_starts_a_run_and_saves_a_preset(
    user: User, open_terminal: OpenTerminal
) -> None:
    user.write_preset("aa-mine", 'title = "My net"\n[data]\nname = "digits"\n[model]\nname = "net.py:Net"\n')
    (user.folder / "presets" / "net.py").write_text(
        "import torch\n\n\n"
        "class Net(torch.nn.Sequential):\n"
        "    def __init__(self) -> None:\n"
        "        super().__init__(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
    )
    terminal = open_terminal()
    terminal.wait_for("aa-mine", "none yet")
    terminal.press("e")
    set_epochs(terminal)
    terminal.press(F6)
    terminal.wait_for("Do you trust", "class Net(torch.nn.Sequential)")
    terminal.press("y")
    terminal.wait_for("2/2", "finished")
    terminal.press("q")
    terminal.wait_for("aa-mine", "enter start or attach")
    terminal.press("e")
    terminal.wait_for("settings of aa-mine")
    terminal.press(ESCAPE)
    terminal.wait_for("enter start or attach")
    terminal.press("\te")
    set_epochs(terminal)
    terminal.press(F8)
    terminal.wait_for("Save as a preset")
    terminal.press("mine-2\r")
    terminal.wait_for("─ mine-2 ─")
    saved = user.home / "config" / "torchconsole" / "presets" / "mine-2.toml"
    assert f'name = "{user.folder}/presets/net.py:Net"' in saved.read_text()
    assert user.run("check", "mine-2").returncode == 0
    terminal.press(ESCAPE)
    terminal.wait_for("mine-2", "enter start or attach")
    terminal.press("q")
    assert terminal.wait_exit() == 0
    terminal.assert_restored()


def test_a_refused_start_leaves_no_run_in_the_list(user: User, open_terminal: OpenTerminal) -> None:
    terminal = open_terminal()
    terminal.wait_for("demo", "none yet")
    terminal.press("/imagefolder-f\r")
    terminal.wait_gone("digits-cnn")
    terminal.press("\r")
    terminal.wait_for("data.root", "f6 start")
    terminal.press(F6)
    terminal.wait_for("failed", "there is no folder")
    terminal.press("q")
    terminal.wait_for("not started", "there is no folder", "f6 start")
    terminal.press(ESCAPE)
    terminal.wait_for("none yet", "enter start or attach")
    assert not user.runs()
    terminal.press("q")
    assert terminal.wait_exit() == 0

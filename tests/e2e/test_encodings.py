"""Terminals and locales whose encoding lacks characters: readable replacements, and no traceback."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.support.program_user import User
from tests.support.pseudo_terminal import Terminal

C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LATIN_1 = {"PYTHONIOENCODING": "latin-1"}

CODE = """
import torch
print("hällo → 中")
class Net(torch.nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs.flatten(1))
"""

PRESET = """
title = "Prüfung 中 → ≥ …"
extends = "digits-mlp"
[model]
name = "nétz.py:Net"
in_features = 64
out_features = 10
[training]
epochs = 1
"""


@pytest.fixture(params=[C_LOCALE, LATIN_1], ids=["C", "latin-1"])
def encoding(request: pytest.FixtureRequest, user: User) -> str:
    """The encoding of a user's terminal, in a folder that it cannot write."""
    user.folder = user.home / "Käse 中"
    user.runs_dir = user.folder / "runs"
    user.folder.mkdir()
    user.env |= request.param
    user.write_preset("prüf", PRESET)
    (user.folder / "presets" / "nétz.py").write_text(CODE)
    return "ascii" if request.param is C_LOCALE else "latin-1"


def test_commands_print_replacements(user: User, encoding: str) -> None:
    shown = {"ascii": "Pr\\u00fcfung \\u4e2d -> >= ...", "latin-1": "Prüfung \\u4e2d -> >= ..."}[encoding]

    def run(*arguments: str, status: int = 0) -> str:
        done = user.run(*arguments, encoding=encoding)
        assert done.returncode == status, done.stderr
        return str(done.stdout + done.stderr)

    assert shown in run("presets")
    assert shown in run("show", "prüf")
    assert "finished after step" in run("train", "prüf", "--trust", "--headless")
    (name,) = user.runs()
    assert name in run("runs")
    assert json.loads(run("runs", "--json"))[0]["preset"] == "prüf"
    for command in ("events", "checkpoints"):
        assert run(command, name)
    assert "\\u4e2d" in run("show", "中…", status=2)
    log = (user.runs_dir / name / "worker.log").read_text("utf-8")
    assert "hällo → 中" in log


def test_the_console_is_drawn_with_what_the_encoding_has(
    user: User, encoding: str, open_terminal: Callable[..., Terminal]
) -> None:
    terminal = open_terminal(columns=120, rows=30)
    terminal.wait_for("presets", "Pr", "none yet")
    terminal.output.decode(encoding)
    assert b"\xe2" not in terminal.output, "no UTF-8"
    terminal.process.send(b"/\xe9")  # as a Latin-1 keyboard sends it: no UTF-8
    terminal.wait_for("no preset matches")
    terminal.press("\x1b")
    terminal.wait_for("Classify images")
    terminal.press("q")
    assert terminal.wait_exit() == 0
    terminal.assert_restored()

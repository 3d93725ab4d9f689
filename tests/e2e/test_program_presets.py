"""Presets that run a program of the user's: what it tells of its arguments, and how it is started."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.program_user import User
from tests.support.programs import PROGRAMS

pytestmark = pytest.mark.timeout(300)

RAN_ON = "\nopen('ran-on', 'w').close()\n"
"""What follows in a program is not to be run when its arguments are asked for."""


def check(user: User, source: str, *args: str) -> tuple[int, dict[str, Any], str]:
    """Ask a program for its arguments; return the exit status, the answer and the error."""
    (user.folder / "train.py").write_text(source + RAN_ON)
    presets = user.folder / "presets"
    presets.mkdir(exist_ok=True)
    words = json.dumps(list(args), ensure_ascii=False)
    (presets / "own.toml").write_text(f'[script]\nfile = "train.py"\nargs = {words}\n')
    done = user.run("check", "own", "--trust", "--json")
    assert not (user.folder / "ran-on").exists()
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def given(answer: dict[str, Any]) -> dict[str, str | None]:
    return {each["key"]: each["given"] for each in answer["arguments"]}


ARGPARSE = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("data")
parser.add_argument("--lr", type=float, default=0.1)
"""
CLICK = """
import click
@click.command()
@click.argument("data")
@click.option("--lr", type=float, default=0.1)
@click.option("--amp/--no-amp", default=True)
@click.option("--net", type=click.Choice(["cnn", "mlp"]), default="cnn")
def main(**given):
    pass
main()
"""
TYPER = """
import enum, typer
class Net(str, enum.Enum):
    cnn = "cnn"
    mlp = "mlp"
def main(data: str, lr: float = 0.1, amp: bool = True, net: Net = Net.cnn):
    pass
typer.run(main)
"""
STAGES = """
import argparse
first = argparse.ArgumentParser(add_help=False)
first.add_argument("--lr", type=float)
defaults = first.parse_args([])
found, left = first.parse_known_args()
second = argparse.ArgumentParser(parents=[first])
second.add_argument("data")
second.parse_args(left)
"""
COMPLETED = """
import argparse, sys
class Parser(argparse.ArgumentParser):
    def parse_known_args(self, args=None, namespace=None):
        for name in ("data", "--of-a-file"):
            self.add_argument(name)
        self.add_argument("--lr", type=float, default=0.1)
        words = sys.argv[1:] if args is None else args
        return super().parse_known_args([*words, "--of-a-file", "1"], namespace)
Parser().parse_args()
"""


@pytest.mark.parametrize(
    ("source", "parser"),
    [
        (ARGPARSE + "parser.parse_args()", "argparse"),
        (ARGPARSE + "parser.parse_known_args()", "argparse"),
        (ARGPARSE + "def f():\n    return parser.parse_args()\nf()\nf()", "argparse"),
        (STAGES, "argparse"),
        (COMPLETED, "argparse"),
        (CLICK, "click"),
        (TYPER, "typer"),
    ],
    ids=["parse_args", "parse_known_args", "twice", "stages", "completed", "click", "typer"],
)
def test_a_program_tells_its_arguments_and_does_nothing_else(user: User, source: str, parser: str) -> None:
    status, answer, error = check(user, source, "my dätä", "--lr", "0.5")
    assert (status, error, answer["problem"]) == (0, "", "")
    assert answer["parser"] == parser
    assert {key: text for key, text in given(answer).items() if text} == {"data": "my dätä", "--lr": "0.5"}
    known = {each["key"]: each for each in answer["arguments"]}
    assert known["--lr"]["type"] == "number"
    if parser != "argparse":
        assert (known["--amp"]["kind"], known["--amp"]["default"]) == ("switch", "true")
        assert (known["--net"]["choices"], known["--net"]["default"]) == (["cnn", "mlp"], "cnn")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import sys\nsys.exit('needs a GPU')", "fails before it parses its arguments"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("input('name? ')", "a run has no keyboard"),
        ("def f(:", "SyntaxError"),
    ],
)
def test_a_program_that_fails_before_says_why(user: User, source: str, said: str) -> None:
    status, _, error = check(user, source)
    assert (status, said in error) == (2, True), error
    assert len(error.splitlines()) == 1


def test_fixed_words_are_no_arguments_of_the_program(user: User) -> None:
    source = ARGPARSE.replace('"data"', '"--data"') + "parser.parse_args([])\nimport torch\n"
    source += "torch.ones(1, requires_grad=True).backward()"
    status, answer, _ = check(user, source)
    assert (status, answer["parser"], answer["arguments"]) == (0, "", [])


def test_a_library_that_parses_first_does_not_hide_the_arguments(user: User) -> None:
    source = "import sys\nsys.prefix = sys.path[0] + '/lib'\nsys.path.append(sys.prefix)\nimport found\n"
    (user.folder / "lib").mkdir()
    (user.folder / "lib" / "found.py").write_text(
        'import argparse\nparser = argparse.ArgumentParser()\n'
        'parser.add_argument("--device")\nparser.parse_known_args()\n'
    )  # fmt: skip
    status, answer, _ = check(user, source + ARGPARSE + "parser.parse_args()", "x")
    assert (status, list(given(answer))) == (0, ["--device", "data", "--lr"])


def test_a_program_without_a_parser_is_ended_before_it_trains(user: User) -> None:
    source = PROGRAMS["tutorial"].source
    status, answer, _ = check(user, source, "--lr", "1")
    assert (status, answer["arguments"], answer["rest"]) == (0, [], ["--lr", "1"])
    assert "it begins to train without parsing arguments" in answer["remarks"][0]


def test_a_program_is_trained_by_the_name_of_its_preset(user: User) -> None:
    presets = user.folder / "presets"
    presets.mkdir()
    (presets / "train.py").write_text(PROGRAMS["argparse"].source)
    (presets / "own.toml").write_text('[script]\nfile = "train.py"\nargs = ["--epochs", "2"]\n')
    refused = user.run("train", "own", "--headless")
    assert refused.returncode == 2
    assert "What it imports is not covered" in refused.stderr
    done = user.run("train", "own", "--headless", "--trust")
    assert done.returncode == 0, done.stderr
    (folder,) = user.runs_dir.iterdir()
    record = json.loads((folder / "run.json").read_text())
    assert (record["preset"], record["status"], record["epoch"]) == ("own", "finished", 2)
    changed = user.run("train", "own", "--headless", "--set", 'script.args=["--epochs", "1"]')
    assert changed.returncode == 0, changed.stderr
    for command in ("summary", "show --lr", "train --device cpu"):
        name, *options = command.split()
        done = user.run(name, "own", *options)
        assert (done.returncode, "a program of yours" in done.stderr) == (2, True), done.stderr

"""The texts of a program's fields: which command line they give, and what is wrong with them."""

from __future__ import annotations

import pytest

from torchconsole.engine.config.program_arguments import Argument, Kind, argument_errors, command_line

LR = Argument(key="--lr", flags=["--lr"], type="number", default="0.1")
LAYERS = Argument(key="--layers", flags=["--layers"], kind="list", type="integer", least=1)
DATA = Argument(key="data", required=True)
OUT = Argument(key="out")


def option(key: str, kind: Kind = "value", **facts: object) -> Argument:
    return Argument(key=key, flags=[key], kind=kind, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("argument", "text", "words"),
    [
        (LR, "0.1", []),  # the default
        (LR, "", []),
        (LR, "0.2", ["--lr", "0.2"]),
        (LR, "-1e-3", ["--lr=-1e-3"]),
        (LR.model_copy(update={"joined": False}), "-1e-3", ["--lr", "-1e-3"]),
        (LR.model_copy(update={"required": True}), "0.1", ["--lr", "0.1"]),
        (option("--name"), "a b", ["--name", "a b"]),
        (option("--name"), "ü'x", ["--name", "ü'x"]),
        (option("--name"), "''", ["--name", ""]),
        (option("--name"), "' a'", ["--name", " a"]),
        (LAYERS, "1 2", ["--layers", "1", "2"]),
        (option("--tag", "repeated"), "'a b' c", ["--tag", "a b", "--tag", "c"]),
        (option("--tag", "repeated", least=1), "a -b", ["--tag", "a", "--tag=-b"]),
        (option("--amp", "flag", default="false"), "true", ["--amp"]),
        (option("--amp", "flag", default="false"), "false", []),
        (option("--ema", "switch", off=["--no-ema"], default="true"), "false", ["--no-ema"]),
        (option("--ema", "switch", off=["--no-ema"]), "true", ["--ema"]),
        (option("-v", "count", default="0"), "3", ["-v", "-v", "-v"]),
        (option("--resume", alone="auto"), "auto", ["--resume"]),
        (option("--resume", alone="auto"), "x.pt", ["--resume", "x.pt"]),
        (DATA, "my data", ["my data"]),
        (DATA, "-5", ["-5"]),
        (DATA, "-1e-3", ["--", "-1e-3"]),
        (DATA.model_copy(update={"joined": False}), "-5", ["--", "-5"]),  # click takes it for an option
        (DATA, "-x", ["--", "-x"]),
    ],
)
def test_a_text_becomes_words(argument: Argument, text: str, words: list[str]) -> None:
    assert command_line([argument], {argument.key: text}, []) == words


def test_an_option_without_its_word_takes_none_of_what_follows_it() -> None:
    resume = option("--resume", alone="auto")
    made = command_line([LR, resume], {"--lr": "1", "--resume": "auto"}, ["train"])
    assert made == ["--resume", "--lr", "1", "train"]


def test_a_list_takes_none_of_what_follows_it() -> None:
    texts = {"--lr": "1", "--layers": "1 2", "data": "x"}
    assert command_line([LR, LAYERS, DATA], texts, ["train", "--fast"]) == [
        "x", "--layers", "1", "2", "--lr", "1", "train", "--fast"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("argument", "text", "error"),
    [
        (LR, "fast", "--lr: must be a number, not 'fast'"),
        (LR, "1e-3", None),
        (LR, "nan", None),
        (option("--n", type="integer"), "1.5", "--n: must be an integer, not '1.5'"),
        (option("--n", type="integer"), "-3", None),
        (LAYERS, "1 b", "--layers: must be an integer, not 'b'"),
        (option("--b", "list", least=2, most=2), "1", "--b: takes 2 values, got 1"),
        (option("--b", "list"), "'a", "--b: a quote is not closed"),
        (option("--m", choices=["cnn", "mlp"]), "cn", "--m: cannot be 'cn', did you mean 'cnn'?"),
        (option("--m", choices=["cnn"], alone="x"), "x", None),
        (option("--m", choices=["cnn"]), "CNN", "--m: cannot be 'CNN', did you mean 'cnn'?"),
        (option("--m", choices=["cnn"], any_case=True), "CNN", None),
        (option("--m", choices=["1"], given="01"), "01", None),  # the parser tells whether it is right
        (option("--l", "list"), "a -b", "--l: cannot have '-b', which argparse takes for an option"),
        (option("--l", "list"), "-1e-3 -.5 '-a b'", None),
        (option("--l", "list", joined=False), "a -b", None),
        (option("--l", "repeated", least=1), "a -b", None),
        (option("--amp", "flag"), "yes", "--amp: must be true or false"),
        (option("-v", "count"), "many", "-v: must be a number from 0 to 99"),
        (DATA, "", "data: is required"),
        (option("--wd", required=True), "", "--wd: is required"),
    ],
)
def test_what_is_wrong_is_said_by_key(argument: Argument, text: str, error: str | None) -> None:
    assert list(argument_errors([argument], {argument.key: text}, [])) == ([error] if error else [])


def test_a_positional_argument_cannot_be_left_out_before_another() -> None:
    arguments = [Argument(key="first"), OUT]
    assert list(argument_errors(arguments, {"first": "", "out": "x"}, [])) == ["first: is needed before out"]


def test_arguments_exclude_each_other() -> None:
    both = [option(key, "flag", default="false", exclusive=0) for key in ("--adam", "--sgd")]
    given = {"--adam": "true", "--sgd": "true"}
    assert list(argument_errors(both, given, [])) == ["--sgd: excludes --adam: clear one of them"]
    none = dict.fromkeys(given, "false")
    assert list(argument_errors(both, none, [])) == []
    assert list(argument_errors(both, none, [0])) == ["--adam: one of --adam, --sgd is required"]

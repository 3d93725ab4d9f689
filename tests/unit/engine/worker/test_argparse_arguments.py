"""What argparse's parsers say of their arguments, and which words belong to which."""

from __future__ import annotations

import argparse
from enum import Enum
from pathlib import Path

import pytest

from torchconsole.engine.config.program_arguments import Argument, ProgramArguments, command_line
from torchconsole.engine.worker.argparse_arguments import describe_parsers, parser_problem


class Color(Enum):
    RED = "red"
    BLUE = "blue"


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description="Trains a net.")
    found.add_argument("data", help="its folder")
    found.add_argument("more", nargs="*")
    found.add_argument("--lr", "-l", type=float, default=0.1, help="default: %(default)s, 5%% of it")
    found.add_argument("--steps", type=int, default=3)
    found.add_argument("--betas", type=float, nargs=2, default=(0.9, 0.99))
    found.add_argument("--model", choices=["cnn", "mlp"], default="mlp")
    found.add_argument("--color", type=Color, choices=list(Color), default=Color.RED)
    found.add_argument("--amp", action="store_true")
    found.add_argument("--no-cuda", action="store_false", dest="cuda")
    found.add_argument("--ema", action=argparse.BooleanOptionalAction, default=True)
    found.add_argument("-v", "--verbose", action="count", default=0)
    found.add_argument("--resume", nargs="?", const="auto")
    found.add_argument("--tag", action="append")
    found.add_argument("--secret", help=argparse.SUPPRESS)
    found.add_argument("--pair", nargs=2, action="append")
    found.add_argument_group("decay").add_argument("--wd", type=float, required=True)
    either = found.add_mutually_exclusive_group(required=True)
    either.add_argument("--adam", action="store_true")
    either.add_argument("--sgd", action="store_true")
    return found


def described(*words: str) -> ProgramArguments:
    return describe_parsers([parser()], list(words))


def by_key(found: ProgramArguments) -> dict[str, Argument]:
    return {each.key: each for each in found.arguments}


def test_arguments_have_type_default_choices_and_help() -> None:
    found = described()
    known = by_key(found)
    assert (known["--lr"].type, known["--lr"].default) == ("number", "0.1")
    assert known["--lr"].help == "default: 0.1, 5% of it"
    assert known["data"].required
    assert not known["more"].required
    assert (known["--betas"].kind, known["--betas"].default, known["--betas"].most) == ("list", "0.9 0.99", 2)
    assert known["--model"].choices == ["cnn", "mlp"]
    assert (known["--color"].choices, known["--color"].default) == (["red", "blue"], "red")
    assert (known["--amp"].kind, known["--no-cuda"].help) == ("flag", "sets cuda to false")
    assert (known["--ema"].kind, known["--ema"].default) == ("switch", "true")
    assert (known["--wd"].group, known["--wd"].required) == ("decay", True)
    assert known["--adam"].exclusive == known["--sgd"].exclusive
    assert found.required_groups == [known["--adam"].exclusive]
    assert {"--secret", "--pair", "--help"} & known.keys() == set()
    assert found.remarks == ["--pair has no field: type it into script.args"]
    assert (found.parser, found.description) == ("argparse", "Trains a net.")


WORDS = [
    "my data", "x", "ü y", "--lr=-1e-3", "--betas", "0.1", "-0.2", "--amp", "-vv", "--tag", "a b", "--tag",
    "c", "--no-ema", "--resume", "--wd", "-1e-5", "--adam", "--pair", "1", "2", "--secret", "s", "--new", "5",
]  # fmt: skip


def test_words_are_found_again_in_their_fields_and_nothing_is_lost() -> None:
    found = described(*WORDS)
    given = {key: each.given for key, each in by_key(found).items() if each.given is not None}
    assert given == {
        "data": "my data", "more": "x 'ü y'", "--lr": "-1e-3", "--betas": "0.1 -0.2", "--amp": "true",
        "--verbose": "2", "--tag": "'a b' c", "--ema": "false", "--resume": "auto", "--wd": "-1e-5",
        "--adam": "true",
    }  # fmt: skip
    assert sorted(found.rest) == sorted(["--new", "5", "--pair", "1", "2", "--secret", "s"])


def test_a_command_line_made_of_the_fields_parses_to_the_same() -> None:
    found = described(*WORDS)
    texts = {each.key: each.original for each in found.arguments}
    made = command_line(found.arguments, texts, found.rest)
    again, _ = parser().parse_known_args(made)
    before, _ = parser().parse_known_args([word.replace("-1e-5", "-0.00001") for word in WORDS])
    assert vars(again) == vars(before)


def test_words_that_cannot_be_told_apart_are_all_kept() -> None:
    found = described("x", "--lr")
    assert found.rest == ["x", "--lr"]
    assert all(each.given is None for each in found.arguments)


def test_subcommands_are_named_and_their_words_stay_together() -> None:
    main = argparse.ArgumentParser()
    main.add_argument("--seed", type=int, default=0)
    commands = main.add_subparsers(dest="command")
    commands.add_parser("train").add_argument("--epochs", type=int)
    commands.add_parser("test")
    found = describe_parsers([main], ["--seed", "3", "train", "--epochs", "5"])
    assert found.remarks == [
        "subcommands (train, test) have no fields: type one with its arguments into script.args"
    ]
    assert by_key(found)["--seed"].given == "3"
    assert found.rest == ["train", "--epochs", "5"]


def test_parsers_of_two_stages_are_one_list() -> None:
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--config", default="")
    second = argparse.ArgumentParser(parents=[first])
    second.add_argument("--lr", type=float)
    found = describe_parsers([first, second], ["--config", "a.yaml", "--lr", "2"])
    assert {key: each.given for key, each in by_key(found).items()} == {"--config": "a.yaml", "--lr": "2"}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["x", "--wd", "1", "--adam"], ""),
        (["x", "--wd", "many", "--adam"], "argument --wd: invalid float value: 'many'"),
        (["--wd", "1", "--adam"], "the following arguments are required: data"),
        (["x", "--wd", "1", "--adam", "--sgd"], "argument --sgd: not allowed with argument --adam"),
        (["x", "--wd", "1", "--adam", "--neu"], "unrecognized arguments: --neu"),
    ],
)
def test_the_parser_itself_says_what_it_refuses(words: list[str], problem: str) -> None:
    found = parser_problem(parser(), words, knows_all=True)
    assert found.startswith(problem) if problem else not found


def test_a_help_text_that_argparse_cannot_print_is_shown_as_it_is() -> None:
    main = argparse.ArgumentParser()
    main.add_argument("--lr").help = "at 100 % of it"
    assert describe_parsers([main], []).arguments[0].help == "at 100 % of it"


def test_unusual_arguments_are_described_too(tmp_path: Path) -> None:
    main = argparse.ArgumentParser(prefix_chars="+-")
    main.add_argument("+x", type=lambda text: text.upper(), default=object())
    main.add_argument("--n", type=int, choices=range(1000))
    main.add_argument("--k", type=int, choices=[1, 2])
    main.add_argument("--log", type=argparse.FileType("w"))
    log = tmp_path / "log"
    log.write_text("kept")
    words = ["+x", "a", "--n", "5", "--log", str(log)]
    known = by_key(describe_parsers([main], words))
    assert (known["+x"].given, known["+x"].type, known["+x"].default) == ("a", "text", "")
    assert known["+x"].shown_default.startswith("<object")
    assert (known["--n"].given, known["--n"].choices, known["--k"].choices) == ("5", [], ["1", "2"])
    assert parser_problem(main, words, knows_all=True) == ""
    assert log.read_text() == "kept"


def test_words_that_are_given_several_times_are_all_kept() -> None:
    main = argparse.ArgumentParser()
    main.add_argument("--tags", nargs="+", action="extend", default=["first"])
    main.add_argument("--aug", action="append_const", const="flip", dest="augment")
    main.add_argument("-v", action="count", default=1)
    main.add_argument("--ema", "--average", "-e", action=argparse.BooleanOptionalAction)
    words = ["--tags", "a", "b", "--aug", "--tags", "c d", "--aug", "-e", "--no-average", "-v"]
    found = describe_parsers([main], words)
    known = by_key(found)
    assert {key: each.given for key, each in known.items()} == {
        "--tags": "a b 'c d'", "--aug": "2", "--average": "false", "-v": "1"
    }  # fmt: skip
    assert (known["--aug"].help, known["--tags"].shown_default) == ("adds flip each time", "first")
    assert (known["-v"].default, known["-v"].shown_default) == ("", "1")  # to which -v adds
    texts = {each.key: each.original for each in found.arguments}
    assert main.parse_args(command_line(found.arguments, texts, found.rest)) == main.parse_args(words)


def test_words_in_a_file_are_those_of_the_command_line(tmp_path: Path) -> None:
    main = argparse.ArgumentParser(
        prog="train.py", fromfile_prefix_chars="@", description="%(prog)s:\n\n 100 %"
    )
    main.add_argument("data")
    main.add_argument("--lr", type=float)
    (tmp_path / "common").write_text("--lr\n0.5\n")
    found = describe_parsers([main], [f"@{tmp_path / 'common'}", "here"])
    assert {key: each.given for key, each in by_key(found).items()} == {"data": "here", "--lr": "0.5"}
    assert (found.rest, found.description) == ([], "train.py: 100 %")
    assert describe_parsers([main], ["@missing", "here"]).arguments


def test_options_may_stand_between_the_words_of_an_intermixed_argument() -> None:
    main = argparse.ArgumentParser()
    main.add_argument("data", nargs="*")
    main.add_argument("--lr")
    words = ["a", "--lr", "1", "b"]
    found = describe_parsers([main], words, intermixed=True)
    assert parser_problem(main, words, knows_all=True, intermixed=True) == ""
    assert {key: each.given for key, each in by_key(found).items()} == {"data": "a b", "--lr": "1"}
    assert found.rest == []


def test_the_argument_whose_function_fails_is_named() -> None:
    main = argparse.ArgumentParser()
    main.add_argument("--net", "-n", type={"cnn": 1}.__getitem__)
    assert parser_problem(main, ["-n", "mlp"], knows_all=True) == "argument --net/-n: KeyError: 'mlp'"


def test_an_option_that_cannot_be_turned_off_is_a_flag() -> None:
    main = argparse.ArgumentParser()
    main.add_argument("-a", action=argparse.BooleanOptionalAction)
    found = describe_parsers([main], ["-a"])
    assert [(each.key, each.kind, each.given) for each in found.arguments] == [("-a", "flag", "true")]
    assert command_line(found.arguments, {"-a": "false"}, []) == []

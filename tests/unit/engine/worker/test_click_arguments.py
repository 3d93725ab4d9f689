"""What the parameters of click's and typer's commands say, and which words belong to which."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any

import click
import pytest
import typer

from torchconsole.engine.config.program_arguments import Argument, ProgramArguments, command_line
from torchconsole.engine.worker.click_arguments import command_problem, describe_command


class Net(Enum):
    CNN = "cnn-small"
    MLP = "mlp-small"


def command(*params: click.Parameter) -> click.Command:
    return click.Command("train", params=list(params))


def typer_command(function: Callable[..., None]) -> Any:
    app = typer.Typer()
    app.command()(function)
    return typer.main.get_command(app)


def by_key(found: ProgramArguments) -> dict[str, Argument]:
    return {each.key: each for each in found.arguments}


def made(found: ProgramArguments, **changed: str) -> list[str]:
    """The command line of the fields."""
    texts = {each.key: each.original for each in found.arguments} | {f"--{k}": v for k, v in changed.items()}
    return command_line(found.arguments, texts, found.rest)


def test_an_option_of_several_words_that_is_repeated_has_no_field() -> None:
    pairs = command(click.Option(["--pair"], nargs=2, multiple=True), click.Option(["--lr"]))
    words = ["--pair", "1", "2", "--lr", "3", "--pair", "3", "4"]
    found = describe_command(pairs, words, "click")
    assert found.remarks == ["--pair has no field: type it into script.args"]
    assert made(found) == ["--lr", "3", "--pair", "1", "2", "--pair", "3", "4"]


def test_an_option_may_stand_without_its_word() -> None:
    traced = command(click.Option(["--trace"], is_flag=False, flag_value="all"), click.Option(["--lr"]))
    found = describe_command(traced, ["--trace", "--lr", "3"], "click")
    assert (by_key(found)["--trace"].alone, by_key(found)["--trace"].given) == ("all", "all")
    assert made(found) == ["--trace", "--lr", "3"]
    assert made(found, trace="loss") == ["--trace", "loss", "--lr", "3"]


def test_options_may_stand_between_positional_words() -> None:
    mixed = command(click.Argument(["data"], nargs=-1), click.Option(["--lr"]))
    found = describe_command(mixed, ["a", "--lr", "3", "-", "b c"], "click")
    assert {key: each.given for key, each in by_key(found).items()} == {"data": "a - 'b c'", "--lr": "3"}


def test_choices_are_read_as_click_reads_them() -> None:
    net = click.Option(["--net"], type=click.Choice(Net, case_sensitive=False), default=Net.MLP)
    known = by_key(describe_command(command(net, click.Option(["--name"], default="UNSET")), [], "click"))
    assert (known["--net"].choices, known["--net"].default, known["--net"].any_case) == (
        ["CNN", "MLP"], "MLP", True
    )  # fmt: skip
    assert known["--name"].default == "UNSET"


def test_choices_are_read_as_typer_reads_them() -> None:
    def main(
        nets: Annotated[list[Net], typer.Option(case_sensitive=False)] = [Net.CNN],  # noqa: B006
        keep: Annotated[bool, typer.Option("--keep/--drop", "-k/-d")] = True,
    ) -> None:
        pass

    found = describe_command(typer_command(main), ["--nets", "MLP-small", "-d"], "typer")
    known = by_key(found)
    assert (known["--nets"].default, known["--nets"].any_case) == ("cnn-small", True)
    assert made(found) == ["--nets", "MLP-small", "--drop"]


def test_a_value_is_needed_unless_the_environment_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asks = command(
        click.Option(["--lr"], required=True, envvar="OWN_LR"),
        click.Option(["--name"], prompt=True, default="x", envvar=["OTHER", "OWN_NAME"]),
        click.Option(["--password"], prompt=True, prompt_required=False),
    )
    found = describe_command(asks, [], "click")
    assert [each.required for each in found.arguments] == [True, True, False]
    assert found.remarks == ["--name asks for its value, and a run has no keyboard: give it one"]
    assert made(found, lr="1", name="x") == ["--lr", "1", "--name", "x"]
    monkeypatch.setenv("OWN_LR", "1")
    monkeypatch.setenv("OWN_NAME", "y")
    found = describe_command(asks, [], "click")
    assert (found.remarks, command_problem(asks, [])) == ([], "")
    assert not any(each.required for each in found.arguments)


def test_a_group_without_a_command_is_refused_in_one_line() -> None:
    group = click.Group("own", commands={"fit": command()})
    assert command_problem(group, []) == "without arguments it only shows its help"

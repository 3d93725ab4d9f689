"""Finds the arguments of a program: `python -P -m torchconsole.engine.worker.arguments PRESET_FILE`.

The program runs as in a run, up to the place where it parses its arguments. There this process describes
the parser in JSON, as the last line on stdout, and ends. It also ends before a training step: a program that
gets that far has parsed nothing. If the program ends or fails before that, the exit status is 2 and the last
line is a JSON list of messages.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from threading import Timer
from typing import Any, NoReturn

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from torchconsole.engine.analysis.report_channel import keep_stdout, write_line
from torchconsole.engine.config.program_arguments import ProgramArguments
from torchconsole.engine.config.script import Script, read_script
from torchconsole.engine.config.script_presets import check_agreed_content
from torchconsole.engine.errors import TorchconsoleError, TrainingError
from torchconsole.engine.library.program import run_program
from torchconsole.engine.protocol.json_text import dump_json
from torchconsole.engine.user_folders import name_user
from torchconsole.engine.worker.argparse_arguments import describe_parsers, parser_problem
from torchconsole.engine.worker.click_arguments import command_problem, describe_command

AGAIN_SECONDS = 5.0
"""How long a program that has parsed a part of its arguments may take to parse the others."""

PARSE = ("parse_args", "parse_known_args", "parse_intermixed_args", "parse_known_intermixed_args")
NO_PARSER = (
    "it {} without parsing arguments with argparse, click or typer: what it takes can only be typed as a "
    "whole, into script.args"
)


class TypedWords(list[str]):
    """The words in sys.argv, also in a part of it: that tells them from a list that the program makes."""

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return TypedWords(found) if isinstance(index, slice) else found


class Finder:
    """Waits for the program to parse its arguments, and then ends this process."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._parsers: list[argparse.ArgumentParser] = []
        self._whole: argparse.ArgumentParser | None = None
        self._process = os.getpid()
        self._original = {name: getattr(argparse.ArgumentParser, name) for name in PARSE}

    def install(self) -> None:
        """Replace what parses arguments, and what trains, in this process or in others."""
        for name in PARSE:
            setattr(argparse.ArgumentParser, name, self._parsing(name))
        for name in ("click", "typer"):
            self._replace_main(name)

        def begins_to_train(*_: object, **__: object) -> NoReturn:
            self.give_up("begins to train")

        def starts_processes(*_: object, **__: object) -> NoReturn:
            self.give_up("starts processes")

        torch.multiprocessing.spawn = starts_processes  # type: ignore[attr-defined]
        torch.multiprocessing.start_processes = starts_processes  # type: ignore[attr-defined]
        register_optimizer_step_pre_hook(begins_to_train)
        torch.Tensor.backward = begins_to_train  # type: ignore[method-assign]

    def give_up(self, what_it_does: str) -> NoReturn:
        """Hand over what was found so far, although the program goes on to something else."""
        if self._parsers:
            self._hand_over_parsers(None)
        remark = NO_PARSER.format(what_it_does)
        self._hand_over(ProgramArguments(rest=self._script.args, remarks=[remark]))

    def _parsing(self, name: str) -> Callable[..., Any]:
        """Make what takes the place of one of the functions that parse."""
        original = self._original[name]

        def parse(
            parser: argparse.ArgumentParser, args: Sequence[str] | None = None, *rest: Any, **named: Any
        ) -> Any:
            caller = sys._getframe(1).f_code.co_filename
            if caller == argparse.__file__ or parser in self._parsers or not self._is_typed(parser, args):
                return original(parser, args, *rest, **named)
            if name == "parse_args" and _completes_itself(parser):
                self._whole = parser
                original(parser, args, *rest, **named)
            knows_all = "known" not in name or parser is self._whole
            self._parsers.append(parser)
            words = sys.argv[1:] if args is None else list(args)
            if knows_all or not _parses_again(caller, self._script.file):
                self._hand_over_parsers(words, knows_all=knows_all, intermixed="intermixed" in name)
            try:
                found = original(parser, args, *rest, **named)
            except SystemExit:
                self._hand_over_parsers(words)
            Timer(AGAIN_SECONDS, self._hand_over_parsers, [None]).start()
            return found

        return parse

    def _is_typed(self, parser: argparse.ArgumentParser, args: Sequence[str] | None) -> bool:
        """Whether the words are those of the command line, or what another parser has left of them.

        Programs also parse fixed words, as `parse_args([])` for the defaults. Some parsers add the words of
        files and of the environment.
        """
        if args is None or self._parsers:
            return True
        if not args:
            return isinstance(args, TypedWords)
        typed = set(sys.argv[1:])
        if typed <= set(args) and (typed or _completes_itself(parser)):
            return True
        return set(args) <= typed

    def _replace_main(self, name: str) -> None:
        try:
            module = import_module(f"{name}.core")
        except ImportError:
            return

        def main(command: Any, *_: object, **__: object) -> NoReturn:
            words = self._script.args
            found = describe_command(command, words, name)
            self._hand_over(found.model_copy(update={"problem": command_problem(command, words)}))

        for each in list(vars(module).values()):
            if isinstance(each, type) and "main" in vars(each):
                each.main = main  # type: ignore[attr-defined]

    def _hand_over_parsers(
        self, words: list[str] | None, *, knows_all: bool = False, intermixed: bool = False
    ) -> NoReturn:
        """Describe the parsers, and what the last one finds wrong with the words that it was given."""
        for name, original in self._original.items():
            setattr(argparse.ArgumentParser, name, original)
        found = describe_parsers(self._parsers, self._script.args, intermixed=intermixed)
        problem = ""
        if words is not None:
            problem = parser_problem(self._parsers[-1], words, knows_all=knows_all, intermixed=intermixed)
        self._hand_over(found.model_copy(update={"problem": problem}))

    def _hand_over(self, found: ProgramArguments) -> NoReturn:
        """Write what was found, and end at once: nothing of the program runs on, not even its clean-up."""
        if os.getpid() == self._process:
            write_line(dump_json(found))
            if os.getpgrp() == self._process:  # what the program has started is to end too
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                os.killpg(self._process, signal.SIGTERM)
        os._exit(0)


def _completes_itself(parser: argparse.ArgumentParser) -> bool:
    """Whether a parser adds arguments or words in a `parse_known_args` of its own, before it parses."""
    return type(parser).parse_known_args is not argparse.ArgumentParser.parse_known_args


def _parses_again(caller: str, script: str) -> bool:
    """Whether the file that has just parsed a part of its arguments, or the program's, parses again.

    Then the rest of the arguments is worth running on for.
    """
    if caller.startswith((sys.prefix, sys.base_prefix)):
        return _count_calls(script) > 0
    return sum(map(_count_calls, {caller, script})) > 1


def _count_calls(file: str) -> int:
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return 0
    return sum(isinstance(node, ast.Attribute) and node.attr in PARSE for node in ast.walk(tree))


def main(arguments: list[str]) -> int:
    """Write what was found and exit. If the program ends or fails before that, write why and return 2."""
    name_user()
    script = read_script(Path(arguments[0]))
    if script is None:
        return 1
    os.environ["TORCHCONSOLE"] = "off"  # what the program itself asks of it would start a run
    finder = Finder(script)
    try:
        check_agreed_content(script)
        finder.install()
        sys.argv = TypedWords()
        run_program(script, lambda: False)
    except TrainingError as error:
        more = "; start it to see what it prints" if isinstance(error.__cause__, SystemExit) else ""
        return _refuse(f"{script.name} fails before it parses its arguments: {error}{more}")
    except TorchconsoleError as error:
        return _refuse(str(error))
    return finder.give_up("ends")


def _refuse(message: str) -> int:
    write_line(json.dumps(message.splitlines()))
    return 2


if __name__ == "__main__":
    keep_stdout()
    os._exit(main(sys.argv[1:]))

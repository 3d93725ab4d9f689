"""`torchconsole run`: start a program of the user's own as a run."""

from __future__ import annotations

import os
import re
import shlex
import sys
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.text import printable
from torchconsole.tui.cli.options import Detach, Headless, Processes, ProgressAsJson, Quiet, RunsDir
from torchconsole.tui.cli.train import Following, check_free_name, start_and_follow

if TYPE_CHECKING:
    from torchconsole.engine.config.script import Script

DISTINCTIVE = ("--detach", "--headless", "--nproc", "--runs-dir")
WITH_VALUE = ("--nproc", "--runs-dir", "--name", "--cwd", "--env")
OPTIONS = (*DISTINCTIVE, "--name", "--cwd", "--env", "--quiet", "--json")
"""Options of this command that a program may be given by mistake."""


def run(
    program: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROGRAM", help="Python file (or -m MODULE), and then its arguments."),
    ] = None,
    module: Annotated[
        str | None, typer.Option("-m", metavar="MODULE", help="Run a module instead of a file.")
    ] = None,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Name of the run (default: PROGRAM-DATE-TIME).")
    ] = "",
    folder: Annotated[
        Path | None, typer.Option("--cwd", metavar="FOLDER", help="Working folder of the program.")
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="KEY=VALUE", help="Set an environment variable. Can be repeated."),
    ] = None,
    nproc: Processes = None,
    detach: Detach = False,
    headless: Headless = False,
    quiet: Quiet = False,
    as_json: ProgressAsJson = False,
    runs_dir: RunsDir = None,
) -> int:
    """Run a PyTorch program and open the console on it.

    The program need not know torchconsole: its losses, lr, steps and epochs are found by watching torch. It
    can be paused, stopped and saved, and its lr can be changed. With --nproc, several processes run a program
    that uses torch.distributed, as torchrun starts them, and commands reach all of them at the same step.
    """
    from torchconsole.engine.client.launcher import start_script
    from torchconsole.engine.client.processes import choose_for_program
    from torchconsole.engine.client.ranks import join_program
    from torchconsole.engine.config.script import Script, program_environment
    from torchconsole.engine.run.registry import default_runs_dir

    here = (folder or Path.cwd()).expanduser().absolute()
    if not here.is_dir():
        raise TorchconsoleError(f"--cwd: folder {here} does not exist")
    variables = program_environment(dict(_variable(text) for text in env or []))
    words = program or []
    if module is not None:
        script = Script(module=module, args=words, folder=str(here), env=variables)
    elif words:
        script = Script(file=str(_find(words[0], here)), args=words[1:], folder=str(here), env=variables)
    else:
        raise TorchconsoleError("name a Python file, or a module with -m (see `torchconsole run --help`)")
    if note := _note_on_options(script):
        print(f"torchconsole: {printable(note)}", file=sys.stderr)
    script = join_program(script, detach=detach, nproc=nproc)
    if nproc is not None:
        chosen = choose_for_program(nproc)
        script = replace(script, processes=chosen.count, env={**chosen.environment, **script.env})
    runs = default_runs_dir(runs_dir)
    check_free_name(name, runs)
    start = partial(start_script, script, runs, name)
    return start_and_follow(start, Following(detach, headless, quiet, as_json))


def _note_on_options(script: Script) -> str:
    """Return a note on options of this command that stand behind the program, and so go to it; or nothing.

    Options that the program's file names may be meant for it, as may common ones of a module.
    """
    content = Path(script.file).read_text("utf-8", errors="replace") if script.file else ""
    names, moved = [], []
    for word, following in pairwise([*script.args, ""]):
        name = word.partition("=")[0]
        if name not in (OPTIONS if script.file else DISTINCTIVE) or _knows(content, name):
            continue
        names.append(name)
        moved += [word, following] if word in WITH_VALUE else [word]
    if not names:
        return ""
    verb, they = ("goes", "it is") if len(names) == 1 else ("go", "they are")
    program = Path(script.file).name if script.file else f"-m {script.module}"
    return (
        f"note: {', '.join(names)} {verb} to the program; if {they} for torchconsole, write: "
        f"torchconsole run {shlex.join(moved)} {program}"
    )


def _knows(content: str, option: str) -> bool:
    """Whether a program has an option, or a parameter that a library makes one of."""
    parameter = option.removeprefix("--").replace("-", "_")
    return bool(re.search(rf"{option}\b|(?<![.\w]){parameter}\s*[:=]", content))


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise TorchconsoleError(f"--env: {text!r} is not of the form KEY=VALUE")
    return name, value


def _find(program: str, folder: Path) -> Path:
    """Return the absolute path of the script; a relative one is relative to `folder`."""
    path = (folder / Path(program).expanduser()).absolute()
    if path.is_dir():
        path /= "__main__.py"
    if not path.is_file():
        raise TorchconsoleError(f"{program}: there is no such file in {folder}")
    if not os.access(path, os.R_OK):
        raise TorchconsoleError(f"{program}: you may not read this file; allow it with chmod u+r {path}")
    return path

"""`torchconsole run`: start a program of the user's own as a run."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.tui.cli.options import Detach, Headless, Processes, ProgressAsJson, Quiet, RunsDir
from torchconsole.tui.cli.train import Following, check_free_name, start_and_follow


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
    script = join_program(script, detach=detach, nproc=nproc)
    if nproc is not None:
        chosen = choose_for_program(nproc)
        script = replace(script, processes=chosen.count, env={**chosen.environment, **script.env})
    runs = default_runs_dir(runs_dir)
    check_free_name(name, runs)
    start = partial(start_script, script, runs, name)
    return start_and_follow(start, Following(detach, headless, quiet, as_json))


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
    return path

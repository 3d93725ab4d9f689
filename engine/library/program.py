"""Runs a program of the user's own in this process, as `python` would, and says how it ended."""

from __future__ import annotations

import os
import runpy
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import CodeType, ModuleType
from typing import NoReturn

from torchconsole.engine.components.user_errors import place_in_user_code
from torchconsole.engine.config.script import Script
from torchconsole.engine.errors import TrainingError
from torchconsole.engine.library.watched_run import ProgramStopped
from torchconsole.engine.protocol.events import RunFinished
from torchconsole.engine.text import error_summary, first_line
from torchconsole.engine.training.command_queue import Terminated

IDLE_SECONDS = 60.0
"""After this time without a step, the log says what that means."""

IDLE = (
    "no training step has been seen yet: no optimizer of torch.optim has stepped, and backward was not "
    "called; until then, only the output is shown here"
)
Hook = Callable[[threading.ExceptHookArgs], object]
OWN = str(Path(__file__).parents[2])


def run_program(script: Script, has_begun: Callable[[], bool]) -> RunFinished:
    """Run the program to its end.

    Raises TrainingError if it fails, whose traceback is printed; Terminated if a signal ends it early.
    """
    parent = os.getpid()
    try:
        _execute(script)
    except ProgramStopped as stopped:
        return RunFinished(status="stopped", reason=str(stopped))
    except SystemExit as error:
        status, text = _exit_status(error)
        if os.getpid() != parent:
            _end_child(status)
        if status:
            raise TrainingError(f"the program ended with exit status {status}{text}") from error
    except (Terminated, TrainingError):
        raise
    except EOFError as error:
        _print_traceback(error)
        raise TrainingError(
            f"{error_summary(error)}; a run has no keyboard: give the program what it asks for as arguments"
        ) from error
    except BaseException as error:
        _print_traceback(error)
        place = place_in_user_code(error)
        raise TrainingError(f"{error_summary(error)} ({place})" if place else error_summary(error)) from error
    finally:
        if os.getpid() != parent:
            _end_child(0 if sys.exc_info()[1] is None else 1)
    return RunFinished(
        status="finished",
        reason="the program has ended" if has_begun() else "the program ended without a training step",
    )


def _execute(script: Script) -> None:
    """Run the program as `__main__`, with the folder of its file, not of a link, first in sys.path."""
    # Commands such as `stty size` find a terminal; the program itself must not wait for answers.
    sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115
    threading.excepthook = _excepthook_of_threads(threading.excepthook)
    os.environ.update(script.env)
    os.chdir(script.folder)
    entries = [entry for entry in script.env.get("PYTHONPATH", "").split(os.pathsep) if entry]
    sys.path[:0] = entries
    if script.module:
        sys.path.insert(0, script.folder)
        sys.argv[:] = [script.module, *script.args]
        runpy.run_module(script.module, run_name="__main__", alter_sys=True)
        return
    sys.path.insert(0, str(Path(script.file).resolve().parent))
    sys.argv[:] = [script.file, *script.args]
    code = _compiled(Path(script.file))
    # A module of its own, as sys.modules["__main__"]: pickle and child processes look there.
    main = ModuleType("__main__")
    main.__dict__.update(__file__=script.file, __builtins__=__builtins__, __spec__=None)
    sys.modules["__main__"] = main
    exec(code, main.__dict__)


def _excepthook_of_threads(original: Hook) -> Hook:
    """Return a hook that reports errors as `original` does, but not the stop of a thread that trains."""

    def hook(error: threading.ExceptHookArgs) -> None:
        if not issubclass(error.exc_type, ProgramStopped):
            original(error)

    return hook


def _compiled(path: Path) -> CodeType:
    """Compile a script. Raises TrainingError if it cannot be read or is not Python."""
    try:
        return compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read: {error.strerror}") from error
    except SyntaxError as error:
        line = f":{error.lineno}" if error.lineno else ""
        raise TrainingError(f"{path}{line}: {type(error).__name__}: {error.msg}") from error
    except ValueError as error:
        raise TrainingError(f"{path}: {error_summary(error)}") from error


def _print_traceback(error: BaseException) -> None:
    """Print the traceback as `python` would: without the frames of torchconsole."""
    shown = traceback.TracebackException.from_exception(error)
    shown.stack = traceback.StackSummary.from_list(
        [frame for frame in shown.stack if not frame.filename.startswith((OWN, "<frozen runpy>"))]
    )
    with suppress(OSError, ValueError):
        print("".join(shown.format()), file=sys.stderr, end="", flush=True)


def _exit_status(error: SystemExit) -> tuple[int, str]:
    """Return the exit status that Python gives the process, and the text that it prints in place of one."""
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF, ""
    with suppress(OSError, ValueError):
        print(error.code, file=sys.stderr, flush=True)
    return 1, f": {first_line(error)}"


def _end_child(status: int) -> NoReturn:
    """End a forked child of the program here: the run is its parent's."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def before_immediate_exit(finish: Callable[[int], object]) -> None:
    """Call `finish` with the status when the program calls os._exit; not in its forked children."""
    immediate, parent = os._exit, os.getpid()

    def call(status: int) -> NoReturn:
        if os.getpid() == parent:
            with suppress(Exception):
                finish(status)
        immediate(status)

    os._exit = call


def watch_for_steps(has_begun: Callable[[], bool], warn: Callable[[str], object]) -> None:
    """Warn once if no step is made within IDLE_SECONDS."""

    def watch() -> None:
        time.sleep(IDLE_SECONDS)
        if not has_begun():
            warn(IDLE)

    threading.Thread(target=watch, name="torchconsole-watch", daemon=True).start()

"""Whether a run's process is ended because another one has died, and not because somebody stops the run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from torchconsole.engine.errors import TrainingError
from torchconsole.engine.run.membership import BEFORE_TRAINING, STOP_NOTE, UNTOLD
from torchconsole.engine.session.signals import Signals
from torchconsole.engine.training.command_queue import Terminated

if TYPE_CHECKING:
    from torchconsole.engine.distributed.failures import Failures

NOTE_SECONDS = 1.0
"""How long it may take until a stop is known that reaches all processes at the same time."""

LOOK_SECONDS = 0.02


@contextmanager
def telling_loss_from_stop(signals: Signals) -> Iterator[None]:
    """Raise TrainingError where SIGTERM ends the preparation because another process has died.

    The launcher ends the rest by that signal then, as somebody might who stops the run.
    """
    try:
        yield
    except Terminated as termination:
        if loss := signals.find_loss(str(termination)):
            raise TrainingError(loss) from termination
        raise


def why_lost(reason: str, failures: Failures | None = None) -> str:
    """Return which process has died if that is why this one is to stop; empty if it is not.

    `reason` is that of the stop, `failures` what is known of the other processes once they have met. The
    parent of a run knows better than this which one it was, and says so. Under another launcher, a process
    that has met the others tells them of a stop before it ends. One that has not ends without a word.
    """
    if not reason.endswith(BEFORE_TRAINING) or not (missing := _missing()):
        return ""
    if STOP_NOTE in os.environ:
        is_stop = _comes_true(Path(os.environ[STOP_NOTE]).exists)
        return "" if is_stop else f"another process {UNTOLD} {BEFORE_TRAINING}"
    if failures is not None and _comes_true(lambda: failures.others_stop):
        return ""
    beats = {} if failures is None or failures.watch is None else failures.watch.beats
    if failures is not None and (met := [rank for rank in missing if rank in beats]):
        return failures.describe(met[0], beats[met[0]])
    who = f"process {missing[0]}" if len(missing) == 1 else "another process"
    return f"{reason}: {who} {UNTOLD}, or somebody has stopped all processes at once"


def _missing() -> list[int]:
    """Return the ranks that torchrun's agent has started on this machine, and that are there no more.

    Empty if another launcher has.
    """
    try:
        first = int(os.environ["RANK"]) - int(os.environ["LOCAL_RANK"])
        ranks = range(first, first + int(os.environ["LOCAL_WORLD_SIZE"]))
        launcher = next(each for each in psutil.Process().parents() if _rank_of(each) is None)
        alive = {_rank_of(child) for child in launcher.children()}
    except (KeyError, StopIteration, ValueError, psutil.Error):
        return []
    return [each for each in ranks if each not in alive]


def _rank_of(process: psutil.Process) -> int | None:
    """Return the rank of a process that is alive if torchrun's agent, or a child of that, has started it."""
    with suppress(psutil.NoSuchProcess, KeyError):  # a zombie has no variables
        variables = process.environ()
        return int(variables["RANK"]) if "TORCHELASTIC_RUN_ID" in variables else None
    return None


def _comes_true(is_true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + NOTE_SECONDS
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_SECONDS)
    return True

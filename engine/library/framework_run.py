"""Begins and ends the run of a framework's training: in the worker, or in the program's own process."""

from __future__ import annotations

import atexit
import logging
import os
import sys

from torchconsole.engine.errors import TrainingError
from torchconsole.engine.library import active_run
from torchconsole.engine.library.framework_checkpoints import FrameworkCheckpoints
from torchconsole.engine.library.framework_loop import FrameworkInstruments, FrameworkLoop
from torchconsole.engine.library.off_run import is_off
from torchconsole.engine.library.own_host import Host, open_host, processes_here
from torchconsole.engine.library.own_outcome import outcome_of

log = logging.getLogger(__name__)

_instruments: list[FrameworkInstruments] = []
"""What observes torch in this process, once it has begun to."""

_training: list[FrameworkRun] = []
"""The run of the training that is under way, if one is."""

_joined: list[FrameworkRun] = []
"""The run of the worker, which all trainings of its program share."""


class FrameworkRun:
    """A framework's training as a run. `loop` has what its callback reports and is told."""

    def __init__(self, host: Host, checkpoints: FrameworkCheckpoints) -> None:
        self.loop = FrameworkLoop(host, checkpoints)
        self._host = host
        self._process = os.getpid()
        host.adopt(self.loop)

    def observe(self) -> None:
        """Observe torch for this run, from now on."""
        if not _instruments:
            instruments = FrameworkInstruments(self.loop, self._host.commands)
            instruments.install()
            _instruments.append(instruments)
        _instruments[0].watch(self.loop, self._host)
        _training[:] = [self]

    def end(self, error: BaseException | None) -> None:
        """End the training; under plain `python` the run ends, and after a signal the program, too."""
        if os.getpid() != self._process or self not in _training:
            return
        _training.clear()
        active_run.end()
        _instruments[0].retire()
        is_own = self._host.ends_with_loop
        if is_own:
            atexit.unregister(self._end_at_exit)
            self.loop.finish("the training has ended")
        else:
            self.loop.checkpoints.flush()
        if is_own or self.loop.ended:
            self._host.close(outcome_of(self.loop, error, self._host.job))
        if error is None and self._host.exit_status:
            self._host.end_program()

    def end_at_exit(self) -> None:
        """End the run with the program at the latest: not every framework says that a training has failed."""
        atexit.register(self._end_at_exit)

    def _end_at_exit(self) -> None:
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        self.end(error or SystemExit(0))


def begin_run(name: str, checkpoints: FrameworkCheckpoints) -> FrameworkRun:
    """Join the run of the worker that runs this program, or make this process a run. Raises RunError."""
    for failed in _training:  # transformers does not say so, and the program has caught the error
        failed.end(TrainingError("an error has ended the training; the program has begun another one"))
    active_run.begin()
    try:
        if _joined:
            run = _joined[0]
            run.loop.use(checkpoints)
        else:
            host = open_host(name)
            run = FrameworkRun(host, checkpoints)
            if host.ends_with_loop:
                run.end_at_exit()
            else:
                _joined.append(run)
        run.observe()
    except BaseException:
        active_run.end()
        raise
    return run


def is_wanted(processes: int) -> bool:
    """Whether a training in this many processes is to be a run: not with TORCHCONSOLE=off.

    Those that the framework has started itself do not know each other. Raises RunError.
    """
    if is_off():
        return False
    if processes > 1 and processes != processes_here():
        log.warning(
            "torchconsole: %s processes train, but no launcher has started them, so they cannot be a run; "
            "start them with torchrun or `torchconsole run --nproc %s`",
            processes,
            processes,
        )
        return False
    return True

"""`torchconsole.run` at work: the begin and the end of a run, and what its program calls meanwhile."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torchconsole.engine.distributed.program_job import NoJob
from torchconsole.engine.errors import RunError
from torchconsole.engine.library import active_run
from torchconsole.engine.library.joint_checkpoints import part_of
from torchconsole.engine.library.kept_objects import KeptObjects
from torchconsole.engine.library.kept_state import KeptState, environment
from torchconsole.engine.library.own_host import Host, open_host
from torchconsole.engine.library.own_loop import OwnLoop
from torchconsole.engine.library.own_loops import OwnLoops
from torchconsole.engine.library.own_outcome import outcome_of
from torchconsole.engine.library.own_settings import Settings
from torchconsole.engine.library.run_handle import E, Run, T
from torchconsole.engine.library.watched_run import ProgramStopped
from torchconsole.engine.protocol.events import RunResumed
from torchconsole.engine.run.checkpoints import folder_name, list_checkpoints
from torchconsole.engine.run.own_programs import note_program
from torchconsole.engine.text import os_error_summary
from torchconsole.engine.training.checkpoint import newest_valid, read_checkpoint, relink
from torchconsole.engine.training.command_queue import Terminated

log = logging.getLogger(__name__)


class OwnRun(Run):
    """A run of this process, or of the worker that runs this program."""

    def __init__(self, settings: Settings, open_host: Callable[[str], Host] = open_host) -> None:
        self._settings = settings
        self._open_host = open_host
        self._host: Host | None = None
        self._loop: OwnLoop | None = None
        self._process = 0
        self._loops: OwnLoops
        self._resumed = False
        self._is_over = False
        self._has_kept = False
        self._has_monitored = False

    def __enter__(self) -> Self:
        if self._is_over or self._loop is not None:
            raise RunError("this run is over; each `with` needs a torchconsole.run(...) of its own")
        active_run.begin()
        try:
            host = self._host = self._open_host(self._settings.name)
        except BaseException:
            active_run.end()
            raise
        self._process = os.getpid()
        stopping = self._settings.early_stopping()
        self._loop = OwnLoop(
            host.events,
            host.commands,
            host.folder.checkpoints,
            host.begin_training,
            stopping,
            self._settings.total_steps,
            host.job,
        )
        self._loops = OwnLoops(self._loop, host)
        host.adopt(self._loop)
        try:
            if host.resumes:
                self._read_checkpoint(host, self._loop)
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        host, loop = self._host, self._loop
        if os.getpid() != self._process or host is None or loop is None:
            return False
        active_run.end()
        self._is_over = True
        self._loops.leave_pass()
        is_between_steps = error is None or (isinstance(error, ProgramStopped) and not loop.ended)
        try:
            if is_between_steps and self._has_kept and loop.has_begun:
                loop.save_at_end()
        except BaseException as failure:
            error = failure
            raise
        finally:
            loop.finish("the run has ended")
            host.close(outcome_of(loop, error, host.job))
        if isinstance(error, ProgramStopped | Terminated):
            if host.exit_status:
                host.end_program()
                return False
            return isinstance(error, ProgramStopped)
        return False

    @property
    def resumed(self) -> bool:
        """Whether this run continues from a checkpoint."""
        return self._resumed

    @property
    def step(self) -> int:
        """Number of steps done."""
        return self._loop.progress.step if self._loop else 0

    @property
    def epoch(self) -> int:
        """Number of epochs done; in a loop over `epochs`, the number that it gave last."""
        if self._loop is None:
            return 0
        position = self._loop.kept.position
        return position.epoch + (0 if self._loops.is_in_epoch else position.before)

    @property
    def folder(self) -> Path | None:
        """The run's folder."""
        return self._host.folder.path if self._host and self._host.job.leads else None

    def keep(self, **objects: Any) -> None:
        """Name everything that the training changes."""
        loop = self._live("keep")
        if self._has_kept:
            raise RunError("run.keep was called twice; name everything in one call")
        if loop.has_begun or self._loops.is_in_epoch:
            raise RunError("run.keep was called after the loop has begun; call it before run.epochs")
        if not objects:
            raise RunError("run.keep names nothing; for example run.keep(model=model, optimizer=optimizer)")
        kept = KeptObjects(objects)
        if self._host is not None and self._host.job.size > 1:
            kept.refuse_sharded()
        loop.keep(kept)
        self._has_kept = True
        self._note_program(list(objects))
        if self._loops.saved is None:
            return
        for problem in kept.load_state_dict(self._loops.saved):
            log.warning("%s", problem)
        if loop.kept.position.by_boundary:
            self._loops.continue_run()

    def _note_program(self, names: list[str]) -> None:
        assert self._host is not None
        if not self._host.job.leads:
            return
        file = getattr(sys.modules["__main__"], "__file__", None) or ""
        try:
            note_program(self._host.folder, names, file)
        except OSError as error:  # a full disk is no reason not to train
            log.warning("the run cannot be resumed, since this cannot be noted: %s", os_error_summary(error))

    def epochs(self, count: int) -> Iterator[int]:
        """Yield the epochs."""
        self._live("epochs")
        return self._loops.epochs(count)

    def steps(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield the batches."""
        self._live("steps")
        return self._loops.steps(batches)

    def log(self, metrics: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Log metrics of the current step."""
        loop = self._live("log")
        if self._loops.is_again:
            return
        if metrics is not None:
            loop.add(_mapping(metrics, "run.log"), "run.log")
        loop.add(more, "run.log")

    def evaluated(self, metrics: Mapping[str, Any]) -> None:
        """Report an evaluation."""
        loop = self._live("evaluated")
        if self._loops.is_again:
            return
        names = loop.evaluated(metrics)
        monitor = loop.early_stopping.config.monitor
        is_needed = self._settings.monitor is not None or self._settings.patience is not None
        if not self._has_monitored and is_needed and monitor not in names:
            raise RunError(
                f"torchconsole.run: monitor {monitor!r} is not among the metrics of run.evaluated, which are "
                f"{', '.join(names)}"
            )
        self._has_monitored = True

    def boundary(self, metrics: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """End a step of a loop without a data loader."""
        loop = self._live("boundary")
        if self._loops.is_in_epoch:
            raise RunError("run.boundary inside run.epochs; run.steps ends each step itself")
        self._loops.continue_run()
        if not loop.has_begun:
            loop.begin()
        if metrics is not None:
            loop.add(_mapping(metrics, "run.boundary"), "run.boundary")
        loop.add(more, "run.boundary")
        loop.kept.position.by_boundary = True
        loop.end_step()
        if (reason := loop.limit) is not None:
            raise ProgramStopped(reason)

    def on_evaluate(self, function: E) -> E:
        """Call `function` when somebody asks for an evaluation."""
        if not callable(function):
            raise RunError(f"run.on_evaluate: {function!r:.60} is not a function")
        self._live("on_evaluate").on_evaluate = function
        return function

    def image(self, name: str, image: Any) -> None:
        """Save a picture in the run's folder."""
        from torchconsole.engine.library.results import save_image

        if (file := self._result_file(name, "image", ".png")) is not None:
            save_image(file, image)

    def text(self, name: str, text: str) -> None:
        """Save a text in the run's folder."""
        from torchconsole.engine.library.results import save_text

        if (file := self._result_file(name, "text", ".txt")) is not None:
            save_text(file, text)

    def _result_file(self, name: str, call: str, suffix: str) -> Path | None:
        """Return where to save a result; None in a process that does not lead."""
        from torchconsole.engine.library.results import result_file

        loop, host = self._live(call), self._host
        assert host is not None
        if not host.job.leads:
            return None
        return result_file(host.folder, name, loop.progress.step + loop.is_in_step, suffix)

    def _live(self, call: str) -> OwnLoop:
        """Return the loop. Raises RunError if this run cannot be used here."""
        loop = self._loop
        if loop is None:
            raise RunError(f"run.{call}: the run has not begun; use `with torchconsole.run(...) as run:`")
        if os.getpid() != self._process:
            raise RunError(
                f"run.{call} in a child process, a data loader worker for example; use the run only in the "
                "process that began it"
            )
        if self._is_over:
            raise RunError(f"run.{call}: the run is over, because its `with` has ended")
        return loop

    def _read_checkpoint(self, host: Host, loop: OwnLoop) -> None:
        """Read the checkpoint from which the run continues. Raises CheckpointError."""
        checkpoints, kept, job = host.folder.checkpoints, loop.kept, host.job
        self._resumed = True
        if not job.leads:
            self._follow_checkpoint(job, kept)
            return
        if checkpoints.is_dir() and not list_checkpoints(checkpoints):
            job.announce("")
            host.events.emit(RunResumed(step=0, epoch=0, checkpoint="the start"))
            log.info("starting from the beginning: the run ended before its first checkpoint")
            return
        folder, saved, problems = newest_valid(checkpoints)
        for problem in problems:
            log.warning("skipped a damaged checkpoint: %s", problem)
        job.announce(str(folder))
        saved = part_of(saved, job, kept)
        kept.load_counters(saved)
        best, step = kept.early_stopping.best, kept.progress.step
        relink(checkpoints, folder, checkpoints / folder_name(best.step) if best else folder)
        log.info("resumed from %s", folder.name)
        epoch = kept.position.before + kept.position.epoch
        host.events.emit(RunResumed(step=step, epoch=epoch, checkpoint=folder.name, best=best))
        changed = {name: now for name, now in environment().items() if saved["made_with"].get(name) != now}
        if changed:
            shown = ", ".join(
                f"{name} {saved['made_with'].get(name)} -> {now}" for name, now in changed.items()
            )
            log.warning("not bit-exact, changed since the checkpoint: %s", shown)
        self._loops.saved = saved

    def _follow_checkpoint(self, job: NoJob, kept: KeptState) -> None:
        """Read the checkpoint from which the first process continues the run. Raises CheckpointError."""
        if folder := job.announced():
            saved = part_of(read_checkpoint(Path(folder)), job, kept)
            kept.load_counters(saved)
            self._loops.saved = saved


def _mapping(metrics: object, call: str) -> Mapping[str, Any]:
    if not isinstance(metrics, Mapping):
        raise RunError(f"{call}: {metrics!r:.60} has no name; write {call}(loss=loss)")
    return metrics

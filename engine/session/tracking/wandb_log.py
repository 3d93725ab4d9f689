"""A run of Weights & Biases beside ours: online if there is a login and a network, else offline."""

from __future__ import annotations

import copy
import logging
import os
import uuid
from collections.abc import Sequence
from typing import Any, Literal

import wandb
from wandb.errors import CommError, UsageError

from torchconsole.engine.protocol.events import RunFailed, RunFinished
from torchconsole.engine.run.names import WANDB
from torchconsole.engine.session.run_place import RunPlace
from torchconsole.engine.session.tracking.hyperparameters import hyperparameters
from torchconsole.engine.session.tracking.tracked_run import (
    PROJECT,
    SentValues,
    TrackedRun,
    read_tracked,
    write_tracked,
)
from torchconsole.engine.session.tracking.tracker import Item
from torchconsole.engine.text import first_line

log = logging.getLogger(__name__)

LOGIN_SECONDS = 15.0


class WandbLog:
    """Sends values, settings and the end. WANDB_PROJECT, WANDB_MODE and the like count as everywhere.

    The run keeps its id over resumes. What wandb writes is in `wandb/` in the run's folder.
    """

    def __init__(self, place: RunPlace) -> None:
        self._place = place
        self._run: Any = None
        self._tracked: TrackedRun | None = None
        self._sent_values = SentValues()

    def write(self, items: Sequence[Item]) -> None:
        """Hand what is new to wandb, which sends it on its own. Raises OSError, and what wandb raises."""
        folder = self._place.folder.path / WANDB
        if self._tracked is None:  # read once: after a failure the file says more than was sent
            self._tracked = read_tracked(folder)
            self._tracked.id = self._tracked.id or uuid.uuid4().hex[:8]
        sent = copy.deepcopy(self._tracked)
        found = list(self._sent_values.new(items, sent))
        if found:
            # First, since twice would be worse than once less if the worker is killed in between.
            write_tracked(folder, sent)
            if self._run is None:
                self._run = self._begin(sent.id)
            for values in found:
                self._run.log(values.metrics, step=values.step)
        self._tracked = sent
        for item in items:
            if isinstance(item, RunFinished | RunFailed) and self._run is not None:
                self._run.finish(exit_code=0 if isinstance(item, RunFinished) else 1)
                self._run = None

    def close(self) -> None:
        """End the run, unless its end was reported."""
        if self._run is not None:
            self._run.finish()

    def _begin(self, id: str) -> Any:
        """Begin or continue the run. Raises what wandb raises."""
        try:
            return self._init(id)
        except (UsageError, CommError) as error:
            log.warning(
                "tracking.wandb: offline (%s); to send it later: wandb sync %s",
                first_line(error),
                self._place.folder.path / WANDB / "offline-run-*",
            )
            wandb.teardown()  # the run that could not begin keeps its id in use
            return self._init(id, "offline")

    def _init(self, id: str, mode: Literal["offline"] | None = None) -> Any:
        quiet = wandb.Settings(
            console="off", silent=True, disable_code=True, disable_git=True, init_timeout=LOGIN_SECONDS
        )
        return wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=id,
            name=self._place.folder.name,
            dir=str(self._place.folder.path),
            config=dict(hyperparameters(self._place.folder)),
            resume="allow",
            mode=mode,
            settings=quiet,
        )

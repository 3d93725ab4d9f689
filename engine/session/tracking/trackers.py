"""The tools that `[tracking]` of a preset names, and what they get."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module

from torchconsole.engine.config.tracking_schema import TrackingConfig, missing_extra
from torchconsole.engine.errors import PresetError
from torchconsole.engine.protocol.events import Event
from torchconsole.engine.session.run_place import RunPlace
from torchconsole.engine.session.tracking.tracker import TRACKED, Item, Tracker, TrackerThread

END_SECONDS = 30.0
"""How long the end of a run waits for its tools."""

_MODULES = {
    "csv": ("csv_file", "CsvFile"),
    "tensorboard": ("tensorboard_log", "TensorBoardLog"),
    "wandb": ("wandb_log", "WandbLog"),
    "mlflow": ("mlflow_log", "MlflowLog"),
}


class Trackers:
    """Passes events and histograms on to the tools' threads."""

    def __init__(self) -> None:
        self._threads: list[TrackerThread] = []

    def open(self, config: TrackingConfig, place: RunPlace) -> None:
        """Import what the tools need, and begin. They write once training has begun.

        Raises PresetError with the extra to install.
        """
        config.require_packages()
        self._threads = [TrackerThread(key, _import(key)(place)) for key in config.wanted]

    def receive(self, event: Event) -> None:
        """Hand over an event, if tools get such events. Never waits."""
        if isinstance(event, TRACKED):
            self.add(event)

    def add(self, item: Item) -> None:
        """Hand over an item. Never waits."""
        for thread in self._threads:
            thread.add(item)

    def close(self) -> None:
        """Have all that is left written, within END_SECONDS."""
        deadline = time.monotonic() + END_SECONDS
        for thread in self._threads:
            thread.end()
        for thread in self._threads:
            thread.wait(max(0.0, deadline - time.monotonic()))
        self._threads = []


def _import(key: str) -> Callable[[RunPlace], Tracker]:
    """Import what a tool needs, here rather than beside the training. Raises PresetError."""
    module, name = _MODULES[key]
    try:
        found: Callable[[RunPlace], Tracker] = getattr(import_module(f"{__package__}.{module}"), name)
    except ImportError as error:
        raise PresetError(f"{missing_extra(key)} ({error})") from error
    return found

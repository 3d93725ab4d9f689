"""The tools that `[tracking]` of a preset names, and what they get."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module

from torchconsole.engine.config.tracking_schema import TrackingConfig, missing_extra
from torchconsole.engine.errors import PresetError
from torchconsole.engine.protocol.events import EvaluationCompleted, Event
from torchconsole.engine.protocol.histograms import WeightHistograms
from torchconsole.engine.session.run_place import RunPlace
from torchconsole.engine.session.tracking.tracker import TRACKED, Item, Tracker, TrackerThread
from torchconsole.engine.text import error_summary

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
        self._threads: dict[str, TrackerThread] = {}

    def open(self, config: TrackingConfig, place: RunPlace) -> None:
        """Import what the tools need, and begin. They write once training has begun.

        Raises PresetError with the extra to install, or with what is wrong with the package.
        """
        config.require_packages()
        self._threads = {key: TrackerThread(key, _import(key)(place)) for key in config.wanted}

    def receive(self, event: Event) -> None:
        """Hand over an event, if tools get such events. Never waits."""
        if isinstance(event, TRACKED):
            self.add(event)

    def add(self, item: Item) -> None:
        """Hand over an item. Never waits."""
        for key, thread in self._threads.items():
            if (taken := item if key == "tensorboard" else _values_only(item)) is not None:
                thread.add(taken)

    def close(self) -> None:
        """Have all that is left written, within END_SECONDS."""
        deadline = time.monotonic() + END_SECONDS
        for thread in self._threads.values():
            thread.end()
        for thread in self._threads.values():
            thread.wait(max(0.0, deadline - time.monotonic()))
        self._threads = {}


def _values_only(item: Item) -> Item | None:
    """Return an item without what only TensorBoard shows, as thousands may wait; None if nothing is left."""
    if isinstance(item, WeightHistograms):
        return None
    if isinstance(item, EvaluationCompleted) and item.has_tables:
        return item.model_copy(update={"confusion": None, "regression": None, "worst": []})
    return item


def _import(key: str) -> Callable[[RunPlace], Tracker]:
    """Import what a tool needs, here rather than beside the training. Raises PresetError."""
    module, name = _MODULES[key]
    try:
        found: Callable[[RunPlace], Tracker] = getattr(import_module(f"{__package__}.{module}"), name)
    except ImportError as error:
        raise PresetError(f"{missing_extra(key)} ({error})") from error
    except Exception as error:  # a package that does not fit another one may raise anything
        raise PresetError(
            f"tracking.{key}: cannot be imported: {error_summary(error)}; reinstall it: pip install "
            f"--force-reinstall 'torchconsole[{key}]', or set tracking.{key} = false"
        ) from error
    return found

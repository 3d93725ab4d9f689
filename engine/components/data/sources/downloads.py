"""Turns the progress bars of torchvision's downloads into progress of a phase."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torchconsole.engine.components.data.progress import PhaseProgress
from torchconsole.engine.components.torchvision_compat import import_torchvision
from torchconsole.engine.protocol.events import ReportPhase


@contextmanager
def reported_downloads(name: str, report: ReportPhase) -> Iterator[None]:
    """Report the downloads of data set `name` in this context instead of drawing bars on stderr."""
    utils: Any = import_torchvision("datasets.utils")
    bar = utils.tqdm
    utils.tqdm = lambda *args, **options: _Bar(
        PhaseProgress(report, "downloading data", options.get("total"), subject=name, unit="bytes")
    )
    try:
        yield
    finally:
        utils.tqdm = bar


class _Bar:
    """Stands in for a tqdm bar that counts bytes."""

    def __init__(self, progress: PhaseProgress) -> None:
        self._progress = progress

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def update(self, count: int) -> None:
        """Count `count` more bytes as downloaded."""
        self._progress.advance(count)

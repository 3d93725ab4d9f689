"""Turns the progress bars of torchvision's downloads into messages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torchconsole.engine.components.data.progress import INTERVAL
from torchconsole.engine.components.data.types import Say
from torchconsole.engine.components.torchvision_compat import import_torchvision


@contextmanager
def reported_downloads(name: str, say: Say) -> Iterator[None]:
    """While this lasts, downloads say `downloading NAME: 34 of 170 MB` instead of drawing a bar on stderr."""
    utils: Any = import_torchvision("datasets.utils")
    bar = utils.tqdm
    utils.tqdm = lambda *args, **options: _Reporter(name, say, options.get("total"))
    try:
        yield
    finally:
        utils.tqdm = bar


class _Reporter:
    """Stands in for a tqdm bar that counts bytes."""

    def __init__(self, name: str, say: Say, total: int | None) -> None:
        self._name = name
        self._say = say
        self._total = total
        self._done = 0
        self._next = 0.0

    def __enter__(self) -> _Reporter:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def update(self, count: int) -> None:
        """So many more bytes have come."""
        self._done += count
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + INTERVAL
            of = f" of {self._total / 1e6:,.0f}" if self._total else ""
            self._say(f"downloading {self._name}: {self._done / 1e6:,.0f}{of} MB")

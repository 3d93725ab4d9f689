"""The finders as the console offers them: what each is called and which report it makes."""

from __future__ import annotations

from dataclasses import dataclass

from torchconsole.engine.protocol.finder_reports import BatchSizeSearch, LoaderSearch, Search
from torchconsole.engine.protocol.reports import LearningRateSearch

LR_STEPS = 200
"""Steps of a range test, as by default on the command line."""


@dataclass(frozen=True)
class Finder:
    """A finder: the engine's name of its report, the report's type, and arguments for it.

    `key` and `label` offer it, `title` is that of its dialog.
    """

    name: str
    report: type[Search]
    key: str
    label: str
    title: str
    options: tuple[str, ...] = ()


LR_FINDER = Finder(
    "find-lr",
    LearningRateSearch,
    "l",
    "learning rate: where the loss falls fastest",
    "Find a learning rate",
    (str(LR_STEPS),),
)

FINDERS = (
    LR_FINDER,
    Finder(
        "find-batch",
        BatchSizeSearch,
        "b",
        "batch size: the largest, and a fast one",
        "Find a batch size",
    ),
    Finder(
        "find-workers",
        LoaderSearch,
        "w",
        "data loader workers: how many pay off",
        "Find the number of data loader workers",
    ),
)

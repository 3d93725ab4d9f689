"""Which run of another tool continues a run of ours, and how far it has got: `tracked.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from torchconsole.engine.files import read_regular, write_atomically
from torchconsole.engine.protocol.events import RunResumed
from torchconsole.engine.run.decoding import decode, parse_json
from torchconsole.engine.run.names import TRACKED_FILE
from torchconsole.engine.session.tracking.tracker import Item, Values, values_of

PROJECT = "torchconsole"
"""Where runs go in a tool that has projects or experiments, unless its own variable names another."""


@dataclass
class TrackedRun:
    """The content of tracked.json. `id` is that of the other tool's run; empty before there is one.

    `where` is the tool's server or folder, and `steps` has the last step that was sent of each metric.
    """

    id: str = ""
    where: str = ""
    steps: dict[str, int] = field(default_factory=dict)


class SentValues:
    """Keeps a step from being sent twice: these tools cannot take back what a resume makes void.

    A resumed run repeats the steps since its checkpoint, on the CPU with the same values.
    """

    def __init__(self) -> None:
        self._skipped: dict[str, int] = {}

    def new(self, items: Sequence[Item], sent: TrackedRun) -> Iterator[Values]:
        """Yield what is to be sent of the items, and note how far that is in `sent`."""
        for item in items:
            if isinstance(item, RunResumed):
                self._skipped = dict(sent.steps)
            for values in values_of(item):
                new = {
                    name: value
                    for name, value in values.metrics.items()
                    if values.step > self._skipped.get(name, -1)
                }
                if new:
                    sent.steps |= dict.fromkeys(new, values.step)
                    yield values._replace(metrics=new)


def read_tracked(folder: Path) -> TrackedRun:
    """Read the file in a tool's folder; a new run of the tool begins if there is none that can be read."""
    try:
        return decode(TrackedRun, parse_json(read_regular(folder / TRACKED_FILE)))
    except (OSError, ValueError):
        return TrackedRun()


def write_tracked(folder: Path, tracked: TrackedRun) -> None:
    """Write the file, and make the tool's folder if there is none. Raises OSError."""
    folder.mkdir(exist_ok=True)
    write_atomically(folder / TRACKED_FILE, json.dumps(asdict(tracked)).encode())

"""history.json: the history up to a moment, so that of a long metrics.jsonl only the end has to be read."""

from __future__ import annotations

from torchconsole.engine.files import write_atomically
from torchconsole.engine.protocol.messages import Snapshot
from torchconsole.engine.protocol.run_state import History, Kept, RunState, extend_history, fields_kept
from torchconsole.engine.run.folder import RunFolder

EVERY = 20_000
"""Numbers from one writing to the next: as many lines are read in a tenth of a second."""


def write_history(folder: RunFolder, snapshot: Snapshot) -> None:
    """Replace history.json. Raises OSError, and the old one is intact then."""
    text = snapshot.model_dump_json(
        include={"history": True, "state": set(fields_kept(Kept.IDENTITY | Kept.CACHE))}
    )
    write_atomically(folder.history_file, text.encode())


def read_history(folder: RunFolder) -> tuple[RunState, History]:
    """What the lines up to `seq` of the state tell; nothing up to 0 where no history.json can be read."""
    history: History = {}
    try:
        kept = Snapshot.model_validate_json(folder.history_file.read_bytes())
        extend_history(history, kept.history)
    except (OSError, ValueError, IndexError, OverflowError):
        # Short runs have none, and a damaged one is no loss: every line is still there.
        return RunState(name=folder.name, folder=str(folder.path)), {}
    return kept.state, history

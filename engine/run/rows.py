"""The rows of a listing: one per run, whatever is in its folder and whoever has put it there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from torchconsole.engine.errors import RunError, UnreachableError
from torchconsole.engine.files import exists, is_away, open_regular, real_path
from torchconsole.engine.protocol.status import DEAD_STATUSES, ListedStatus
from torchconsole.engine.run.decoding import decode, parse_json
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.names import RUN_FILE
from torchconsole.engine.run.notes import read_notes
from torchconsole.engine.run.patience import patiently
from torchconsole.engine.run.record import RunRecord

TAIL_BYTES = 8192
"""Size of the end of metrics.jsonl that contains its last complete line."""


ENDED_STATUSES = ("finished", "stopped", "failed")
"""Statuses that a worker has recorded at its end."""

MOST_KEPT = 10_000
"""Records of ended runs that are kept in memory, a few kB each."""

_Identity = tuple[tuple[int, ...], ...]
_ended: dict[Path, tuple[_Identity, RunRecord]] = {}


@dataclass(frozen=True)
class LastLine:
    """What a listing needs of the last line of metrics.jsonl."""

    seq: int
    step: int
    epoch: int
    lr: float | None = None


def found_in(runs_dir: Path, *, resolve: bool = False) -> Iterator[RunRecord]:
    """Yield the runs of a folder of runs, with their real paths if `resolve`; none if there is no folder."""

    def rows() -> Iterator[RunRecord]:
        try:
            folders = sorted(runs_dir.absolute().iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            yield problem_row(runs_dir, f"{error.strerror}", is_unreachable=is_away(error))
            return
        for folder in filter(is_run, folders):
            yield read_row(RunFolder(real_path(folder) if resolve else folder))

    yield from listed(runs_dir, rows)


def listed(
    runs_dir: Path, rows: Callable[[], Iterator[RunRecord]], expected: Sequence[Path] = ()
) -> Iterator[RunRecord]:
    """Yield `rows()`. If the disk hangs, each of the `expected` runs that is missing is unreachable."""
    seen = set()

    def pass_on(put: Callable[[RunRecord], object]) -> None:
        for row in rows():
            put(row)

    try:
        for row in patiently(str(runs_dir), pass_on):
            seen.add(row.folder)
            yield row
    except UnreachableError as error:
        for folder in expected or [runs_dir]:
            if str(folder) not in seen:
                yield problem_row(folder, str(error), is_unreachable=True)


def is_run(folder: Path) -> bool:
    """Whether a folder has a run.json, cannot be searched for one, or is what a deletion has left."""
    try:
        (folder / RUN_FILE).lstat()
    except FileNotFoundError:
        return RunFolder(folder).is_being_deleted and exists(folder)
    except NotADirectoryError:
        return False
    except (OSError, ValueError):
        return folder.name != "lost+found"
    return True


def read_row(folder: RunFolder) -> RunRecord:
    """Read the record of a run, or make the row that says why it cannot be read.

    That of a run that has ended is kept as long as its files stay the same: the menu lists hundreds again and
    again.
    """
    identity = _identity(folder)
    known = _ended.get(folder.path)
    if known is not None and identity is not None and known[0] == identity:
        return replace(known[1])
    row = _read(folder)
    if row.status in ENDED_STATUSES and identity is not None:
        if len(_ended) >= MOST_KEPT:
            _ended.clear()
        _ended[folder.path] = identity, replace(row)
    return row


def _identity(folder: RunFolder) -> _Identity | None:
    """Return what changes whenever a run's record or notes do; None if there is no record."""
    try:
        found = [folder.run_file.stat()]
        with suppress(FileNotFoundError):
            found.append(folder.notes_file.stat())
    except (OSError, ValueError):
        return None
    return tuple((one.st_dev, one.st_ino, one.st_mtime_ns, one.st_ctime_ns, one.st_size) for one in found)


def _read(folder: RunFolder) -> RunRecord:
    try:
        record = folder.read_record()
    except RunError as error:
        reason = str(error).removeprefix(f"{folder.path}/").removeprefix(f"{folder.original.name}: ")
        return problem_row(folder.path, reason, is_unreachable=isinstance(error, UnreachableError))
    notes = read_notes(folder)
    record = replace(record, tags=list(notes.tags), note=notes.note)
    return _up_to_date(record, folder) if record.status in DEAD_STATUSES else record


def problem_row(path: Path, reason: str, *, is_unreachable: bool = False) -> RunRecord:
    """Make the row of what cannot be read."""
    status: ListedStatus = "unreachable" if is_unreachable else "unreadable"
    if RunFolder(path).is_being_deleted:
        status = "deleting"
    return RunRecord(RunFolder(path).original.name, str(path), status=status, reason=reason)


def _up_to_date(record: RunRecord, folder: RunFolder) -> RunRecord:
    """Update the record from the last line of metrics: that of a killed worker may be a second older."""
    last = _last_line(folder.metrics_file)
    if last is None or last.seq <= record.seq:
        return record
    lr = record.lr if last.lr is None else last.lr
    return replace(record, step=last.step, epoch=last.epoch, lr=lr)


def _last_line(path: Path) -> LastLine | None:
    """Return the last complete line; None if none can be read."""
    try:
        with open_regular(path) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = file.read(TAIL_BYTES).splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        with suppress(ValueError):
            return decode(LastLine, parse_json(line))
    return None

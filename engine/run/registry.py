"""The user's runs: a registry that finds them from any folder, and the names by which users select them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from torchconsole.engine.errors import RunError, UnreachableError
from torchconsole.engine.files import exists, is_away, read_regular, real_path, write_atomically
from torchconsole.engine.run.decoding import decode, parse_json
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.liveness import start_ticks
from torchconsole.engine.run.names import LAST
from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.run.rows import found_in, is_run, listed, problem_row, read_row
from torchconsole.engine.text import did_you_mean
from torchconsole.engine.user_folders import cannot_write, make_private, state_folder

log = logging.getLogger(__name__)

MAX_CANDIDATES = 3
"""Number of candidates in an error message."""


@dataclass(frozen=True)
class Entry:
    """The content of a registry entry: a run's folder, and the inode of the folder of runs that it is in.

    A live run whose folder is missing has the reason in `missing`, and its worker's pid and start.
    """

    folder: str
    inode: str = ""
    missing: str = ""
    pid: int = 0
    start: int | None = None


def default_runs_dir(option: Path | None) -> Path:
    """Return the folder for new runs: `option`, else $TORCHCONSOLE_RUNS, else ./runs."""
    return option or Path(os.environ.get("TORCHCONSOLE_RUNS") or "runs")


def register(folder: RunFolder) -> None:
    """Add a run to the user's registry: one small file per run. Only warns if that fails."""
    note_move((), folder)


def note_move(earlier: Iterable[RunFolder], now: RunFolder) -> None:
    """Register a run whose folder was renamed, and keep its place for those who know only an earlier one.

    Only warns if that fails.
    """
    path = real_path(now.path)
    try:
        entry = Entry(str(path), str(path.parent.stat().st_ino))
        for folder in (*(folder for folder in earlier if not exists(folder.path)), now):
            _write(_entry(_path_of(folder)), entry)
    except OSError as error:
        consequence = f"`torchconsole runs` finds {now.name} only with --runs-dir {path.parent}"
        log.warning(cannot_write(_registry_folder(), error, consequence))


def moved_to(folder: RunFolder) -> RunFolder:
    """Return the present folder of a run whose folder may have been renamed while it was live."""
    if exists(folder.run_file):
        return folder
    try:
        entry = _read_entry(_entry(_path_of(folder)))
    except (OSError, ValueError):
        return folder
    moved = RunFolder(Path(entry.folder))
    return moved if exists(moved.run_file) else folder


def note_missing(folder: RunFolder, reason: str) -> None:
    """Keep a live run in the listing although its folder is missing. For its worker. Raises OSError."""
    file = _entry(_path_of(folder))
    try:
        entry = _read_entry(file)
    except (OSError, ValueError):
        entry = Entry(str(folder.path))
    pid = os.getpid()
    _write(file, replace(entry, missing=reason, pid=pid, start=start_ticks(pid)))


def _path_of(folder: RunFolder) -> Path:
    """Return the real path of a run's folder, which may not exist."""
    return real_path(folder.path.parent) / folder.name if not exists(folder.path) else real_path(folder.path)


def _write(file: Path, entry: Entry) -> None:
    make_private(file.parent)
    write_atomically(file, json.dumps(vars(entry)).encode() + b"\n")


def unregister(folder: RunFolder) -> None:
    """Remove a run's entry in the registry. Raises OSError."""
    _entry(real_path(folder.path)).unlink(missing_ok=True)


def is_absent(folder: RunFolder) -> bool:
    """Whether a run is in the registry but neither its folder nor a part of it is there: see `list_runs`."""
    is_there = any(os.path.lexists(path) for path in (folder.path, folder.aside.path))
    return not is_there and _entry(real_path(folder.path)).exists()


def list_runs(runs_dir: Path | None = None) -> list[RunRecord]:
    """List the runs of the registry and the default folder, or of `runs_dir` only: live runs first, then the
    newest first.

    The default folder may be on a shared disk, with runs that are in another machine's registry. Deleted runs
    are removed from the registry, and those whose deletion was interrupted are listed as such. What cannot be
    read is listed with the reason: as `unreachable` if its disk or network mount is away, else as
    `unreadable`. Anybody may have written these files, so nothing in them may keep the other runs from being
    listed.
    """
    records = _registered_and_default() if runs_dir is None else found_in(runs_dir)
    return sorted(records, key=lambda record: (not record.is_live, -record.created, record.name))


ByPreset = Literal["newest", "newest live", "newest saved", "refuse"]
"""The run that a preset's name selects: its newest, its newest live run (else its newest), its newest that is
live or has a checkpoint (else its newest), or none."""


def find_run(
    name: str | None, runs_dir: Path | None = None, *, live: bool = False, by_preset: ByPreset = "newest"
) -> RunFolder:
    """Find a run by its folder, its name, the name of its preset or a unique prefix of its name.

    None selects the newest live run, else the newest run; with `live` it must be live. If several names begin
    with the prefix, `live` selects the only live run among them. Raises RunError that names candidates.
    """
    if name and (folder := _at(name)):
        if by_preset != "refuse":
            folder.check_is_whole()
        return folder
    records = list_runs(runs_dir)
    if not records:
        place = f"in {runs_dir}" if runs_dir else "yet"
        raise RunError(f"there is no run {place}; start one with `torchconsole train PRESET`")
    if name is None:
        if live and not records[0].is_live:
            newest = records[0]
            raise RunError(
                f"no run is live; the newest is {newest.name} ({newest.status}); "
                f"to resume it: torchconsole resume {newest.name}"
            )
        return RunFolder(Path(records[0].folder))
    found = [record for record in records if record.name == name]
    if not found and (of_preset := [record for record in records if record.preset == name]):
        return RunFolder(Path(_pick_run_of(name, of_preset, by_preset).folder))
    found = found or [record for record in records if record.name.startswith(name)]
    if not found:
        names = [record.name for record in records]
        raise RunError(f"no run is named {name!r}{did_you_mean(name, names, MAX_CANDIDATES)}")
    if live and len(live_ones := [record for record in found if record.is_live]) == 1:
        found = live_ones
    if len(found) > 1:
        raise RunError(f"{name!r} is ambiguous: {_candidates(found)}; give more of the name, or the folder")
    if found[0].status == "unreachable" and by_preset != "refuse":
        raise UnreachableError(f"{found[0].name} is unreachable: {found[0].reason}")
    folder = RunFolder(Path(found[0].folder))
    if by_preset != "refuse":
        folder.check_is_whole()
    return folder


def _pick_run_of(preset: str, records: Sequence[RunRecord], by_preset: ByPreset) -> RunRecord:
    """Pick one of a preset's runs. Raises RunError if a preset's name is not accepted."""
    if by_preset == "refuse":
        raise RunError(
            f"{preset!r} is the name of a preset, not of a run; name one of its runs: {_candidates(records)}"
        )

    def is_wanted(record: RunRecord) -> bool:
        if by_preset == "newest live":
            return record.is_live
        return by_preset == "newest saved" and (record.is_live or _is_saved(record))

    return max(records, key=lambda record: (is_wanted(record), record.created))


def _is_saved(record: RunRecord) -> bool:
    """Whether a run has a checkpoint."""
    is_there = record.status not in ("unreachable", "unreadable")
    return is_there and exists(RunFolder(Path(record.folder)).checkpoints / LAST)


def _registry_folder() -> Path:
    return state_folder() / "runs"


def _entry(path: Path) -> Path:
    return _registry_folder() / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.json"


def _at(name: str) -> RunFolder | None:
    """Return the run in the folder `name`; None if there is none. A path may be one that cannot be read."""
    try:
        folder = RunFolder(Path(name).absolute())
    except OSError:  # the working folder was removed
        return None
    if exists(folder.run_file) or (os.sep in name and is_run(folder.path)):
        return folder
    if is_run(folder.aside.path):
        return folder.aside
    moved = moved_to(folder)
    return None if moved == folder else moved


def _registered_and_default() -> Iterator[RunRecord]:
    """Yield each run once, identified by its real path, as in the registry."""
    rows = (*_registered(), *found_in(default_runs_dir(None), resolve=True))
    yield from {row.folder: row for row in rows}.values()


def _registered() -> Iterator[RunRecord]:
    """Yield the runs of the registry, and its entries that are damaged."""
    groups: dict[Path, dict[Path, Entry]] = {}
    for file in _entry_files():
        try:
            entry = _read_entry(file)
        except (OSError, ValueError) as error:
            if os.path.lexists(file):  # else another process has just removed it
                reason = error.strerror if isinstance(error, OSError) else str(error)
                yield problem_row(file, f"this registry entry is damaged ({reason}); remove it: rm {file}")
        else:
            groups.setdefault(Path(entry.folder).parent, {})[file] = entry
    for runs_dir, entries in groups.items():
        folders = [Path(entry.folder) for entry in entries.values()]
        yield from listed(runs_dir, partial(_in_registry, runs_dir, entries), folders)


def _read_entry(file: Path) -> Entry:
    """Read a registry entry. Raises OSError, and ValueError if it is damaged."""
    entry = decode(Entry, parse_json(read_regular(file)))
    folder = os.fsencode(entry.folder)
    if not folder.startswith(b"/") or b"\0" in folder:
        raise ValueError(f"folder is {entry.folder!r}")
    return entry


def _entry_files() -> list[Path]:
    try:
        return sorted(path for path in _registry_folder().iterdir() if path.suffix == ".json")
    except OSError:  # there is none yet
        return []


def _in_registry(runs_dir: Path, entries: Mapping[Path, Entry]) -> Iterator[RunRecord]:
    """Yield the registered runs of one folder of runs. Entries of deleted runs are removed.

    A run counts as deleted only if the folder of runs is there and is the one that it was in: where a disk is
    not mounted, there may be an empty folder, with another inode, or none.
    """
    missing = {}
    is_there = False
    for file, entry in entries.items():
        folder = Path(entry.folder)
        if entry.missing and entry.start is not None and start_ticks(entry.pid) == entry.start:
            yield problem_row(folder, entry.missing, is_unreachable=True)
            continue
        try:
            folder.stat()
        except (FileNotFoundError, NotADirectoryError):
            missing[file] = folder
        except OSError as error:
            yield problem_row(folder, f"{error.strerror}", is_unreachable=is_away(error))
        else:
            is_there = True
            if is_run(folder):  # which may have been moved to another disk, with a link in its place
                yield read_row(RunFolder(real_path(folder)))
    try:
        inode = str(runs_dir.stat().st_ino)
        next(runs_dir.iterdir(), None)
    except OSError as error:
        reason = f"{runs_dir}: {error.strerror}; if deleted: torchconsole delete "
        yield from (
            problem_row(folder, reason + folder.name, is_unreachable=True) for folder in missing.values()
        )
        return
    known = {entry.inode for entry in entries.values()}
    for file, folder in missing.items():
        if is_run((rest := RunFolder(folder).aside).path):
            yield read_row(rest)
        elif is_there or inode in known or known == {""}:
            with suppress(OSError):  # a state folder that is read-only
                file.unlink()
        else:
            reason = f"nothing is mounted at {runs_dir}; if deleted: torchconsole delete "
            yield problem_row(folder, reason + folder.name, is_unreachable=True)


def _candidates(records: Sequence[RunRecord]) -> str:
    """List the runs by name, or by folder if the names are not unique."""
    distinct = len({record.name for record in records}) == len(records)
    texts = [record.name if distinct else record.folder for record in records]
    more = f" and {len(texts) - MAX_CANDIDATES} more" if len(texts) > MAX_CANDIDATES else ""
    return ", ".join(texts[:MAX_CANDIDATES]) + more

"""The user's runs: a registry that finds them from any folder, and the names by which users select them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import platformdirs

from torchconsole.engine.errors import RunError
from torchconsole.engine.files import write_atomically
from torchconsole.engine.protocol.status import DEAD_STATUSES
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.names import DELETING, RUN_FILE
from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.text import did_you_mean

MAX_CANDIDATES = 3
"""Number of candidates in an error message."""

TAIL_BYTES = 8192
"""Size of the end of metrics.jsonl that contains its last complete line."""


def default_runs_dir(option: Path | None) -> Path:
    """Return the folder for new runs: `option`, else $TORCHCONSOLE_RUNS, else ./runs."""
    return option or Path(os.environ.get("TORCHCONSOLE_RUNS") or "runs")


def register(folder: RunFolder) -> None:
    """Add a run to the user's registry: one small file per run. Raises RunError if that fails."""
    path = folder.path.resolve()
    entry = _entry(path)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(entry, json.dumps({"folder": str(path)}).encode() + b"\n")
    except OSError as error:
        raise RunError(f"{entry}: cannot add the run to your registry: {error.strerror}") from error


def unregister(folder: RunFolder) -> None:
    """Remove a run's entry in the registry. Raises OSError."""
    _entry(folder.path.resolve()).unlink(missing_ok=True)


def list_runs(runs_dir: Path | None = None) -> list[RunRecord]:
    """List the runs of the registry and the default folder, or of `runs_dir` only: live runs first, then the
    newest first.

    The default folder may be on a shared disk, with runs that are in another machine's registry. Deleted runs
    are removed from the registry, and those whose deletion was interrupted are listed as such. A run whose
    run.json cannot be read is listed as lost, with the reason.
    """
    folders = _registered_and_default() if runs_dir is None else _found_in(runs_dir)
    records = [_read(folder) for folder in folders if folder.run_file.exists() or folder.is_being_deleted]
    return sorted(records, key=lambda record: (not record.is_live, -record.created, record.name))


ByPreset = Literal["newest", "newest live", "refuse"]
"""The run that a preset's name selects: its newest, its newest live run (else its newest), or none."""


def find_run(
    name: str | None, runs_dir: Path | None = None, *, live: bool = False, by_preset: ByPreset = "newest"
) -> RunFolder:
    """Find a run by its folder, its name, the name of its preset or a unique prefix of its name.

    None selects the newest live run, else the newest run; with `live` it must be live. If several names begin
    with the prefix, `live` selects the only live run among them. Raises RunError that names candidates.
    """
    if name and (folder := RunFolder(Path(name).absolute())).run_file.exists():
        return folder
    if name and folder.aside.path.is_dir():
        return folder.aside
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
    return RunFolder(Path(found[0].folder))


def _pick_run_of(preset: str, records: Sequence[RunRecord], by_preset: ByPreset) -> RunRecord:
    """Pick one of a preset's runs. Raises RunError if a preset's name is not accepted."""
    if by_preset == "refuse":
        raise RunError(
            f"{preset!r} is the name of a preset, not of a run; name one of its runs: {_candidates(records)}"
        )
    is_live_counts = by_preset == "newest live"
    return max(records, key=lambda record: (is_live_counts and record.is_live, record.created))


def _registry_folder() -> Path:
    return Path(platformdirs.user_state_dir("torchconsole")) / "runs"


def _entry(path: Path) -> Path:
    return _registry_folder() / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.json"


def _registered_and_default() -> Iterator[RunFolder]:
    """Yield each run once, identified by its real path, as in the registry."""
    default = (RunFolder(folder.path.resolve()) for folder in _found_in(default_runs_dir(None)))
    yield from {folder.path: folder for folder in (*_registered(), *default)}.values()


def _registered() -> Iterator[RunFolder]:
    for entry in _registry_folder().glob("*.json"):
        try:
            folder = Path(json.loads(entry.read_bytes())["folder"])
        except FileNotFoundError:  # another process has just removed it
            continue
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{entry}: not a valid registry entry; remove it") from error
        if not _is_deleted(folder):
            yield RunFolder(folder)
        elif (rest := RunFolder(folder).aside).path.is_dir():
            yield rest
        else:
            entry.unlink(missing_ok=True)


def _is_deleted(folder: Path) -> bool:
    """Whether a run was deleted. If its runs folder and the one above are missing, a disk is not mounted."""
    return not folder.exists() and folder.parent.parent.exists()


def _found_in(runs_dir: Path) -> Iterator[RunFolder]:
    for path in runs_dir.absolute().glob("*/run.json"):
        yield RunFolder(path.parent)
    for path in runs_dir.absolute().glob(f"*{DELETING}"):
        if path.is_dir() and not (path / RUN_FILE).exists():
            yield RunFolder(path)


def _read(folder: RunFolder) -> RunRecord:
    try:
        record = folder.read_record()
    except RunError as error:
        return RunRecord(folder.original.name, str(folder.path), status="lost", reason=str(error))
    return _up_to_date(record, folder) if record.status in DEAD_STATUSES else record


def _up_to_date(record: RunRecord, folder: RunFolder) -> RunRecord:
    """Update the record from the last line of metrics: that of a killed worker may be a second older."""
    last = _last_line(folder.metrics_file)
    if last.get("seq", 0) <= record.seq:
        return record
    return replace(record, **{key: last[key] for key in ("step", "epoch", "lr") if last.get(key) is not None})


def _last_line(path: Path) -> dict[str, Any]:
    """Return the last complete line; empty if none can be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        with suppress(ValueError):
            if isinstance(found := json.loads(line), dict):
                return found
    return {}


def _candidates(records: Sequence[RunRecord]) -> str:
    """List the runs by name, or by folder if the names are not unique."""
    distinct = len({record.name for record in records}) == len(records)
    texts = [record.name if distinct else record.folder for record in records]
    more = f" and {len(texts) - MAX_CANDIDATES} more" if len(texts) > MAX_CANDIDATES else ""
    return ", ".join(texts[:MAX_CANDIDATES]) + more

"""The user's runs: a register that finds them from any folder, and names that people type for them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
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
from torchconsole.engine.run.liveness import lock_holder
from torchconsole.engine.run.record import RunRecord
from torchconsole.engine.text import did_you_mean

NAMED = 3
"""How many candidates an error message lists."""

TAIL_BYTES = 8192
"""How far back the last whole line of metrics.jsonl is looked for."""


def default_runs_dir(option: Path | None) -> Path:
    """Where new runs go: `option`, else $TORCHCONSOLE_RUNS, else ./runs."""
    return option or Path(os.environ.get("TORCHCONSOLE_RUNS") or "runs")


def register(folder: RunFolder) -> None:
    """Enter a run in the user's register: one small file per run. Raises RunError when that fails."""
    path = folder.path.resolve()
    entry = _entry(path)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(entry, json.dumps({"folder": str(path)}).encode() + b"\n")
    except OSError as error:
        raise RunError(f"{entry}: the run cannot be entered in your register: {error.strerror}") from error


def forget(folder: RunFolder) -> None:
    """Remove a run with all that is in its folder, and its entry in the register. Raises OSError."""
    entry = _entry(folder.path.resolve())
    shutil.rmtree(folder.path)
    entry.unlink(missing_ok=True)


def delete_run(folder: RunFolder) -> None:
    """Remove a run that has ended, with its checkpoints. Raises RunError for a live one, or when it fails."""
    record = _read(folder)
    if record.is_live:
        where = "" if record.is_here else f" on {record.host}"
        raise RunError(f"{record.name} is {record.status}{where}: stop it before you delete it")
    try:
        if (holder := lock_holder(folder.lock_file)) is not None:
            raise RunError(f"{record.name}: its worker (pid {holder}) has not ended yet; try again later")
        forget(folder)
    except OSError as error:
        raise RunError(f"{folder.path} cannot be removed: {error}") from error


def list_runs(runs_dir: Path | None = None) -> list[RunRecord]:
    """The runs of the register and of the default folder, or of that folder alone: live ones first, then the
    newest first.

    The default folder may be on a shared disk, with runs that another machine's register knows. Folders that
    are gone are left out; the register forgets them. A run whose run.json cannot be read is listed as lost,
    with the cause.
    """
    folders = _registered_or_near() if runs_dir is None else _found_in(runs_dir)
    records = [_read(folder) for folder in folders if folder.run_file.exists()]
    return sorted(records, key=lambda record: (not record.is_live, -record.created, record.name))


ByPreset = Literal["newest", "newest live", "refuse"]
"""Which run a preset's name stands for: its newest, its newest live run (else its newest), or none."""


def find_run(
    name: str | None, runs_dir: Path | None = None, *, live: bool = False, by_preset: ByPreset = "newest"
) -> RunFolder:
    """Find a run by its folder, its name, the name of its preset or a unique prefix of its name.

    None is the newest live run, else the newest run; with `live` it must be live. If several names begin with
    the prefix, `live` selects the only live run among them. Raises RunError that names candidates.
    """
    if name and (folder := RunFolder(Path(name).absolute())).run_file.exists():
        return folder
    records = list_runs(runs_dir)
    place = f"in {runs_dir}" if runs_dir else "yet"
    if not records:
        raise RunError(f"there is no run {place}; start one with `torchconsole train PRESET`")
    if name is None:
        if live and not records[0].is_live:
            raise RunError(f"no run is live; the newest is {records[0].name}, which is {records[0].status}")
        return RunFolder(Path(records[0].folder))
    found = [record for record in records if record.name == name]
    if not found and (of_preset := [record for record in records if record.preset == name]):
        return RunFolder(Path(_pick_run_of(name, of_preset, by_preset).folder))
    found = found or [record for record in records if record.name.startswith(name)]
    if not found:
        names = [record.name for record in records]
        raise RunError(f"no run is named {name!r}{did_you_mean(name, names, NAMED)}")
    if live and len(at_work := [record for record in found if record.is_live]) == 1:
        found = at_work
    if len(found) > 1:
        raise RunError(f"{name!r} may be any of: {_named(found)}; give more of its name, or its folder")
    return RunFolder(Path(found[0].folder))


def _pick_run_of(preset: str, records: Sequence[RunRecord], by_preset: ByPreset) -> RunRecord:
    """Pick one of a preset's runs. Raises RunError if a preset's name is not accepted."""
    if by_preset == "refuse":
        raise RunError(
            f"{preset!r} is the name of a preset, not of a run; give the name of a run: {_named(records)}"
        )
    is_live_counts = by_preset == "newest live"
    return max(records, key=lambda record: (is_live_counts and record.is_live, record.created))


def _register_folder() -> Path:
    return Path(platformdirs.user_state_dir("torchconsole")) / "runs"


def _entry(path: Path) -> Path:
    return _register_folder() / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.json"


def _registered_or_near() -> Iterator[RunFolder]:
    """Each once, by its real path, which is what the register holds."""
    near = (RunFolder(folder.path.resolve()) for folder in _found_in(default_runs_dir(None)))
    yield from {folder.path: folder for folder in (*_registered(), *near)}.values()


def _registered() -> Iterator[RunFolder]:
    for entry in _register_folder().glob("*.json"):
        try:
            folder = Path(json.loads(entry.read_bytes())["folder"])
        except FileNotFoundError:  # another process has just dropped it
            continue
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{entry}: not an entry of the register; remove it") from error
        if _is_deleted(folder):
            entry.unlink(missing_ok=True)
        else:
            yield RunFolder(folder)


def _is_deleted(folder: Path) -> bool:
    """A disk that is not mounted takes the folder of the runs' folder along: its runs may come back."""
    return not folder.exists() and folder.parent.parent.exists()


def _found_in(runs_dir: Path) -> Iterator[RunFolder]:
    for path in runs_dir.absolute().glob("*/run.json"):
        yield RunFolder(path.parent)


def _read(folder: RunFolder) -> RunRecord:
    try:
        record = folder.read_record()
    except RunError as error:
        return RunRecord(folder.name, str(folder.path), status="lost", reason=str(error))
    return _up_to_date(record, folder) if record.status in DEAD_STATUSES else record


def _up_to_date(record: RunRecord, folder: RunFolder) -> RunRecord:
    """The run.json of a worker that was killed may be a second older than its last line of metrics."""
    last = _last_line(folder.metrics_file)
    if last.get("seq", 0) <= record.seq:
        return record
    return replace(record, **{key: last[key] for key in ("step", "epoch", "lr") if last.get(key) is not None})


def _last_line(path: Path) -> dict[str, Any]:
    """The last whole line; nothing where there is none that can be read."""
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


def _named(records: Sequence[RunRecord]) -> str:
    """Names where they tell the runs apart, else folders."""
    distinct = len({record.name for record in records}) == len(records)
    texts = [record.name if distinct else record.folder for record in records]
    more = f" and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return ", ".join(texts[:NAMED]) + more

"""The user's runs: a register that finds them from any folder, and names that people type for them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import platformdirs

from torchconsole.engine.errors import RunError
from torchconsole.engine.runtime.files import write_atomically
from torchconsole.engine.runtime.run_folder import RunFolder, RunRecord

NAMED = 8
"""How many candidates an error message lists."""


def default_runs_dir(option: Path | None) -> Path:
    """Where new runs go: `option`, else $TORCHCONSOLE_RUNS, else ./runs."""
    return option or Path(os.environ.get("TORCHCONSOLE_RUNS") or "runs")


def register(folder: RunFolder) -> None:
    """Enter a run in the user's register: one small file per run. Raises RunError when that fails."""
    path = str(folder.path.resolve())
    entry = _register_folder() / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.json"
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(entry, json.dumps({"folder": path}).encode() + b"\n")
    except OSError as error:
        raise RunError(f"{entry}: the run cannot be entered in your register: {error.strerror}") from error


def list_runs(runs_dir: Path | None = None) -> list[RunRecord]:
    """The runs of the register, or of that folder alone: live ones first, then the newest first.

    Folders that are gone are left out. A run whose run.json cannot be read is listed as lost, with the cause.
    """
    folders = _registered() if runs_dir is None else _found_in(runs_dir)
    records = [_read(folder) for folder in folders if folder.run_file.exists()]
    return sorted(records, key=lambda record: (not record.is_live, -record.created, record.name))


def find_run(name: str | None, runs_dir: Path | None = None, *, live: bool = False) -> RunFolder:
    """The run that a person means: its name, its folder, or an unambiguous beginning of its name.

    None is the newest live run, else the newest. With `live`, of several whose names begin so, the only live
    one is meant. Raises RunError that lists the candidates.
    """
    if name and (folder := RunFolder(Path(name).absolute())).run_file.exists():
        return folder
    records = list_runs(runs_dir)
    place = f"in {runs_dir}" if runs_dir else "yet"
    if not records:
        raise RunError(f"there is no run {place}; start one with `torchconsole train PRESET`")
    if name is None:
        return RunFolder(Path(records[0].folder))
    found = [record for record in records if record.name == name]
    found = found or [record for record in records if record.name.startswith(name)]
    if not found:
        raise RunError(f"no run is named {name!r}; there are: {_named(records)}")
    if live and len(at_work := [record for record in found if record.is_live]) == 1:
        found = at_work
    if len(found) > 1:
        raise RunError(f"{name!r} may be any of: {_named(found)}; give more of its name, or its folder")
    return RunFolder(Path(found[0].folder))


def _register_folder() -> Path:
    return Path(platformdirs.user_state_dir("torchconsole")) / "runs"


def _registered() -> Iterator[RunFolder]:
    for entry in _register_folder().glob("*.json"):
        try:
            yield RunFolder(Path(json.loads(entry.read_bytes())["folder"]))
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{entry}: not an entry of the register; remove it") from error


def _found_in(runs_dir: Path) -> Iterator[RunFolder]:
    for path in runs_dir.absolute().glob("*/run.json"):
        yield RunFolder(path.parent)


def _read(folder: RunFolder) -> RunRecord:
    try:
        return folder.read_record()
    except RunError as error:
        return RunRecord(folder.name, str(folder.path), status="lost", reason=str(error))


def _named(records: Sequence[RunRecord]) -> str:
    """Names where they tell the runs apart, else folders."""
    distinct = len({record.name for record in records}) == len(records)
    texts = [record.name if distinct else record.folder for record in records]
    more = f" and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return ", ".join(texts[:NAMED]) + more

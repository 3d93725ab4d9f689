"""The catalogue of torch's classes in the user's cache, written once for each set of versions.

An installation from a git checkout keeps its version while its classes change, so that the files of the
engine count as well.
"""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
from pathlib import Path

from pydantic import ValidationError

from torchconsole.engine.config.catalogue import Catalogue, installed_versions
from torchconsole.engine.config.import_path import worker_environment
from torchconsole.engine.errors import RunError
from torchconsole.engine.files import read_regular, write_atomically
from torchconsole.engine.run.memory_kills import read_counters
from torchconsole.engine.run.process_end import failure_reason
from torchconsole.engine.user_folders import cache_folder, cannot_write

log = logging.getLogger(__name__)

CATALOGUED = ("analysis", "components", "config")
"""Folders of the engine with what a catalogue is made of."""

_not_cached: dict[Path, Catalogue] = {}
"""The catalogue of this process, by its file, if that cannot be written."""


def load_catalogue() -> Catalogue:
    """Read the catalogue; if there is none, a process with torch makes it first, which takes a few seconds.

    Warns if it cannot be cached. Raises RunError if torch cannot be imported.
    """
    path = _file()
    if path in _not_cached:
        return _not_cached[path]
    try:
        return Catalogue.model_validate_json(read_regular(path))
    except (OSError, ValidationError):
        return _make(path)


def _make(path: Path) -> Catalogue:
    command = [sys.executable, "-P", "-m", "torchconsole.engine.analysis.report", "catalogue"]
    kills = read_counters()
    done = subprocess.run(command, capture_output=True, check=False, env=worker_environment())
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise RunError(f"torch cannot be imported: {failure_reason(done.returncode, lines, kills)}")
    catalogue = Catalogue.model_validate_json(done.stdout)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, done.stdout)
    except OSError as error:
        consequence = "each command reads again what torch offers, which takes a few seconds"
        log.warning(cannot_write(path.parent, error, consequence))
        _not_cached[path] = catalogue
    return catalogue


def _file() -> Path:
    """Return the file for the installed versions, and for the engine's files as they are."""
    engine = Path(__file__).parents[1]
    facts = [file.stat() for folder in CATALOGUED for file in sorted((engine / folder).rglob("*.py"))]
    content = [installed_versions(), [(found.st_size, found.st_mtime_ns) for found in facts]]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return cache_folder() / f"catalogue-{digest[:16]}.json"

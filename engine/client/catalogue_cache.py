"""The catalogue of torch's classes in the user's cache, written once for each set of versions.

An installation from a git checkout keeps its version while its classes change, so that the files of the
engine count as well.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

from platformdirs import user_cache_path
from pydantic import ValidationError

from torchconsole.engine.config.catalogue import Catalogue, installed_versions
from torchconsole.engine.errors import RunError
from torchconsole.engine.files import write_atomically

CATALOGUED = ("analysis", "components", "config")
"""Folders of the engine with what a catalogue is made of."""


def load_catalogue() -> Catalogue:
    """Read the catalogue; if there is none, a process with torch writes it first, which takes a few seconds.

    Raises RunError if torch cannot be imported or the cache cannot be written.
    """
    path = _file()
    try:
        return Catalogue.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return _write(path)
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from error


def _write(path: Path) -> Catalogue:
    command = [sys.executable, "-P", "-m", "torchconsole.engine.analysis.report", "catalogue"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise RunError(f"torch cannot be imported: {lines[-1] if lines else f'exit {done.returncode}'}")
    catalogue = Catalogue.model_validate_json(done.stdout)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, done.stdout)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from error
    return catalogue


def _file() -> Path:
    """Return the file for the installed versions, and for the engine's files as they are."""
    engine = Path(__file__).parents[1]
    facts = [file.stat() for folder in CATALOGUED for file in sorted((engine / folder).rglob("*.py"))]
    content = [installed_versions(), [(found.st_size, found.st_mtime_ns) for found in facts]]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return user_cache_path("torchconsole") / f"catalogue-{digest[:16]}.json"

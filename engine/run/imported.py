"""A run that was imported from a file of another tool: it can be looked at, and nothing else."""

from __future__ import annotations

from contextlib import suppress

from torchconsole.engine.config.preset_files import read_toml
from torchconsole.engine.errors import PresetError, RunError
from torchconsole.engine.run.folder import RunFolder

SECTION = "imported"
"""The section of preset.toml that marks such a run. `settings` beside it has those that the tool knows."""

PRESET = "imported"
"""The preset of such runs in listings."""


def imported_from(folder: RunFolder) -> str:
    """Return the file or folder that a run was imported from; empty for any other run."""
    with suppress(PresetError):  # reported by whoever reads the preset
        section = read_toml(folder.preset_file).get(SECTION)
        if isinstance(section, dict):
            return str(section.get("from", "")) or "another tool"
    return ""


def refuse_imported(folder: RunFolder, verb: str) -> None:
    """Raise RunError if the run was imported: it has no model, no data and no checkpoint."""
    if source := imported_from(folder):
        raise RunError(
            f"{folder.name}: torchconsole cannot {verb} it, because it was imported from {source}, which has "
            "no model and no checkpoint; `attach`, `compare`, `plot` and `metrics` show it"
        )

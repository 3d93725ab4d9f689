"""The metadata of a .safetensors export: the preset of its run, and how inputs are prepared."""

from __future__ import annotations

import tomllib
from pathlib import Path

from safetensors import SafetensorError, safe_open

from torchconsole.engine.errors import CheckpointError

SUFFIX = ".safetensors"

PRESET, INPUT, STEP = "torchconsole.preset", "torchconsole.input", "torchconsole.step"


def read_export_metadata(file: Path) -> dict[str, str]:
    """Return the metadata of an export, with at least PRESET, INPUT and STEP.

    Raises CheckpointError for a file that cannot be read, or from whose metadata no model can be built.
    """
    try:
        with safe_open(file, framework="numpy") as opened:
            metadata: dict[str, str] = opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file}: not a safetensors file: {error}") from error
    if PRESET not in metadata:
        raise CheckpointError(
            f"{file}: its metadata has no preset, so that its model is not known; give a file that "
            "`torchconsole export` has written"
        )
    if INPUT not in metadata or STEP not in metadata:
        raise CheckpointError(
            f"{file}: its metadata does not say how inputs are prepared ({INPUT}); export the run again with "
            "`torchconsole export RUN`, unless its dataset is your own code: then load the model in Python"
        )
    try:
        tomllib.loads(metadata[PRESET])
    except ValueError as error:
        raise CheckpointError(f"{file}: the preset in its metadata is damaged: {error}") from error
    return metadata

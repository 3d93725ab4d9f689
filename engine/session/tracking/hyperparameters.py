"""The settings of a run as other tools take them."""

from __future__ import annotations

import json

from torchconsole.engine.config.comparison import flatten
from torchconsole.engine.config.preset_files import read_toml
from torchconsole.engine.run.folder import RunFolder

Hyperparameters = dict[str, bool | int | float | str]


def hyperparameters(folder: RunFolder) -> Hyperparameters:
    """Return the settings by dotted key, with what `auto` decided; lists as JSON. Raises PresetError."""
    return {
        key: value if isinstance(value, bool | int | float | str) else json.dumps(value, default=str)
        for key, value in flatten(read_toml(folder.preset_file)).items()
    }

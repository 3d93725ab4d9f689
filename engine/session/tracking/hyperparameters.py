"""The settings of a run as other tools take them."""

from __future__ import annotations

import json
import logging

from torchconsole.engine.config.comparison import flatten
from torchconsole.engine.config.preset_files import read_toml
from torchconsole.engine.errors import PresetError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.text import first_line

log = logging.getLogger(__name__)

Hyperparameters = dict[str, bool | int | float | str]


def hyperparameters(folder: RunFolder) -> Hyperparameters:
    """Return the settings by dotted key, with what `auto` decided; lists as JSON.

    If the preset of the run cannot be read, that is logged, and there are none: the values are worth more.
    """
    try:
        settings = read_toml(folder.preset_file)
    except PresetError as error:
        log.warning("tracking: the settings are left out: %s", first_line(error))
        return {}
    return {
        key: value if isinstance(value, bool | int | float | str) else json.dumps(value, default=str)
        for key, value in flatten(settings).items()
    }

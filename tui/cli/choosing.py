"""From the name and options on the command line to a preset that is right and may run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torchconsole.engine.text import printable
from torchconsole.tui.cli.terminal import has_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from torchconsole.engine.config.schema import Preset


def choose_preset(name: str, overrides: Sequence[str] | None) -> Preset:
    """Load a preset and check it against what torch offers. Raises PresetError with every mistake in it."""
    from torchconsole.engine.client.catalogue_cache import load_catalogue
    from torchconsole.engine.config.loading import load_preset

    return load_preset(name, overrides or [], load_catalogue())


def agree_to_own_code(preset: Preset, agreed: bool) -> None:
    """See to it that the user has agreed to each file of theirs that the preset runs.

    Asks in a terminal, once for each content. Raises TrustError without one, unless `agreed` beforehand.
    """
    from torchconsole.engine.config.user_code import trust, untrusted
    from torchconsole.engine.errors import TrustError

    for path in untrusted(preset.model_dump()):
        if not (agreed or (has_terminal() and _says_yes(path))):
            raise TrustError(f"{path} is code of yours that was not trusted yet: read it, then give --trust")
        trust(path)


def _says_yes(path: Path) -> bool:
    answer = input(f"This preset runs {printable(str(path))}. Do you trust what is in that file? [y/N] ")
    return answer.strip().lower() in ("y", "yes")

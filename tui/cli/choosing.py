"""From the name and options on the command line to a preset that is right and may run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torchconsole.tui.cli.terminal import confirm, has_terminal

if TYPE_CHECKING:
    from torchconsole.engine.config.schema import Preset


def choose_preset(name: str, overrides: Sequence[str] | None) -> Preset:
    """Load a preset and check it against what torch offers. Raises PresetError with every mistake in it."""
    from torchconsole.engine.client.catalogue_cache import load_catalogue
    from torchconsole.engine.config.loading import load_preset

    return load_preset(name, overrides or [], load_catalogue())


def agree_to_own_code(preset: Preset, agreed: bool) -> None:
    """Make sure that the user trusts each file of theirs that the preset runs.

    Asks in a terminal, once for each content. Raises TrustError without one, unless already `agreed`.
    """
    from torchconsole.engine.config.user_code import trust, untrusted_files
    from torchconsole.engine.errors import TrustError

    for path in untrusted_files(preset.model_dump()):
        if not (agreed or (has_terminal() and confirm(f"This preset runs {path}. Do you trust this file?"))):
            raise TrustError(f"{path} is user code that is not trusted yet: read it, then pass --trust")
        trust(path)

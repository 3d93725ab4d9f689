"""The dialog that takes a live run back: it lists the run's checkpoints, the best one first."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from torchconsole.engine.errors import CheckpointError
from torchconsole.engine.files import real_path
from torchconsole.engine.run.checkpoints import Manifest, list_checkpoints, read_manifest
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.names import BEST, LAST
from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_named_metric
from torchconsole.tui.screens.dialogs import Choice, ChoiceScreen
from torchconsole.tui.table import shorten

MOST = 9
"""Checkpoints that have a key."""

LABEL_CELLS = 47
"""Cells that the dialog has for a checkpoint."""

EXPLANATION = (
    "It trains on from there; what was logged later is void, and later checkpoints are removed, except the "
    "best one and those you saved."
)


class RollBackScreen(ChoiceScreen):
    """Asks which checkpoint a run goes back to. Returns its name or None."""

    def __init__(self, run_name: str, choices: Sequence[Choice]) -> None:
        older = len(choices) - MOST
        more = f" {older} older: torchconsole send RUN rollback STEP." if older > 0 else ""
        super().__init__(
            f"Roll {printable(run_name)} back to a checkpoint?", EXPLANATION + more, choices[:MOST]
        )


def checkpoint_choices(run: RunFolder, metric: str | None) -> list[Choice]:
    """Return the run's checkpoints, the best one first, then the newest, with their values of `metric`.

    Reads their manifests only; the worker verifies the one that is chosen.
    """
    links = {link: real_path(run.checkpoints / link).name for link in (BEST, LAST)}
    found: list[tuple[str, Manifest]] = []
    for folder in list_checkpoints(run.checkpoints):
        with suppress(CheckpointError):  # it is being replaced, or is damaged
            found.append((folder.name, read_manifest(folder)))
    found.sort(key=lambda each: each[0] != links[BEST])
    width = max((len(f"{manifest.step:,}") for _, manifest in found), default=0)
    choices = []
    for number, (name, manifest) in enumerate(found, 1):
        roles = [link for link, linked in links.items() if linked == name] + ["kept"] * manifest.kept
        value = format_named_metric(metric, manifest.metrics[metric]) if metric in manifest.metrics else ""
        parts = (f"step {manifest.step:>{width},}", f"{printable(metric or '')} {value}" if value else "")
        label = "  ".join(filter(None, (*parts, ", ".join(roles))))
        choices.append(Choice((str(number),), name, shorten(label, LABEL_CELLS)))
    return choices

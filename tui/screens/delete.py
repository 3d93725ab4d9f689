"""Asks before a run is deleted."""

from __future__ import annotations

from torchconsole.tui.screens.choice import Choice, ChoiceScreen


class DeleteScreen(ChoiceScreen):
    """Ends with `delete`, or None."""

    def __init__(self, run_name: str) -> None:
        super().__init__(
            f"Delete {run_name}?",
            "Its folder goes, with all its checkpoints, metrics and logs. It cannot be brought back.",
            [Choice(("y",), "delete", "delete it")],
        )

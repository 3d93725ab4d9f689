"""Asks before a run is stopped."""

from __future__ import annotations

from torchconsole.tui.screens.choice import Choice, ChoiceScreen


class StopScreen(ChoiceScreen):
    """Ends with `stop`, or None."""

    def __init__(self, run_name: str) -> None:
        super().__init__(
            f"Stop {run_name}?",
            "It ends after the current step with a checkpoint, from which it can be resumed.",
            [Choice(("y",), "stop", "stop after this step and save")],
        )

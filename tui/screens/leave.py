"""Asks what becomes of a live run when its screen is left."""

from __future__ import annotations

from torchconsole.tui.screens.choice import Choice, ChoiceScreen


class LeaveScreen(ChoiceScreen):
    """Ends with `detach`, `stop-and-leave`, or None."""

    def __init__(self, run_name: str) -> None:
        super().__init__(
            f"Leave {run_name}?",
            "If you detach, it keeps running and you can attach again at any time.",
            [
                Choice(("d", "ctrl+c"), "detach", "detach: leave the run going"),
                Choice(("x",), "stop-and-leave", "stop after this step and save, then leave"),
            ],
        )

"""The one table of what the run screen can do: its bindings, key bar, help and palette are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding

Occasion = Literal["steerable", "ended", "resumable", "broken", "always"]
"""Commands reach the run; they do not; it can go on from a checkpoint; the connection is gone."""


@dataclass(frozen=True)
class Action:
    """One thing to do. `id` names the screen's `action_<id>`; `keys` are Textual's names for its keys.

    On its occasion the key bar offers it as `shown_key` and `label`; without an occasion it never does.
    """

    id: str
    keys: tuple[str, ...]
    shown_key: str
    label: str
    help: str
    occasion: Occasion | None = "steerable"

    @property
    def binding(self) -> Binding:
        """The binding for every key of this action."""
        return Binding(",".join(self.keys), self.id, self.help, show=False, key_display=self.shown_key)


ACTIONS: tuple[Action, ...] = (
    Action("toggle_pause", ("space",), "space", "pause", "Pause after the current step, or go on"),
    Action("lower_lr", ("minus",), "-", "", "Lower the lr by a quarter decade (x0.56)"),
    Action("raise_lr", ("plus", "equals_sign"), "+", "lr", "Raise the lr by a quarter decade (x1.78)"),
    Action("type_lr", ("l",), "l", "lr=", "Type an lr: a value, or a factor such as x0.5"),
    Action("save", ("s",), "s", "save", "Save a checkpoint that is kept"),
    Action("evaluate", ("e",), "e", "eval", "Evaluate on the validation data now"),
    Action("stop", ("x",), "x", "stop", "Stop after the current step and save; asks first"),
    Action("detach", ("d",), "d", "detach", "Leave the run going and go back"),
    Action(
        "resume",
        ("r",),
        "r",
        "resume",
        "Go on from the last checkpoint of an ended run",
        "resumable",
    ),
    Action("reattach", ("a",), "a", "attach again", "Attach again after the connection broke", "broken"),
    Action(
        "show_pane('layers')", ("1",), "1", "layers", "Show the layer table; pressed again: enlarge it", None
    ),
    Action("show_pane('log')", ("2",), "2", "log", "Show the log; pressed again: enlarge it", "ended"),
    Action(
        "show_pane('interventions')",
        ("3",),
        "3",
        "interventions",
        "Show what was changed; pressed again: enlarge it",
        None,
    ),
    Action("next_pane", ("tab",), "tab", "next", "Show the next of these three", None),
    Action(
        "leave", ("q", "ctrl+c", "ctrl+q"), "q", "leave", "Leave; asks whether a live run goes on", "always"
    ),
    Action("help", ("question_mark",), "?", "help", "Show this help", "always"),
    Action(
        "app.command_palette", ("ctrl+p",), "ctrl+p", "palette", "Search everything that can be done", None
    ),
)

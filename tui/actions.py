"""The one table of what the run screen can do: its bindings, key bar, help and palette are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from textual.binding import Binding

if TYPE_CHECKING:
    from torchconsole.tui.state import ConsoleState

Occasion = Literal["steerable", "live", "resumable", "broken", "always"]
"""Commands reach the run; it goes on; it can go on from a checkpoint; the connection is gone."""


@dataclass(frozen=True)
class Action:
    """One thing to do. `id` names the screen's `action_<id>`; `keys` are Textual's names for its keys.

    On its occasion the palette offers it, and the key bar as `shown_key` and `label`. Where the bar is too
    narrow, the actions of the highest `rank` give way first, those of rank 0 never.
    """

    id: str
    keys: tuple[str, ...]
    shown_key: str
    label: str
    help: str
    occasion: Occasion = "steerable"
    rank: int = 0

    @property
    def binding(self) -> Binding:
        """The binding for every key of this action.

        With priority: the app looks for it before the key goes down to a widget and up again, so that what
        it opens is there for the next key, however fast that comes.
        """
        return Binding(
            ",".join(self.keys), self.id, self.help, show=False, key_display=self.shown_key, priority=True
        )


# fmt: off
ACTIONS: tuple[Action, ...] = (
    Action("toggle_pause", ("space",), "space", "pause", "Pause after the current step; unpause", rank=1),
    Action("lower_lr", ("minus",), "-", "", "Lower the lr (x0.56)", rank=4),
    Action("raise_lr", ("plus", "equals_sign"), "+", "lr", "Raise the lr (x1.78)",
           rank=4),
    Action("type_lr", ("l",), "l", "lr=", "Type an lr: 0.01, x0.5, hold 0.01 or release", rank=5),
    Action("toggle_hold", ("h",), "h", "hold", "Hold the lr where it is, or release it", rank=10),
    Action("save", ("s",), "s", "save", "Save a checkpoint that is kept", rank=3),
    Action("evaluate", ("e",), "e", "eval", "Evaluate on the validation data now", rank=6),
    Action("stop", ("x",), "x", "stop", "Stop after the current step and save; asks first", rank=2),
    Action("detach", ("d",), "d", "detach", "Detach; the run keeps running", "live", 7),
    Action("resume", ("r",), "r", "resume", "Resume an ended run from its last checkpoint", "resumable", 1),
    Action("reattach", ("a",), "a", "attach again", "Attach again after the connection broke", "broken", 1),
    Action("show_pane('layers')", ("1",), "1", "layers",
           "Show the layer table; pressed again: enlarge it", "always", 9),
    Action("show_pane('log')", ("2",), "2", "log", "Show the log; pressed again: enlarge it", "always", 8),
    Action("show_pane('changes')", ("3",), "3", "changes",
           "Show what was changed; pressed again: enlarge it", "always", 9),
    Action("show_pane('confusion')", ("4",), "4", "confusion",
           "Show the confusion matrix; again: enlarge it", "always", 11),
    Action("next_pane", ("tab",), "tab", "next", "Show the next of these four", "always", 10),
    Action("leave", ("q", "ctrl+c", "ctrl+q"), "q", "leave",
           "Leave; asks whether to detach or stop", "always"),
    Action("help", ("question_mark",), "?", "help", "Show this help", "always"),
    Action("app.command_palette", ("ctrl+p",), "ctrl+p", "palette",
           "Search everything that can be done", "always", 11),
    Action("app.suspend_process", ("ctrl+z",), "ctrl+z", "shell",
           "Back to the shell; fg returns here", "always", 12),
)
# fmt: on


def available(state: ConsoleState) -> list[Action]:
    """The actions that there is occasion for in this state."""
    occasions: dict[Occasion, bool] = {
        "always": True,
        "steerable": state.is_steerable,
        "live": state.is_heard,
        "resumable": state.can_resume,
        "broken": state.connection == "closed" and state.run.is_live,
    }
    return [action for action in ACTIONS if occasions[action.occasion]]

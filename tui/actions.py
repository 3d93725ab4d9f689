"""The table of the run screen's actions. Its bindings, key bar, help and palette are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, cast

from textual.binding import Binding
from textual.command import DiscoveryHit, Hit, Hits, Provider

if TYPE_CHECKING:
    from torchconsole.tui.screens.run import RunScreen
    from torchconsole.tui.state import ConsoleState

When = Literal["steerable", "live", "resumable", "disconnected", "always"]
"""When an action is available: the run takes commands from here; it is live and connected; it ended early
and has a checkpoint; it is live but the connection was lost; always."""


@dataclass(frozen=True)
class Action:
    """Something the user can do. `id` names the screen's method `action_<id>`; `keys` are Textual's names.

    While available, it is in the palette and, as `shown_key` and `label`, in the key bar. If the bar is too
    narrow, the actions with the highest `rank` are dropped first, and those with rank 0 never.
    """

    id: str
    keys: tuple[str, ...]
    shown_key: str
    label: str
    help: str
    when: When = "steerable"
    rank: int = 0

    @property
    def binding(self) -> Binding:
        """The binding of all keys of this action.

        It has priority: otherwise a key passes through the focused widget first, and the next key can arrive
        before the screen that this one opens.
        """
        return Binding(
            ",".join(self.keys), self.id, self.help, show=False, key_display=self.shown_key, priority=True
        )


# fmt: off
ACTIONS: tuple[Action, ...] = (
    Action("toggle_pause", ("space",), "space", "pause", "Pause after the current step, or unpause", rank=1),
    Action("lower_lr", ("minus",), "-", "", "Lower the lr (x0.56)", rank=4),
    Action("raise_lr", ("plus", "equals_sign"), "+", "lr", "Raise the lr (x1.78)",
           rank=4),
    Action("type_lr", ("l",), "l", "lr=", "Type an lr: 0.01, x0.5, hold 0.01 or release", rank=6),
    Action("toggle_hold", ("h",), "h", "hold", "Hold the current lr, or release it", rank=10),
    Action("save", ("s",), "s", "save", "Save a checkpoint that is kept", rank=3),
    Action("evaluate", ("e",), "e", "eval", "Evaluate on the validation data now", rank=7),
    Action("stop", ("x",), "x", "stop", "Stop after the current step and save; asks first", rank=2),
    Action("detach", ("d",), "d", "detach", "Detach; the run keeps running", "live", 5),
    Action("resume", ("r",), "r", "resume", "Resume an ended run from its last checkpoint", "resumable", 1),
    Action("reattach", ("a",), "a", "attach again", "Attach again after the connection was lost",
           "disconnected", 1),
    Action("show_pane('layers')", ("1",), "1", "layers",
           "Show the layer table; press again to enlarge", "always", 9),
    Action("show_pane('log')", ("2",), "2", "log", "Show the log; press again to enlarge", "always", 8),
    Action("show_pane('changes')", ("3",), "3", "changes",
           "Show the changes; press again to enlarge", "always", 9),
    Action("show_pane('confusion')", ("4",), "4", "confusion",
           "Show the confusion matrix; press again to enlarge", "always", 11),
    Action("next_pane", ("tab",), "tab", "next", "Show the next of these four panes", "always", 10),
    Action("leave", ("q", "ctrl+c", "ctrl+q"), "q", "leave",
           "Leave; asks whether to detach or stop", "always"),
    Action("help", ("question_mark",), "?", "help", "Show this help", "always"),
    Action("app.command_palette", ("ctrl+p",), "ctrl+p", "palette", "Search all commands", "always", 11),
    Action("app.suspend_process", ("ctrl+z",), "ctrl+z", "shell",
           "Go to the shell; fg returns here", "always", 12),
)
# fmt: on


def available(state: ConsoleState) -> list[Action]:
    """Return the actions that are available in this state."""
    holds: dict[When, bool] = {
        "always": True,
        "steerable": state.is_steerable,
        "live": state.is_connected,
        "resumable": state.can_resume,
        "disconnected": state.connection == "closed" and state.run.is_live,
    }
    return [action for action in ACTIONS if holds[action.when]]


class ActionProvider(Provider):
    """Puts the available actions into Textual's command palette. They are found by their help text."""

    async def discover(self) -> Hits:
        """Yield all available actions, as shown before anything is typed."""
        for action in self._listed():
            yield DiscoveryHit(action.help, partial(self._run, action), help=f"key: {action.shown_key}")

    async def search(self, query: str) -> Hits:
        """Yield the available actions that match what was typed."""
        matcher = self.matcher(query)
        for action in self._listed():
            score = matcher.match(action.help)
            if score > 0:
                shown = matcher.highlight(action.help)
                yield Hit(score, shown, partial(self._run, action), help=f"key: {action.shown_key}")

    def _listed(self) -> list[Action]:
        state = cast("RunScreen", self.screen).state
        return [action for action in available(state) if action.id != "app.command_palette"]

    async def _run(self, action: Action) -> None:
        await self.screen.run_action(action.id)

"""Puts the run screen's actions into Textual's command palette."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from torchconsole.tui.actions import Action, available

if TYPE_CHECKING:
    from torchconsole.tui.screens.run import RunScreen

_PALETTE_ITSELF = "app.command_palette"


class RunActions(Provider):
    """Every action that there is occasion for, found by its help text."""

    async def discover(self) -> Hits:
        """All of them, before anything is typed."""
        for action in self._listed():
            yield DiscoveryHit(action.help, partial(self._run, action), help=_key(action))

    async def search(self, query: str) -> Hits:
        """Those that match."""
        matcher = self.matcher(query)
        for action in self._listed():
            score = matcher.match(action.help)
            if score > 0:
                yield Hit(
                    score, matcher.highlight(action.help), partial(self._run, action), help=_key(action)
                )

    def _listed(self) -> list[Action]:
        state = cast("RunScreen", self.screen).state
        return [action for action in available(state) if action.id != _PALETTE_ITSELF]

    async def _run(self, action: Action) -> None:
        await self.screen.run_action(action.id)


def _key(action: Action) -> str:
    return f"key: {action.shown_key}"

"""Puts the run screen's actions into Textual's command palette."""

from __future__ import annotations

from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from torchconsole.tui.actions import ACTIONS, Action

_PALETTE_ITSELF = "app.command_palette"


class RunActions(Provider):
    """Every action of the table, found by its help text."""

    async def discover(self) -> Hits:
        """All of them, before anything is typed."""
        for action in _listed():
            yield DiscoveryHit(action.help, partial(self._run, action), help=_key(action))

    async def search(self, query: str) -> Hits:
        """Those that match."""
        matcher = self.matcher(query)
        for action in _listed():
            score = matcher.match(action.help)
            if score > 0:
                yield Hit(
                    score, matcher.highlight(action.help), partial(self._run, action), help=_key(action)
                )

    async def _run(self, action: Action) -> None:
        await self.screen.run_action(action.id)


def _listed() -> list[Action]:
    return [action for action in ACTIONS if action.id != _PALETTE_ITSELF]


def _key(action: Action) -> str:
    return f"key: {action.shown_key}"

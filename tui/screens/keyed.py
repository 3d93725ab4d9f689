"""A screen with keys from the table: its help, its palette, and which keys work while typing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.screen import Screen
from textual.widgets import Input

from torchconsole.tui.keys import Action, Section, actions_of, run_action
from torchconsole.tui.user_keys import keys_of, shown

CHOOSE_THEME = "Choose the theme: the colors"


class ActionProvider(Provider):
    """Puts the available actions into Textual's command palette. They are found by their help text.

    It is the only provider: of Textual's own commands, all but the choice of a theme duplicate actions, and
    what two providers offer has no order.
    """

    async def discover(self) -> Hits:
        """Yield all available actions, as shown before anything is typed."""
        for action in self._listed():
            yield DiscoveryHit(action.help, partial(self._run, action), help=self._keys(action))
        yield DiscoveryHit(CHOOSE_THEME, self.app.action_change_theme)

    async def search(self, query: str) -> Hits:
        """Yield the available actions that match what was typed."""
        matcher = self.matcher(query)
        for action in self._listed():
            score = matcher.match(action.help)
            if score > 0:
                help_text = matcher.highlight(action.help)
                yield Hit(score, help_text, partial(self._run, action), help=self._keys(action))
        if (score := matcher.match(CHOOSE_THEME)) > 0:
            yield Hit(score, matcher.highlight(CHOOSE_THEME), self.app.action_change_theme)

    @property
    def _keyed_screen(self) -> KeyedScreen:
        return cast("KeyedScreen", self.screen)

    def _listed(self) -> Iterator[Action]:
        offered = self._keyed_screen.offered(actions_of(*self._keyed_screen.SECTIONS))
        return (action for action in offered if action.id != "app.command_palette")

    def _keys(self, action: Action) -> str:
        return f"key: {' '.join(map(shown, keys_of(self.app, action)))}"

    async def _run(self, action: Action) -> None:
        await run_action(self._keyed_screen, action)


class KeyedScreen(Screen[None]):
    """Subclasses set SECTIONS, and their BINDINGS to `bindings` of those that they implement themselves."""

    SECTIONS: Sequence[Section] = ()
    COMMANDS = {ActionProvider}

    def offered(self, actions: Sequence[Action]) -> Sequence[Action]:
        """Return the actions that are available now."""
        return actions

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable actions whose keys are text while a line of text has the focus (called by Textual)."""
        if not isinstance(self.focused, Input):
            return True
        found = [one for one in actions_of(*self.SECTIONS) if one.id.partition("(")[0] == action]
        return not found or any(one.while_typing for one in found)

    async def action_leave_here(self) -> None:
        """Leave the screen, by a key that is a letter elsewhere."""
        await self.run_action("leave")

    async def action_help(self) -> None:
        """Show the keys of this screen."""
        from torchconsole.tui.screens.help import HelpScreen

        def on_answer(finds: bool | None) -> None:
            if finds:
                self.app.action_command_palette()

        await self.app.push_screen(HelpScreen(self.SECTIONS), on_answer)

"""The key line of the form."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torchconsole.tui.keys import FORM, Action
from torchconsole.tui.widgets.footer import ActionBar


class FormBar(ActionBar):
    """The form's keys. A start that has to overrule the errors of a check is called so."""

    def __init__(self, starts_anyway: Callable[[], bool], can_choose: Callable[[], bool]) -> None:
        super().__init__(FORM.actions)
        self._starts_anyway = starts_anyway
        self._can_choose = can_choose

    def label(self, action: Action) -> str:
        """Return the label in the present state."""
        is_overruling = action.config_name == "form_train" and self._starts_anyway()
        return "start anyway" if is_overruling else super().label(action)

    def actions(self) -> Sequence[Action]:
        """Leave out the choice of values for a field without any."""
        found = super().actions()
        return [one for one in found if one.config_name != "form_choose" or self._can_choose()]

"""The form's preview of the lr: computed by a process with torch once nothing was typed for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torchconsole.engine.config.draft import Draft
from torchconsole.engine.errors import TorchconsoleError, TrustError
from torchconsole.tui import launch
from torchconsole.tui.user_keys import key_named
from torchconsole.tui.widgets.lr_curve_pane import LrCurvePane

if TYPE_CHECKING:
    from torchconsole.engine.protocol.reports import LearningRateCurve

DELAY_SECONDS = 0.6
"""A process that imports torch takes seconds, so it waits this long for further changes."""

_WITHOUT_EFFECT = ("title", "description", "needs", "group", "checkpoint", "early_stopping", "metrics", "ema")
"""Sections that the lr does not depend on."""


class FormLr:
    """Shows the lr of a draft in a pane. Curves that were computed are kept."""

    def __init__(self, draft: Draft, pane: LrCurvePane) -> None:
        self._draft = draft
        self._pane = pane
        self._known: dict[str, LearningRateCurve | str] = {}

    def forget(self) -> None:
        """Compute again what failed: the user may have agreed to run the code by now."""
        self._known = {key: found for key, found in self._known.items() if not isinstance(found, str)}

    async def update(self, errors: list[str], warnings: Mapping[str, str]) -> None:
        """Show the lr of the present settings, or why there is none."""
        if self._draft.catalogue is None or not self._pane.display:
            return
        if errors or "data.root" in warnings:
            self._pane.explain(warnings.get("data.root", "") or "fix the errors to see the lr")
            return
        content = self._draft.content
        settings = repr({name: value for name, value in content.items() if name not in _WITHOUT_EFFECT})
        found = self._known.get(settings)
        if found is None:
            self._pane.compute()
            await asyncio.sleep(DELAY_SECONDS)
            try:
                found = await launch.lr_curve(self._draft.path, self._draft.overrides)
            except TrustError as error:
                key = key_named(self._pane.app, "form_check")
                found = f"{error}; {key} checks the settings and asks about it"
            except (TorchconsoleError, OSError) as error:
                found = str(error)
            self._known[settings] = found
        if isinstance(found, str):
            self._pane.explain(found)
        else:
            self._pane.show_preset(found)

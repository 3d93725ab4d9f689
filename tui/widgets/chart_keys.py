"""The keys of the chart mode, as they are listed beside the charts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torchconsole.tui.user_keys import key_named

if TYPE_CHECKING:
    from textual.app import App

_MEANINGS = {
    ("cursor_left", "cursor_right"): "cursor, ⇧ faster",
    ("chart_up", "chart_down"): "large chart",
    ("zoom_out", "zoom_in"): "zoom",
    ("pan_left", "pan_right"): "pan",
    ("show_all", "follow"): "all, follow",
    ("log_axis", "smoothing", "x_unit"): "log, smooth, unit",
    ("choose_metrics",): "choose metrics",
}
"""Names of actions in `[keys]` -> what they do."""

_ARROWS = {"left": "←", "right": "→", "up": "↑", "down": "↓"}


def chart_keys(app: App[Any]) -> list[tuple[str, str]]:
    """Return the keys, the user's where there are any, and what they do."""
    return [(_joined([key_named(app, name) for name in names]), word) for names, word in _MEANINGS.items()]


def _joined(keys: list[str]) -> str:
    """Return keys as one text; arrows stand together."""
    gap = "" if {*keys} <= {*_ARROWS} else " "
    return gap.join(_ARROWS.get(key, key) for key in keys)

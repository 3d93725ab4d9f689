"""The panes of the run screen, in the order of the keys that open them."""

from __future__ import annotations

PANES = {
    "charts": "charts",
    "log": "log",
    "changes": "changes",
    "classes": "classes",
    "model": "model",
    "device": "device",
    "checkpoints": "checkpoints",
    "preset": "preset",
    "results": "results",
}
"""Name of a pane, which is also its widget's id -> its title. The first one is opened by the key 1."""

RANKS = "ranks"
"""The pane of a run by several processes, opened by 0: its name and its title."""

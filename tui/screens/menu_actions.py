"""The one table of what the menu can do."""

from __future__ import annotations

from torchconsole.tui.actions import Action

# fmt: off
MENU_ACTIONS = (
    Action("choose", ("enter",), "enter", "start or attach", "Start the preset, or attach to the run",
           "always"),
    Action("edit", ("e",), "e", "edit", "Change settings of the preset, start it, save it", "always"),
    Action("search", ("slash",), "/", "search", "Search the list: presets or runs", "always", 1),
    Action("clear_search", ("escape",), "", "", "End the search", "always"),
    Action("other_list", ("tab", "shift+tab"), "tab", "other list", "Go to the other list", "always", 2),
    Action("order", ("o",), "o", "order", "List the runs in another order", "always", 3),
    Action("delete", ("d", "delete"), "d", "delete", "Delete the marked run; asks first", "always", 4),
    Action("help", ("question_mark",), "?", "help", "Show this help", "always"),
    Action("quit", ("q",), "q", "quit", "Quit; live runs keep running", "always"),
    Action("leave", ("ctrl+c", "ctrl+q"), "", "", "Quit, while searching too", "always"),
)
# fmt: on

WHILE_SEARCHING = ("clear_search", "other_list", "leave")
"""Whatever else has a key is typed into the search line."""

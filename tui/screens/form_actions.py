"""The one table of what the form can do. Letters are typed into its fields, so its keys are others."""

from __future__ import annotations

from torchconsole.tui.actions import Action

# fmt: off
FORM_ACTIONS = (
    Action("train", ("ctrl+t",), "ctrl+t", "train", "Start a run with these settings", "always"),
    Action("save", ("ctrl+s",), "ctrl+s", "save as", "Save as a preset of your own", "always"),
    Action("reset_field", ("ctrl+r",), "ctrl+r", "reset", "Take back what was typed in this field",
           "always", 2),
    Action("reset_all", ("ctrl+o",), "ctrl+o", "original", "Take back everything", "always", 3),
    Action("new_key", ("ctrl+n",), "ctrl+n", "other key", "Set any other key", "always", 1),
    Action("next_field", ("down", "tab"), "", "", "Go to the next field, or the next key offered", "always"),
    Action("previous_field", ("up", "shift+tab"), "", "", "Go to the one before", "always"),
    Action("accept", ("enter",), "", "", "Go to the next field; take the key that is marked", "always"),
    Action("leave", ("escape", "ctrl+c", "ctrl+q"), "esc", "back", "Back to the menu; asks first", "always"),
    Action("help", ("f1",), "f1", "help", "Show this help", "always"),
)
# fmt: on

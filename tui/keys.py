"""The table of all keys. Bindings, help, key lines, palette, docs/KEYS.md and `[keys]` are made from it.

A key that steers a run means the same on all of its screens. Vim's keys work in lists and panes only, and
letters are text where text is typed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from textual.binding import Binding, BindingType

from torchconsole.tui.pane_names import PANES as PANE_TITLES
from torchconsole.tui.pane_names import RANKS as RANKS_TITLE

if TYPE_CHECKING:
    from textual.screen import Screen

    from torchconsole.tui.state import ConsoleState

When = Literal[
    "steerable",
    "adjustable",
    "restorable",
    "paused",
    "live",
    "resumable",
    "disconnected",
    "several",
    "always",
]
"""When an action is available: the run takes commands from here; it also trains a preset; it also has a
checkpoint; it trains a preset and is paused; it is live and connected; it ended early and has a checkpoint,
or is finished; it is live but the connection was lost; several processes train it; always."""


@dataclass(frozen=True)
class Action:
    """Something that a key does. `id` is Textual's action: the screen or the list has `action_<id>`.

    `keys` are Textual's names; `name` is the action's in `[keys]`, `id` by default. While available, the
    action is in the palette and, if it has a `shown_key`, in the key line with its `label`. If that is too
    narrow, the actions with the highest `rank` are dropped first, and those with rank 0 never.
    """

    id: str
    keys: tuple[str, ...]
    shown_key: str
    label: str
    help: str
    when: When = "always"
    rank: int = 0
    name: str = ""
    while_typing: bool = False
    """Whether the keys also work while a line of text has the focus."""
    overtakes: bool = True
    """Whether the keys come before those of the focused list. Not if they act on its highlighted row: they
    must come after the arrow keys that were typed before them."""
    is_fixed: bool = False
    """Whether `[keys]` cannot change the keys, so that there is always a way out."""

    @property
    def config_name(self) -> str:
        """The action's name in `[keys]`."""
        return self.name or self.id

    @property
    def binding(self) -> Binding:
        """The binding of all keys of this action. The user's keys replace them by its id."""
        return Binding(
            ",".join(self.keys),
            self.id,
            self.help,
            show=False,
            priority=self.overtakes,
            id=None if self.is_fixed else self.config_name,
        )


@dataclass(frozen=True)
class Section:
    """Actions that belong together, under a title in the help and in docs/KEYS.md."""

    title: str
    actions: tuple[Action, ...]


def _chart(name: str, keys: tuple[str, ...], shown_key: str, label: str, help: str, rank: int = 0) -> Action:
    """Return an action of the charts. Only the chart mode shows its key."""
    return Action(f"chart('{name}')", keys, shown_key, label, help, rank=rank, name=name, overtakes=False)


# fmt: off
EVERYWHERE = Section("Everywhere", (
    Action("next", ("tab",), "tab", "next", "Go to the next list or pane", rank=4, while_typing=True),
    Action("app.command_palette", ("ctrl+p",), "", "", "Search all actions by name", name="palette",
           while_typing=True),
    Action("app.copy", ("Y",), "", "", "Copy the highlighted line, value, command or path", name="copy",
           overtakes=False),
    Action("app.toggle_mouse", ("M",), "", "", "Mouse on or off; off, the terminal selects text",
           name="mouse", overtakes=False),
    Action("leave_here", ("q",), "q", "leave", "Leave; asks what happens to a live run", name="leave"),
    Action("help", ("question_mark",), "?", "help", "Show these keys"),
))

APP = Section("In the whole program", (
    Action("screen.leave", ("ctrl+c", "ctrl+q"), "", "", "Leave, also while typing", name="leave_anywhere",
           while_typing=True, is_fixed=True),
    Action("suspend_process", ("ctrl+z",), "", "", "Go to the shell; fg returns here", name="suspend",
           while_typing=True),
    Action("settings", ("f2",), "", "", "Show and change the settings of the console", while_typing=True),
    Action("redraw", ("ctrl+l",), "", "", "Draw the screen again", while_typing=True),
))

STEERING = Section("Steer a run", (
    Action("toggle_pause", ("space",), "space", "pause", "Pause after the current step, or unpause",
           "steerable", 1, name="pause"),
    Action("take_step", ("greater_than_sign",), "", "", "Train one step, and pause then", "steerable",
           name="step"),
    Action("lower_lr", ("minus",), "-", "", "Lower the lr (x0.56)", "steerable", 2),
    Action("raise_lr", ("plus", "equals_sign"), "+", "lr", "Raise the lr (x1.78)", "steerable", 2),
    Action("type_lr", ("l",), "l", "lr=", "Type an lr: 0.01, x0.5, hold 0.01 or release", "steerable", 9),
    Action("toggle_hold", ("h",), "", "hold", "Hold the current lr, or release it", "steerable", name="hold"),
    Action("change_setting", ("E",), "", "", "Change a setting of the run's preset: KEY=VALUE", "adjustable",
           name="set"),
    Action("find_lr", ("f7",), "f7", "find lr", "Find an lr for a paused run, from its present weights",
           "paused", 12),
    Action("save", ("s",), "s", "save", "Save a checkpoint that is kept", "steerable", 5),
    Action("roll_back", ("R",), "", "", "Roll the run back to a checkpoint; asks which", "restorable",
           name="rollback"),
    Action("evaluate", ("e",), "e", "eval", "Evaluate on the validation data now", "steerable", 8),
    Action("profile", ("p",), "", "profile",
           "Open the device pane; there, profile ten steps", "steerable"),
    Action("stop", ("x",), "x", "stop", "Stop after the current step and save; asks first", "steerable", 6),
    Action("detach", ("d",), "d", "detach", "Detach; the run keeps running", "live", 10),
    Action("resume", ("r",), "r", "resume",
           "Resume an ended run from its last checkpoint, or extend a finished one", "resumable", 1),
    Action("reattach", ("a",), "a", "attach again", "Attach again after the connection was lost",
           "disconnected", 1),
))

PANES = Section("Panes of a run", (
    *(
        Action(f"show_pane('{pane}')", (str(number),), "", "",
               f"Open the {title}; press again to enlarge", name=f"pane_{pane}")
        for number, (pane, title) in enumerate(PANE_TITLES.items(), 1)
    ),
    Action("search", ("slash",), "", "", "Search the pane: words, or level:warning in the log",
           name="pane_search"),
    Action("back", ("escape",), "", "", "Make an enlarged pane smaller; close an open one", name="pane_back",
           overtakes=False),
))

RANKS = Section("Several processes", (
    Action(f"show_pane('{RANKS_TITLE}')", ("0",), "0", "ranks",
           "Open the ranks: what each process of the run does; press again to enlarge", "several", 3,
           name="pane_ranks"),
))

CHARTS = Section("Charts", (
    Action("chart_mode", ("c",), "c", "chart", "Open or close the chart mode; so does a double click",
           rank=7, overtakes=False),
    _chart("log_axis", ("y",), "y", "log",
           "Logarithmic or linear axis of the large chart; always linear for a range <4x", 6),
    _chart("smoothing", ("w",), "w", "smooth", "Smooth the lines by 0.9 or 0.99, or not at all", 7),
    _chart("x_unit", ("t",), "t", "unit", "Show x as steps, epochs, minutes or the time of day", 8),
    Action("choose_metrics", ("m",), "m", "metrics", "Choose the metrics that are shown", rank=3,
           overtakes=False),
    _chart("cursor_left", ("left",), "←→", "cursor", "Move the cursor to the left", 2),
    _chart("cursor_right", ("right",), "", "", "Move the cursor to the right"),
    _chart("cursor_far_left", ("shift+left",), "", "", "Move the cursor to the left by ten columns"),
    _chart("cursor_far_right", ("shift+right",), "", "", "Move the cursor to the right by ten columns"),
    _chart("cursor_first", ("home",), "", "", "Move the cursor to the first step"),
    _chart("cursor_last", ("end",), "", "", "Move the cursor to the last step"),
    _chart("chart_up", ("up",), "", "", "Make the chart above the large one"),
    _chart("chart_down", ("down",), "", "", "Make the chart below the large one"),
    _chart("zoom_out", ("left_square_bracket",), "[", "", "Zoom out; so does the wheel", 4),
    _chart("zoom_in", ("right_square_bracket",), "]", "zoom", "Zoom in, at the cursor", 4),
    _chart("pan_left", ("comma",), ",", "", "Show earlier steps; dragging does, too", 5),
    _chart("pan_right", ("full_stop",), ".", "pan", "Show later steps", 5),
    _chart("show_all", ("0",), "0", "all", "Show the whole run", 9),
    _chart("follow", ("f",), "f", "follow", "Follow the newest steps", 10),
))

LISTS = Section("Lists and panes", (
    Action("list_down", ("j", "down"), "", "", "Go down by a line", overtakes=False),
    Action("list_up", ("k", "up"), "", "", "Go up by a line", overtakes=False),
    Action("list_first", ("g", "home"), "", "", "Go to the first line", overtakes=False),
    Action("list_last", ("G", "end"), "", "", "Go to the last line", overtakes=False),
    Action("list_half_down", ("ctrl+d",), "", "", "Go down by half of what is shown", overtakes=False),
    Action("list_half_up", ("ctrl+u",), "", "", "Go up by half of what is shown", overtakes=False),
    Action("page_down", ("pagedown",), "", "", "Go down by a page", name="list_page_down", overtakes=False),
    Action("page_up", ("pageup",), "", "", "Go up by a page", name="list_page_up", overtakes=False),
))

PANE_LISTS = Section("In a pane", (
    Action("next_match", ("n",), "", "", "Go to the next match; in the ranks, to the straggler",
           overtakes=False),
    Action("previous_match", ("N",), "", "", "Go to the match before", overtakes=False),
    Action("choose", ("enter",), "", "", "Act on the line: a checkpoint offers its uses, a module collapses",
           name="pane_choose", overtakes=False),
    Action("view", ("v",), "", "", "Show the pane in another way: counts, shares, classes, confusions, worst",
           overtakes=False),
    Action("order", ("o",), "", "", "Sort the pane by its next column", name="pane_order", overtakes=False),
    Action("reverse", ("O",), "", "", "Reverse the order", name="pane_reverse", overtakes=False),
    Action("delete", ("delete", "D"), "", "", "Delete the highlighted checkpoint; asks first",
           name="pane_delete", overtakes=False),
    Action("statistics", ("i",), "", "", "Measure the layers of the model every 50 steps, or end that",
           name="pane_statistics", overtakes=False),
    Action("freeze", ("f",), "", "", "Freeze the highlighted module of the model, or train it again",
           name="pane_freeze", overtakes=False),
))

COLUMNS = Section("In the classes and the model", (
    Action("column_left", ("left",), "", "",
           "Go to the column before; in the model collapse the module, or go to the one around it",
           overtakes=False),
    Action("column_right", ("right",), "", "",
           "Go to the next column; in the model expand the module, or go into it", overtakes=False),
))

MENU = Section("Presets and runs", (
    Action("choose", ("enter",), "enter", "start or attach",
           "Start the preset, or attach to the run; so does a double click", rank=1, overtakes=False),
    Action("edit", ("e",), "e", "edit", "Edit the settings of the preset or the run, and start", rank=5,
           overtakes=False),
    Action("select", ("space",), "space", "select", "Select the run, or end that", rank=3, overtakes=False),
    Action("extend_selection(1)", ("shift+down",), "", "", "Select the run and the next one",
           name="select_down", overtakes=False),
    Action("extend_selection(-1)", ("shift+up",), "", "", "Select the run and the one before",
           name="select_up", overtakes=False),
    Action("compare", ("c",), "c", "compare", "Compare the selected runs, two to six", rank=4,
           overtakes=False),
    Action("search", ("slash",), "/", "search",
           "Filter the list: words, status:failed, tag:NAME, val/accuracy>0.9; a | b: either", rank=2),
    Action("order", ("o",), "o", "order", "Sort the list by the next column; so does a click on a heading",
           rank=6),
    Action("reverse", ("O",), "", "", "Reverse the order of the list"),
    Action("samples", ("v",), "", "", "Show a training batch of the preset after its transforms",
           name="menu_samples", overtakes=False),
    Action("view", ("V",), "", "", "Show the lists with or without previews", name="menu_view"),
    Action("resume", ("r",), "r", "resume", "Resume an ended run, or extend a finished one", rank=8,
           name="menu_resume", overtakes=False),
    Action("annotate", ("N",), "N", "name", "Name, tags and note of the run", rank=7, overtakes=False),
    Action("about", ("i",), "i", "about", "Show everything about the preset or the run", rank=10,
           overtakes=False),
    Action("delete", ("delete", "D"), "D", "delete",
           "Delete the selected runs, or the highlighted one; asks first", rank=9, overtakes=False),
    Action("clear_search", ("escape",), "", "", "End the search, or select no run", while_typing=True),
))

SETTINGS = Section("Settings", (
    Action("change(1)", ("enter", "space", "right"), "enter", "change", "Give the setting its next value",
           name="settings_next", overtakes=False),
    Action("change(-1)", ("left",), "", "", "Give the setting its previous value", name="settings_previous",
           overtakes=False),
    Action("reset", ("delete",), "del", "default", "Give the setting its default", rank=1,
           name="settings_reset", overtakes=False),
    Action("leave", ("escape",), "", "", "Go back", name="settings_leave"),
))

COMPARE = Section("Compared runs", (
    Action("move_cursor(-1)", ("left",), "", "", "Move the cursor left", name="compare_left"),
    Action("move_cursor(1)", ("right",), "←→", "cursor", "Move the cursor right", rank=5,
           name="compare_right"),
    Action("move_cursor(-10)", ("shift+left",), "", "", "Move the cursor left by 10", name="compare_left_10"),
    Action("move_cursor(10)", ("shift+right",), "", "", "Move the cursor right by 10",
           name="compare_right_10"),
    Action("to_start", ("home",), "", "", "Move the cursor to the start", name="compare_start"),
    Action("to_end", ("end",), "", "", "Move the cursor to the end", name="compare_end"),
    Action("zoom(0.5)", ("right_square_bracket",), "", "", "Zoom in", name="compare_zoom_in"),
    Action("zoom(2.0)", ("left_square_bracket",), "[]", "zoom", "Zoom out", rank=8, name="compare_zoom_out"),
    Action("pan(-0.25)", ("comma",), "", "", "Show what is left of it", name="compare_pan_left"),
    Action("pan(0.25)", ("full_stop",), ",.", "pan", "Show what is right of it", rank=9,
           name="compare_pan_right"),
    Action("show_all", ("0",), "", "", "Show the whole of the runs", name="compare_all"),
    Action("follow", ("f",), "", "", "Follow the newest values", name="compare_follow"),
    Action("toggle_log", ("y",), "y", "log", "Logarithmic or linear y axis; linear for a range <4x", rank=6,
           name="compare_log"),
    Action("smooth", ("w",), "w", "smooth", "Smoothing of the lines: off, 0.9 or 0.99", rank=7,
           name="compare_smooth"),
    Action("next_unit", ("t",), "t", "unit", "x as steps, epochs or minutes", rank=7, name="compare_unit"),
    Action("choose_metrics", ("m",), "m", "metric", "Choose the metrics that have a chart", rank=4,
           name="compare_metric"),
    Action("next_metric(1)", ("n",), "", "", "Show the next metric", name="compare_next_metric"),
    Action("next_metric(-1)", ("N",), "", "", "Show the metric before", name="compare_metric_before"),
    Action("select", ("space",), "", "", "Show or hide the highlighted run", name="compare_select",
           overtakes=False),
    Action("toggle_run(0)", ("1",), "1-6", "runs", "Show or hide the first run", rank=3,
           name="compare_run_1"),
    Action("toggle_run(1)", ("2",), "", "", "Show or hide the second run", name="compare_run_2"),
    Action("toggle_run(2)", ("3",), "", "", "Show or hide the third run", name="compare_run_3"),
    Action("toggle_run(3)", ("4",), "", "", "Show or hide the fourth run", name="compare_run_4"),
    Action("toggle_run(4)", ("5",), "", "", "Show or hide the fifth run", name="compare_run_5"),
    Action("toggle_run(5)", ("6",), "", "", "Show or hide the sixth run", name="compare_run_6"),
    Action("next_reference", ("r",), "r", "reference", "Compare the settings with the next run's", rank=4,
           name="compare_reference"),
    Action("all_settings", ("equals_sign",), "=", "all", "Show all settings, or only those that differ",
           rank=2, name="compare_settings"),
    Action("toggle_groups", ("v",), "v", "seeds",
           "Runs that differ in the seed alone as mean and range, or singly", rank=10, name="compare_seeds"),
    Action("back", ("escape",), "esc", "menu", "Go to the menu", name="compare_back"),
))

FORM = Section("Form", (
    Action("train", ("f6", "ctrl+t"), "f6", "start", "Start a run with these settings", name="form_train"),
    Action("check", ("f5",), "f5", "check", "Check these settings by a dry run", rank=3, name="form_check"),
    Action("find", ("f7",), "f7", "find", "Find an lr, a batch size or loader workers by trying", rank=5,
           name="form_find"),
    Action("save", ("f8", "ctrl+s"), "f8", "save as", "Save as a preset of your own", rank=4,
           name="form_save"),
    Action("new_key", ("f3", "ctrl+n"), "f3", "keys", "Find any other key, and set it", rank=1,
           name="form_new_key"),
    Action("choose", ("f4",), "f4", "values", "Choose from the values that the field can have", rank=2,
           name="form_choose"),
    Action("reset_field", ("f9", "ctrl+r"), "f9", "reset", "Reset this field", rank=6,
           name="form_reset_field"),
    Action("reset_all", ("f12", "ctrl+o"), "f12", "reset all", "Reset all fields", rank=7,
           name="form_reset_all"),
    Action("next_field", ("down", "tab"), "", "", "Go to the next field", name="form_next_field"),
    Action("previous_field", ("up", "shift+tab"), "", "", "Go to the previous field",
           name="form_previous_field"),
    Action("page_down", ("pagedown",), "", "", "Go down by a page of fields", name="form_page_down"),
    Action("page_up", ("pageup",), "", "", "Go up by a page of fields", name="form_page_up"),
    Action("accept", ("enter",), "", "", "Choose from the values of the field, or go to the next one",
           name="form_accept"),
    Action("app.copy", ("ctrl+y",), "", "", "Copy the field as key=value, as for --set", name="form_copy"),
    Action("app.toggle_mouse", ("f10", "ctrl+g"), "f10", "mouse",
           "Mouse on or off; off, the terminal selects text", rank=8, name="form_mouse"),
    Action("app.command_palette", ("ctrl+p",), "", "", "Search all actions by name", name="form_palette"),
    Action("leave", ("escape",), "esc", "back", "Go back to the menu; asks if there are changes",
           name="form_leave"),
    Action("help", ("f1",), "f1", "help", "Show these keys", name="form_help"),
))
# fmt: on

RUN_KEYS = (STEERING, PANES, RANKS, CHARTS, LISTS, PANE_LISTS, COLUMNS, EVERYWHERE, APP)
MENU_KEYS = (MENU, LISTS, EVERYWHERE, APP)
FORM_KEYS = (FORM, APP)
SETTINGS_KEYS = (SETTINGS, LISTS, EVERYWHERE, APP)
COMPARE_KEYS = (COMPARE, EVERYWHERE, APP)

SCREENS = {
    "the screen of a run": (STEERING, PANES, RANKS, LISTS, PANE_LISTS, COLUMNS, EVERYWHERE, APP),
    "the charts of a run": (STEERING, PANES, CHARTS, EVERYWHERE, APP),
    "the menu": MENU_KEYS,
    "the form": FORM_KEYS,
    "the settings": SETTINGS_KEYS,
    "compared runs": COMPARE_KEYS,
}
"""Keys that work on one screen, where each may have one meaning."""

TOGETHER = {**SCREENS, "the screen of a run": RUN_KEYS, "compared runs": (*COMPARE_KEYS, LISTS)}
"""Keys that can be active at the same time. Those that two of them share belong to what has the focus."""

SECTIONS = tuple(dict.fromkeys(section for sections in SCREENS.values() for section in sections))


def actions_of(*sections: Section) -> tuple[Action, ...]:
    """Return the actions of sections, in order."""
    return tuple(action for section in sections for action in section.actions)


def bindings(*sections: Section) -> list[BindingType]:
    """Return the bindings of a screen or a list for these sections."""
    return [action.binding for action in actions_of(*sections)]


def available(actions: Iterable[Action], state: ConsoleState) -> Sequence[Action]:
    """Return those of the actions that are available in the state of a run."""
    holds: dict[When, bool] = {
        "always": True,
        "steerable": state.is_steerable,
        "adjustable": state.is_steerable and not state.is_program,
        "restorable": state.is_steerable and not state.is_program and state.run.last_checkpoint is not None,
        "paused": state.is_steerable and state.run.status == "paused" and not state.is_program,
        "live": state.is_connected,
        "resumable": state.can_resume or state.can_extend,
        "several": state.run.processes > 1,
        "disconnected": state.connection == "closed" and state.run.is_live,
    }
    return [action for action in actions if holds[action.when]]


async def run_action(screen: Screen[Any], action: Action) -> None:
    """Do what the keys of an action do: by the focused widget, what is around it, or the app."""
    name = action.id.partition("(")[0]
    nodes = (screen.focused or screen).ancestors_with_self
    target = next((node for node in nodes if callable(getattr(node, f"action_{name}", None))), screen)
    await screen.app.run_action(action.id, default_namespace=target)

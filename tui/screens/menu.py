"""The menu: the presets and the runs, each with a preview of the highlighted one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.css.query import NoMatches
from textual.events import Resize
from textual.geometry import Size
from textual.message import Message

from torchconsole.engine.config.preset_index import PresetEntry, list_presets
from torchconsole.engine.text import printable
from torchconsole.tui.attention import SeenRun
from torchconsole.tui.keys import EVERYWHERE, MENU, MENU_KEYS, actions_of, bindings
from torchconsole.tui.preset_rows import figures_by_preset
from torchconsole.tui.run_listing import PROBLEMS
from torchconsole.tui.screens.keyed import KeyedScreen
from torchconsole.tui.screens.menu_layout import menu_layout
from torchconsole.tui.screens.menu_reading import MenuReading, missing_data
from torchconsole.tui.screens.preset_list import PresetList
from torchconsole.tui.screens.run_list import RunList
from torchconsole.tui.screens.run_tasks import RunTasks
from torchconsole.tui.themed_app import config_of, on_setting_changed, remember
from torchconsole.tui.user_keys import key_named
from torchconsole.tui.widgets.footer import ActionBar
from torchconsole.tui.widgets.frames import FramedLines
from torchconsole.tui.widgets.list_pane import ListPane
from torchconsole.tui.widgets.menu_lines import MenuHeader, PreviewLine
from torchconsole.tui.widgets.preset_preview import PresetPreview
from torchconsole.tui.widgets.run_preview import RunPreview

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.widgets import Input

    from torchconsole.engine.run.record import RunRecord
    from torchconsole.tui.widgets.inputs import SearchLine

PAINT_SECONDS = 0.05
"""From the first layout until the first frame is on the screen."""

MOST_COMPARED = 6


class MenuScreen(KeyedScreen):
    """Lets the user choose a preset to start or edit, or a run to show. The app does it."""

    SECTIONS = MENU_KEYS
    BINDINGS = bindings(MENU, EVERYWHERE)

    class Shown(Message):
        """The first frame is on the screen, so deferred work can start."""

    class QuitRequested(Message):
        """The user wants to quit the console."""

    @dataclass
    class PresetChosen(Message):
        """The user wants to start this preset."""

        preset: PresetEntry

    @dataclass
    class EditRequested(Message):
        """The user wants to edit settings of a preset or a `run`. `key` is the one to begin with."""

        preset: PresetEntry
        key: str = ""
        run: str = ""

    @dataclass
    class SamplesRequested(Message):
        """The user wants to see a training batch of this preset."""

        preset: PresetEntry

    @dataclass
    class RunChosen(Message):
        """The user wants to see this run."""

        run: RunRecord

    @dataclass
    class CompareRequested(Message):
        """The user wants to compare these runs."""

        runs: Sequence[RunRecord]

    def __init__(self, runs_dir: Path | None) -> None:
        super().__init__()
        self._is_shown = False
        self._has_previews = True
        self._has_runs = True
        self._searched: type[PresetList | RunList] = PresetList
        # Kept instead of queried: a worker may end while the screen is being removed.
        self.header = MenuHeader(runs_dir)
        self.presets, self.runs = PresetList(list_presets()), RunList()
        self.preset_preview, self.run_preview = PresetPreview(), RunPreview()
        self.preview_line = PreviewLine()
        self._reading = MenuReading(self, runs_dir)
        self._tasks = RunTasks(self, self._reading)

    def compose(self) -> ComposeResult:
        """Lay out the lists, the previews at their right, and the keys."""
        yield self.header
        with Vertical(id="lists"):
            yield Horizontal(self.presets, self.preset_preview, id="preset-row")
            yield Horizontal(self.runs, self.run_preview, id="run-row")
        yield self.preview_line
        yield ActionBar(actions_of(*MENU_KEYS), labels={"leave": "quit", "next": "other list"})

    @on(RunList.OrderChanged)
    def remember_order(self, message: RunList.OrderChanged) -> None:
        """Remember how the runs are sorted."""
        remember(self.app, "run_order", message.order)
        remember(self.app, "run_order_reversed", message.is_reversed)

    def _use_settings(self) -> None:
        """Sort the runs and show their columns as the user wants it."""
        config = config_of(self.app)
        self.runs.columns = config.run_columns
        self.runs.order, self.runs.is_reversed = config.run_order, config.run_order_reversed
        if self._is_shown:
            self.runs.search(self.runs.query_text)

    def on_mount(self) -> None:
        """Defer everything that can wait until the first frame is shown: imports would delay it."""
        self._use_settings()
        names = ("run_order", "run_order_reversed", "run_columns")
        on_setting_changed(self, *names, call=self._use_settings)
        self.set_focus(self.runs if self.runs.awaited else self.presets)
        self.call_after_refresh(self.set_timer, PAINT_SECONDS, self._on_first_frame)

    def _on_first_frame(self) -> None:
        self._is_shown = True
        self.post_message(self.Shown())
        self._reading.start()

    def go_to_run(self, run: RunRecord) -> None:
        """Highlight a run that was just left, so that enter shows it again."""
        self.runs.go_to(run)
        if self.is_mounted:
            self._has_runs = True
            self._lay_out(self.size)
            self.set_focus(self.runs)

    def on_screen_resume(self) -> None:
        """Read presets and runs again: presets may have been saved, or their data downloaded, since."""
        if self._is_shown:
            self._reading.look_again()
            self._reading.load_presets()

    def on_resize(self, event: Resize) -> None:
        """Lay the parts out for the new size."""
        self._lay_out(event.size)

    def on_descendant_focus(self) -> None:
        """Give the list that has the focus its room."""
        self._lay_out(self.size)

    @property
    def _runs_have_focus(self) -> bool:
        if self._is_searching:
            return self._searched is RunList
        return self.runs.has_focus

    def _lay_out(self, size: Size) -> None:
        """Set the sizes of the parts; 0 hides one."""
        layout = menu_layout(
            *size,
            runs_have_focus=self._runs_have_focus,
            has_previews=self._has_previews,
            has_runs=self._has_runs,
            is_searching=self._search_line is not None,
        )
        rows: tuple[tuple[str, FramedLines, FramedLines, int, int], ...] = (
            ("#preset-row", self.presets, self.preset_preview, layout.preset_rows, layout.preset_columns),
            ("#run-row", self.runs, self.run_preview, layout.run_rows, layout.run_columns),
        )
        for row, listed, preview, height, columns in rows:
            self.query_one(row).styles.height = height
            self.query_one(row).display = height > 0
            preview.styles.width = columns
            preview.display = columns > 0
            for part in (listed, preview):
                part.boxed = layout.boxed
                part.redraw()
        self.preview_line.display = layout.has_preview_line

    @on(ListPane.Highlighted)
    def preview(self, message: ListPane.Highlighted) -> None:
        """Show the highlighted preset or run in the preview."""
        if isinstance(message.pane, PresetList):
            self._preview_preset()
        else:
            run = self.runs.highlighted_run
            self.run_preview.show(run, self._reading.now())
            self.preview_line.show(run)
            if run is not None and self._is_shown:
                self._reading.read_outline(run)
                self._reading.read_trails()

    def _preview_preset(self) -> None:
        preset = self.presets.highlighted_preset
        figures = self.presets.figures(preset.name) if preset else None
        self.preset_preview.show(preset, self.presets.highlighted_location, figures)
        if preset is not None and self._is_shown:
            self._reading.read_facts(preset)

    @on(ListPane.Chosen, "PresetList")
    def choose_preset(self) -> None:
        """Start the preset; without its data, open the form at the key that is missing."""
        preset = self.presets.highlighted_preset
        if preset is None:
            return
        if (missing := missing_data(preset)) is None:
            self.post_message(self.PresetChosen(preset))
            return
        self.notify(printable(missing), title="the data is not here", severity="warning", markup=False)
        self.post_message(self.EditRequested(preset, "data.root"))

    @on(ListPane.Chosen, "RunList")
    def choose_run(self) -> None:
        """Show the run, or the whole reason why it cannot be read."""
        run = self.runs.awaited or self.runs.highlighted_run
        if run is not None and run.status in PROBLEMS:
            self.notify(printable(run.reason), title=f"{run.status} run", severity="error", markup=False)
        elif run is not None:
            self.post_message(self.RunChosen(run))

    def action_choose(self) -> None:
        """Choose the highlighted row of the list that has the focus."""
        if self._runs_have_focus:
            self.choose_run()
        else:
            self.choose_preset()

    def action_edit(self) -> None:
        """Open the form on the highlighted preset, or on the settings of the highlighted run."""
        if not self._runs_have_focus:
            if (preset := self.presets.highlighted_preset) is not None:
                self.post_message(self.EditRequested(preset))
        elif (run := self.runs.highlighted_run) is not None:
            self._tasks.edit(run)

    def action_select(self) -> None:
        """Select the highlighted run, or end that."""
        if self._runs_have_focus:
            self.runs.toggle_selected()

    def action_extend_selection(self, by: int) -> None:
        """Select the highlighted run and the next one, and go there."""
        if self._runs_have_focus:
            self.runs.extend_selected(by)

    def action_compare(self) -> None:
        """Compare the selected runs."""
        runs = self.runs.selected_runs
        if len(runs) < 2:
            select, compare = (key_named(self.app, name) for name in ("select", "compare"))
            self.notify(f"select two to six runs with {select}, then press {compare}", markup=False)
        elif len(runs) > MOST_COMPARED:
            self.notify(f"{len(runs)} runs are selected; compare at most {MOST_COMPARED}", severity="warning")
        else:
            self.post_message(self.CompareRequested(runs))

    async def action_search(self) -> None:
        """Open a search line above the focused list, or return to the open one."""
        from torchconsole.tui.widgets.inputs import SearchLine

        line = self._search_line
        if line is None:
            self._searched = RunList if self._runs_have_focus else PresetList
            line = SearchLine(of_runs=self._searched is RunList)
            line.value = self._searched_list.query_text
            row = "#run-row" if self._searched is RunList else "#preset-row"
            await self.query_one("#lists").mount(line, before=row)
        self.set_focus(line)  # now, because the next key may already be in the queue

    async def action_clear_search(self) -> None:
        """End the search and list everything again; then select no run."""
        searched = self._searched_list
        if (line := self._search_line) is not None:
            self.set_focus(searched)
            searched.search("")
            await line.remove()
            self._lay_out(self.size)
        elif searched.query_text:
            searched.search("")
        else:
            self.runs.clear_selected()

    def action_order(self) -> None:
        """Sort the list by the next of its orders."""
        (self.runs if self._runs_have_focus else self.presets).change_order()

    def action_reverse(self) -> None:
        """Reverse the order of the list."""
        (self.runs if self._runs_have_focus else self.presets).reverse_order()

    def action_view(self) -> None:
        """Show the lists with or without previews."""
        self._has_previews = not self._has_previews
        self._lay_out(self.size)

    def action_annotate(self) -> None:
        """Name, tag and annotate the highlighted run."""
        if self._runs_have_focus and (run := self.runs.highlighted_run) is not None:
            self._tasks.annotate(run)

    def action_resume(self) -> None:
        """Resume the highlighted run if it has ended, or extend it if it is finished."""
        if self._runs_have_focus and (run := self.runs.highlighted_run) is not None:
            self._tasks.resume(run)

    def action_delete(self) -> None:
        """Ask, then delete the selected runs, or the highlighted one."""
        runs = self.runs
        highlighted = runs.highlighted_run
        chosen = runs.selected_runs or ([highlighted] if highlighted else [])
        if self._runs_have_focus and chosen:
            self._tasks.delete(chosen)

    def action_samples(self) -> None:
        """Show a training batch of the highlighted preset."""
        preset = self.presets.highlighted_preset
        if preset is not None and not self._runs_have_focus:
            self.post_message(self.SamplesRequested(preset))

    def action_about(self) -> None:
        """Show everything about the highlighted preset or run."""
        from torchconsole.tui.screens.about import AboutScreen

        preview = self.run_preview if self._runs_have_focus else self.preset_preview
        self.app.push_screen(AboutScreen(preview.about))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter the list while typing."""
        self._searched_list.search(event.value)

    async def on_input_submitted(self) -> None:
        """Go from the search line to the list, which stays filtered."""
        line = self._search_line
        self.set_focus(self._searched_list)
        if line is not None:
            await line.remove()
            self._lay_out(self.size)

    def on_search_line_moved(self, event: SearchLine.Moved) -> None:
        """Move the highlight of the list from the search line."""
        self._searched_list.step(event.step)

    def action_next(self) -> None:
        """Move the focus to the other list."""
        self.set_focus(self.presets if self._runs_have_focus else self.runs)

    def action_leave(self) -> None:
        """Quit the console."""
        self.post_message(self.QuitRequested())

    def show_runs(self, records: Sequence[RunRecord]) -> None:
        """Show the runs and what they mean for the presets."""
        if self._has_runs != bool(records):
            self._has_runs = bool(records)
            self._lay_out(self.size)
        self.runs.show(records)
        self.header.show(records)
        self.presets.show_figures(figures_by_preset(records))
        self._preview_preset()

    def seen_runs(self) -> list[SeenRun]:
        """Return what is known of the runs, for messages about them."""
        return [SeenRun.of_record(record) for record in self.runs.all_runs]

    @property
    def _search_line(self) -> SearchLine | None:
        try:
            return self.query_one("SearchLine")  # type: ignore[return-value]
        except NoMatches:
            return None

    @property
    def _searched_list(self) -> PresetList | RunList:
        return self.runs if self._searched is RunList else self.presets

    @property
    def _is_searching(self) -> bool:
        line = self._search_line
        return line is not None and line.has_focus

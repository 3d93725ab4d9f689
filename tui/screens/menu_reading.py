"""Reads what the menu shows, in other threads: presets, runs, their evaluations and the previews."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchconsole.engine.config.preset_index import PresetEntry, list_presets
from torchconsole.engine.errors import PresetError, RunError
from torchconsole.tui.metric_direction import monitored_metric
from torchconsole.tui.planned_lr import PlannedLr
from torchconsole.tui.run_listing import PROBLEMS

if TYPE_CHECKING:
    from textual.worker import Worker

    from torchconsole.engine.config.data_location import DataLocation
    from torchconsole.engine.run.evaluations import EvaluationReader
    from torchconsole.engine.run.record import RunRecord
    from torchconsole.tui.preset_facts import PresetFacts
    from torchconsole.tui.screens.menu import MenuScreen

REFRESH_SECONDS = 1.5
REST = 15.0
"""After the runs were listed, the next listing waits this many times as long as it took."""

HIDDEN_SECONDS, HIDDEN_REST = 5.0, 60.0
"""The same while another screen is shown."""

SETTLE_SECONDS = 0.12
"""A preview is read once the highlight has stayed for this long."""

TRAIL = 40
"""Values of the monitored metric that are kept for each run."""


class MenuReading:
    """What the menu reads while it is shown."""

    def __init__(self, screen: MenuScreen, runs_dir: Path | None) -> None:
        self._screen = screen
        self._runs_dir = runs_dir
        self._records: Sequence[RunRecord] = []
        self._readers: dict[str, EvaluationReader] = {}
        """Of live runs, by folder."""
        self._trails: dict[str, list[float]] = {}
        """The latest values of the monitored metric of the runs that have been read, by folder."""
        self._ended: dict[str, float] = {}
        """Folder of an ended run whose evaluations have been read -> when its record was last written."""
        self._shown_outline: tuple[str, float] = ("", 0.0)
        self._outline_rests_until = 0.0
        self._changed = asyncio.Event()
        self._planned = PlannedLr()
        self._first_preset = ""
        self._has_moved = False
        self._planning = ""
        self._reads_trails = threading.Lock()

    def start(self) -> None:
        """Begin to read, once the first frame is on the screen."""
        self.load_presets()
        self._start(self._follow_runs, "runs")

    def now(self) -> float:
        """Return the time of the clock, in seconds since the epoch."""
        return time.time()

    def look_again(self) -> None:
        """List the runs now: one was renamed or deleted."""
        self._changed.set()

    def load_presets(self) -> None:
        """Read the presets again, and find their data."""
        self._start(self._load_presets, "presets")

    def read_facts(self, preset: PresetEntry) -> None:
        """Read what the preview shows of a preset.

        The lr is computed only once the user has moved the highlight: to open the menu costs nothing.
        """
        self._first_preset = self._first_preset or preset.name
        self._has_moved = self._has_moved or preset.name != self._first_preset
        self._start(partial(self._read_facts, preset), "facts")

    def read_outline(self, run: RunRecord) -> None:
        """Read what the preview shows of a run, unless it shows that already."""
        folder, updated = self._shown_outline
        is_resting = run.folder == folder and time.monotonic() < self._outline_rests_until
        if run.status not in PROBLEMS and (run.folder, run.updated) != (folder, updated) and not is_resting:
            self._start(partial(self._read_outline, run), "outline")

    def read_trails(self) -> None:
        """Read the evaluations of the runs that have come into view."""
        self._start(self._read_unread, "trails")

    def _start(self, work: Callable[[], Coroutine[Any, Any, None]], group: str) -> None:
        """Start to read, in place of what the group is reading."""
        _: Worker[None] = self._screen.run_worker(work, group=group, exclusive=True)

    async def _load_presets(self) -> None:
        presets, locations = await asyncio.to_thread(presets_and_data)
        self._screen.presets.show(presets, locations)

    async def _read_facts(self, preset: PresetEntry) -> None:
        from torchconsole.tui.preset_facts import read_facts

        await asyncio.sleep(SETTLE_SECONDS)
        runs = sorted(
            (run for run in self._records if run.preset == preset.name and run.status not in PROBLEMS),
            key=lambda run: -run.created,
        )
        facts = self._planned.added_to(await asyncio.to_thread(read_facts, preset, runs), preset)
        self._screen.preset_preview.show_facts(facts)
        place = self._screen.presets.highlighted_location
        is_ready = place is not None and place.state == "here"
        if self._has_moved and facts.lacks_lr and is_ready and self._planning != preset.name:
            self._planning = preset.name
            self._start(partial(self._plan_lr, preset, facts), "lr")

    async def _plan_lr(self, preset: PresetEntry, facts: PresetFacts) -> None:
        await self._planned.compute(preset)
        self._screen.preset_preview.show_facts(self._planned.added_to(facts, preset))

    async def _read_outline(self, run: RunRecord) -> None:
        from torchconsole.tui.run_outline import read_outline

        await asyncio.sleep(SETTLE_SECONDS)
        outline = await asyncio.to_thread(read_outline, run)
        self._shown_outline = run.folder, run.updated
        self._screen.run_preview.show_outline(outline)
        # The long history of a live run is not read again and again.
        self._outline_rests_until = time.monotonic() + REST * outline.read_seconds

    async def _read_unread(self) -> None:
        await asyncio.sleep(SETTLE_SECONDS)
        visible = list(self._screen.runs.visible_runs)
        if any(run.folder not in self._trails and run.status not in PROBLEMS for run in visible):
            trails = await asyncio.to_thread(self._read_trails, visible)
            self._screen.runs.show_trails(trails)

    async def _follow_runs(self) -> None:
        """Update the list of runs; while another screen is shown, only to tell how live ones end."""
        from torchconsole.engine.run.registry import list_runs

        run_list = self._screen.runs
        while True:
            begun = time.perf_counter()
            is_shown = self._screen.is_current
            try:
                if is_shown or any(run.is_live for run in self._records):
                    self._records = await asyncio.to_thread(list_runs, self._runs_dir)
                    run_list.take(self._records)
                if is_shown:
                    self._screen.show_runs(self._records)
                    trails = await asyncio.to_thread(self._read_trails, list(run_list.visible_runs))
                    run_list.show_trails(trails)
            except (RunError, OSError) as error:
                run_list.show_message(f"cannot list the runs: {error}")
            least, share = (REFRESH_SECONDS, REST) if is_shown else (HIDDEN_SECONDS, HIDDEN_REST)
            rest = max(least, share * (time.perf_counter() - begun))
            with suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await self._changed.wait()
            self._changed.clear()

    def _read_trails(self, visible: Sequence[RunRecord]) -> dict[str, list[float]]:
        """Read the monitored metric of the visible runs; return it for all runs that were read so far."""
        from torchconsole.engine.run.evaluations import EvaluationReader
        from torchconsole.engine.run.names import METRICS_FILE
        from torchconsole.engine.run.patience import within_patience

        with self._reads_trails:
            for run in visible:
                if run.status in PROBLEMS or self._ended.get(run.folder) == run.updated:
                    continue
                path = Path(run.folder, METRICS_FILE)
                reader = self._readers.setdefault(run.folder, EvaluationReader(path))
                with suppress(OSError, RunError):
                    within_patience(str(path.parent.parent), partial(_read, reader))
                    self._trails[run.folder] = reader.values(monitored_metric(run))[-TRAIL:]
                    if not run.is_live:
                        self._ended[run.folder] = run.updated
                        del self._readers[run.folder]
            return dict(self._trails)


def _read(reader: EvaluationReader, _advance: Callable[[], object]) -> bool:
    return reader.read()


def missing_data(preset: PresetEntry) -> str | None:
    """Return what to do if a preset's data is not on this machine and is not downloaded either, else None."""
    from torchconsole.engine.config.data_location import find_data

    try:
        place = find_data(preset.path)
    except PresetError:  # the start says why
        return None
    if place.state != "missing":
        return None
    found = f"there is no {place.path}; " if place.path else ""
    return f"{found}set data.root to the folder or the file with the samples"


def presets_and_data() -> tuple[list[PresetEntry], dict[str, DataLocation]]:
    """Return the presets, and by their names where their data is."""
    from torchconsole.engine.config.data_location import find_data

    presets = list_presets()
    locations = {}
    for preset in presets:
        with suppress(PresetError):  # a file that cannot be read, or was removed just now
            locations[preset.name] = find_data(preset.path)
    return presets, locations

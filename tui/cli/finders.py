"""What `find-lr`, `find-batch` and `find-workers` share: their preset or run, and their chart."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torchconsole.engine.errors import PresetError, RunError, TorchconsoleError
from torchconsole.tui.cli.presets import load_checked_preset
from torchconsole.tui.cli.terminal import output_width

if TYPE_CHECKING:
    from torchconsole.engine.config.schema import Preset
    from torchconsole.engine.run.checkpoints import Target
    from torchconsole.engine.run.folder import RunFolder
    from torchconsole.engine.run.script_runs import Verb
    from torchconsole.tui.charts.canvas import Line

MAX_WIDTH, HEIGHT = 100, 14
"""Size of the chart (cells)."""


def find_run_or_preset(name: str, runs_dir: Path | None, doing: Verb) -> Target | None:
    """Return the run that a name means; None if it means a preset. `doing` is what a program's run refuses.

    Raises TorchconsoleError.
    """
    from torchconsole.engine.config.preset_files import find_file
    from torchconsole.engine.run.checkpoints import find_target
    from torchconsole.engine.run.script_runs import refuse_script

    try:
        find_file(name)
    except PresetError as no_preset:
        try:
            target = find_target(name, runs_dir)
        except RunError as no_run:
            raise TorchconsoleError(str(no_preset), str(no_run)) from no_run
    else:
        return None
    if target.run is None:
        raise RunError(f"{name}: is not in a run's folder, so its preset is unknown; name a preset or a run")
    refuse_script(target.run, doing)
    return target


def load_settings(
    name: str, overrides: Sequence[str] | None, runs_dir: Path | None, doing: Verb
) -> tuple[Preset, RunFolder | None]:
    """Return a preset, or the settings of a run as those of a new one, with the run.

    Raises TorchconsoleError.
    """
    target = find_run_or_preset(name, runs_dir, doing)
    run = None if target is None else target.run
    return load_checked_preset(name if run is None else str(run.preset_file), overrides), run


def announce(text: str) -> None:
    """Say what takes long, in a terminal."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr, flush=True)


def chart_width() -> int:
    """Return the width of a chart (cells)."""
    return min(MAX_WIDTH, output_width() or shutil.get_terminal_size().columns)


def print_chart(lines: Sequence[Line]) -> None:
    """Print a chart without colors."""
    for line in lines:
        print("".join(text for text, _ in line).rstrip())

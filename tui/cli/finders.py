"""What `find-lr`, `find-batch`, `find-workers` and `profile` share: the chart, and a search."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from torchconsole.tui.cli.named_runs import load_settings
from torchconsole.tui.cli.options import with_processes
from torchconsole.tui.cli.presets import require_trust
from torchconsole.tui.cli.report import make_preset_report
from torchconsole.tui.cli.terminal import announce, output_width, print_json

if TYPE_CHECKING:
    from torchconsole.engine.protocol.finder_reports import BatchSizeSearch, LoaderSearch
    from torchconsole.engine.run.script_runs import Verb
    from torchconsole.tui.charts.canvas import Line

    Search = TypeVar("Search", bound="BatchSizeSearch | LoaderSearch")

MAX_WIDTH, HEIGHT = 100, 14
"""Size of the chart (cells)."""


def search_settings(
    kind: type[Search],
    command: Literal["find-batch", "find-workers"],
    doing: Verb,
    what: str,
    print_search: Callable[[Search, str], None],
    preset: str,
    overrides: list[str] | None,
    nproc: str | None,
    runs_dir: Path | None,
    *,
    trust: bool,
    as_json: bool,
) -> int:
    """Search for settings of a preset or a run; print what was found, and the command that takes it over.

    Raises TorchconsoleError.
    """
    from torchconsole.engine.client.processes import choose_processes

    settings = with_processes(overrides, nproc)
    loaded, run = load_settings(preset, settings, runs_dir, doing)
    choose_processes(loaded)
    require_trust(loaded, trust)
    announce(f"loading the data and trying {what}...")
    search = make_preset_report(kind, command, loaded)
    if as_json:
        print_json(search.model_dump(mode="json"))
        return 0
    name = preset if run is None else str(run.preset_file)
    print_search(search, train_command([name], [*settings, *search.settings]))
    return 0


def train_command(start: Sequence[str], settings: Sequence[str]) -> str:
    """Return the command that trains with settings."""
    return shlex.join(["train", *start, *(word for setting in settings for word in ("--set", setting))])


def chart_width() -> int:
    """Return the width of a chart (cells)."""
    return min(MAX_WIDTH, output_width() or shutil.get_terminal_size().columns)


def print_chart(lines: Sequence[Line]) -> None:
    """Print a chart without colors."""
    for line in lines:
        print("".join(text for text, _ in line).rstrip())

"""`torchconsole find-workers`: the throughput of each number of data loader workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchconsole.tui.cli.finders import HEIGHT, chart_width, print_chart, search_settings
from torchconsole.tui.cli.options import AsJson, Overrides, PlannedProcesses, PresetOrRun, RunsDir, Trust
from torchconsole.tui.cli.terminal import print_table, print_wrapped
from torchconsole.tui.table import Column

if TYPE_CHECKING:
    from torchconsole.engine.protocol.finder_reports import LoaderSearch

COLUMNS = (
    Column("WORKERS", right=True),
    Column("LOADED/S", right=True),
    Column("TRAINED/S", right=True),
)


def find_workers(
    preset: PresetOrRun,
    overrides: Overrides = None,
    nproc: PlannedProcesses = None,
    trust: Trust = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> int:
    """Find how many data loader workers are worth it.

    Measures the samples per second that 0, 1, 2, 4 and more workers load, up to one for each core, and that a
    training reaches with them, a few seconds each. Suggests the smallest number with at least 90 % of the
    best training, and tells whether loading or computing is the limit. Samples that are held in memory
    need no workers. For a run, uses its settings. No run is started or changed.
    """
    from torchconsole.engine.protocol.finder_reports import LoaderSearch

    return search_settings(
        LoaderSearch,
        "find-workers",
        "find data loader workers for",
        "data loader workers",
        print_search,
        preset,
        overrides,
        nproc,
        runs_dir,
        trust=trust,
        as_json=as_json,
    )


def print_search(search: LoaderSearch, use: str) -> None:
    """Print the chart, the table and the suggestion; the command `use` takes it over."""
    from torchconsole.tui.finder_charts import draw_loader_search
    from torchconsole.tui.finder_texts import describe_loader_search, loader_rows

    print_chart(draw_loader_search(search, chart_width(), HEIGHT))
    if search.trials:
        print_table(COLUMNS, loader_rows(search))
    for line in describe_loader_search(search):
        print_wrapped(line)
    if search.settings:
        print_wrapped(f"to use it: torchconsole {use}")

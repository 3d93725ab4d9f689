"""`torchconsole find-batch`: the largest batch size that fits, and the throughput of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchconsole.tui.cli.finders import HEIGHT, chart_width, print_chart, search_settings
from torchconsole.tui.cli.options import AsJson, Overrides, PlannedProcesses, PresetOrRun, RunsDir, Trust
from torchconsole.tui.cli.terminal import print_table, print_wrapped
from torchconsole.tui.table import Column

if TYPE_CHECKING:
    from torchconsole.engine.protocol.finder_reports import BatchSizeSearch

COLUMNS = (
    Column("BATCH SIZE", right=True),
    Column("SAMPLES/S", right=True),
    Column("MS A STEP", right=True),
    Column("MEMORY", right=True),
)


def find_batch(
    preset: PresetOrRun,
    overrides: Overrides = None,
    nproc: PlannedProcesses = None,
    trust: Trust = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> int:
    """Find the largest batch size that fits, and a fast one.

    Tries sizes that double, up to the number of training samples: a size fits if a whole optimizer step and
    an evaluation do, with the preset's accumulation, precision and optimizer. Suggests the smallest size
    with at least 90 % of the best throughput. On the CPU, a search takes at most 80 % of the free memory.
    For a run, uses its settings. No run is started or changed.
    """
    from torchconsole.engine.protocol.finder_reports import BatchSizeSearch

    return search_settings(
        BatchSizeSearch,
        "find-batch",
        "find a batch size for",
        "batch sizes",
        print_search,
        preset,
        overrides,
        nproc,
        runs_dir,
        trust=trust,
        as_json=as_json,
    )


def print_search(search: BatchSizeSearch, use: str) -> None:
    """Print the chart, the table and the suggestion; the command `use` takes it over."""
    from torchconsole.tui.finder_charts import draw_batch_search
    from torchconsole.tui.finder_texts import batch_rows, describe_batch_search

    print_chart(draw_batch_search(search, chart_width(), HEIGHT))
    print_table(COLUMNS, batch_rows(search))
    for line in (*describe_batch_search(search), f"to use it: torchconsole {use}"):
        print_wrapped(line)

"""`torchconsole find-lr`: the learning rate range test, as a chart and a suggestion."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.tui.cli.finders import HEIGHT, chart_width, print_chart, train_command
from torchconsole.tui.cli.named_runs import load_start
from torchconsole.tui.cli.options import AsJson, Overrides, PresetOrRun, RunsDir, Trust
from torchconsole.tui.cli.presets import require_trust
from torchconsole.tui.cli.report import make_preset_report
from torchconsole.tui.cli.terminal import announce, print_json, print_wrapped

if TYPE_CHECKING:
    from torchconsole.engine.protocol.reports import LearningRateSearch
    from torchconsole.engine.run.folder import RunFolder

LEAST_STEPS = 30


def find_lr(
    preset: PresetOrRun,
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option(metavar="N", help="Steps from the lowest lr to the highest.")] = 200,
    trust: Trust = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> int:
    """Find a learning rate with a range test.

    Trains for a few steps while the lr grows from 1e-7 to 10, until the loss diverges, and suggests the lr
    where the loss falls fastest, or a tenth of the lr at its minimum if that is lower. The optimizer, its
    parameter groups, accumulation, clipping and precision are the preset's; its schedule is not used. For a
    run, starts from the weights of its newest checkpoint. No run is started or changed.
    """
    from torchconsole.engine.protocol.reports import LearningRateSearch

    if steps < LEAST_STEPS:
        raise TorchconsoleError(f"--steps {steps}: a range test needs {LEAST_STEPS} steps or more")
    loaded, run, checkpoint = load_start(preset, overrides, runs_dir, "find an lr for")
    require_trust(loaded, trust)
    announce("loading the data and making the range test...")
    options = [str(steps), *([str(checkpoint)] if checkpoint else [])]
    search = make_preset_report(LearningRateSearch, "find-lr", loaded, *options)
    if as_json:
        print_json(search.model_dump(mode="json"))
    else:
        use = _taking_over(search, preset, overrides or [], run) if search.suggestion is not None else ""
        print_search(search, use, is_run=run is not None)
    return 0


def print_search(search: LearningRateSearch, use: str, *, is_run: bool) -> None:
    """Print the chart and the suggestion; the command `use` takes it over."""
    from torchconsole.tui.finder_charts import draw_lr_search
    from torchconsole.tui.finder_texts import describe_lr_search

    print_chart(draw_lr_search(search, chart_width(), HEIGHT))
    for line in describe_lr_search(search, is_run=is_run):
        print_wrapped(line)
    if search.suggestion is not None:
        print_wrapped(f"to use it: torchconsole {use}")


def _taking_over(
    search: LearningRateSearch, name: str, overrides: Sequence[str], run: RunFolder | None
) -> str:
    """Return the command that takes the suggestion over: for a live run `send`, else `train`."""
    if run is not None and run.read_record().is_live:
        return f"send {shlex.quote(run.name)} lr {search.suggestion:g}"
    start = [name] if run is None else [str(run.preset_file), "--from", f"{run.name}@last"]
    return train_command(start, [*overrides, *search.settings])

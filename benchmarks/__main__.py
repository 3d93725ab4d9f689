"""`python -m benchmarks`: measure, print the tables and write benchmarks/results.json (`make bench`).

--quick        measure fewer workloads and rounds; a full run takes half an hour
--only PREFIX  measure only the workloads whose names start with PREFIX, and no other figures
--ranks        measure several processes only (two minutes), and write their table in docs/figures.md
--figures      measure the console and torchconsole.run only (8 minutes), and write docs/figures.md: these
               figures, and the tables of the last full run if there are results of one
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from benchmarks import charts, console, document, history, own_loop, ranks, report, screen, stall
from benchmarks.speed import FULL, HAS_LIGHTNING, QUICK, Speeds, measure
from benchmarks.terminal import temporary_home
from benchmarks.workloads import cpu_workloads

FIGURES = Path(__file__).resolve().parents[1] / "docs" / "figures.md"


def main() -> int:
    """Run the command line; returns the exit status."""
    arguments = _parser().parse_args()
    if arguments.ranks:
        found = ranks.figures(quick=arguments.quick)
        block = report.console_as_markdown(found, document.environment())
        report.update_figures(FIGURES, report.RANKS, block)
        return 0
    if arguments.figures:
        return _write_figures(quick=arguments.quick)
    metadata = {
        **document.environment(),
        "quick": arguments.quick,
        "rounds": (QUICK if arguments.quick else FULL).rounds,
    }
    if not HAS_LIGHTNING:
        print("Lightning is not installed (extra `bench`): skipping its variants", flush=True)
    start = time.monotonic()
    with temporary_home() as home:
        all_speeds = _speeds(Path(home), arguments.only, quick=arguments.quick)
    modules = () if arguments.only else (stall, own_loop, ranks, console, charts, history)
    figures = [figure for module in modules for figure in module.figures(quick=arguments.quick)]
    metadata["minutes"] = round((time.monotonic() - start) / 60, 1)
    results = document.compose(metadata, all_speeds, figures)
    document.write(results)
    print(report.as_text(results))
    return 0


def _write_figures(*, quick: bool) -> int:
    found = [*screen.figures(quick=quick), *own_loop.figures(quick=quick)]
    report.update_figures(FIGURES, report.CONSOLE, report.console_as_markdown(found, document.environment()))
    if document.RESULTS.exists():
        report.update_figures(FIGURES, report.SPEED, report.as_markdown(document.read()))
    else:
        print(f"{document.RESULTS} does not exist: `make bench` measures the training's speed")
    return 0


def _speeds(home: Path, prefix: str, *, quick: bool) -> list[Speeds]:
    cores = len(os.sched_getaffinity(0))
    results = []
    for workload in cpu_workloads(home, quick=quick):
        if workload.name.startswith(prefix):
            print(f"measuring {workload.label}", flush=True)
            results.append(measure(workload, cores, home / "runs", QUICK if quick else FULL))
    return results


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="measure fewer workloads and rounds")
    parser.add_argument(
        "--only", default="", metavar="PREFIX", help="measure only workloads whose names start with PREFIX"
    )
    parser.add_argument(
        "--ranks", action="store_true", help="measure several processes only, write docs/figures.md"
    )
    parser.add_argument(
        "--figures",
        action="store_true",
        help="measure the console and torchconsole.run, write docs/figures.md",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

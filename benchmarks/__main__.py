"""`python -m benchmarks`: measure, print the tables, write benchmarks/results.json. `make bench` does it.

--quick        fewer workloads and rounds, for a first look: the whole takes half an hour
--only WORD    the workloads whose names begin with WORD, and no other figures
--readme       measure nothing, and write the last results into README.md
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from benchmarks import console, document, history, report, stall
from benchmarks.machine import on_record
from benchmarks.speed import FULL, HAS_LIGHTNING, QUICK, Speeds, measure
from benchmarks.terminal import own_home
from benchmarks.workloads import cpu_workloads

README = Path(__file__).resolve().parents[1] / "README.md"


def main() -> int:
    """Do what the command line asks for; returns the exit status."""
    arguments = _parser().parse_args()
    if arguments.readme:
        if not document.RESULTS.exists():
            print(f"{document.RESULTS} is not there: run `make bench` first", file=sys.stderr)
            return 2
        report.rewrite(README, document.read())
        return 0
    about = {
        **on_record(),
        "quick": arguments.quick,
        "rounds": (QUICK if arguments.quick else FULL).rounds,
    }
    if not HAS_LIGHTNING:
        print("Lightning is not installed (extra `bench`): its arms are left out", flush=True)
    begin = time.monotonic()
    with own_home() as home:
        all_speeds = _speeds(Path(home), arguments.only, quick=arguments.quick)
    parts = () if arguments.only else (stall, console, history)
    figures = [figure for part in parts for figure in part.figures(quick=arguments.quick)]
    about["minutes"] = round((time.monotonic() - begin) / 60, 1)
    results = document.compose(about, all_speeds, figures)
    document.write(results)
    print(report.as_text(results))
    return 0


def _speeds(home: Path, only: str, *, quick: bool) -> list[Speeds]:
    cores = len(os.sched_getaffinity(0))
    results = []
    for workload in cpu_workloads(home, quick=quick):
        if workload.name.startswith(only):
            print(f"measuring {workload.label}", flush=True)
            results.append(measure(workload, cores, home / "runs", QUICK if quick else FULL))
    return results


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="fewer workloads and rounds")
    parser.add_argument("--only", default="", metavar="WORD", help="workloads whose names begin with WORD")
    parser.add_argument("--readme", action="store_true", help="write the last results into README.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Fuzz everything that reads files and messages of others, and print how many inputs each reader took.

    python -m tests.fuzz [MINUTES] [SEED]

Ten minutes by default, from a random seed. A fault ends it with the smallest input that shows it; the same
seed repeats it.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.rounds import run_round
from tests.fuzz.targets import TARGETS


def main(arguments: list[str]) -> int:
    """Fuzz for the given time, and print the counts."""
    seconds = 60 * float(arguments[0] if arguments else 10)
    first = int(arguments[1]) if len(arguments) > 1 else random.randrange(1_000_000)
    print(f"seed {first}: repeat with `python -m tests.fuzz {seconds / 60:g} {first}`", flush=True)
    end = time.monotonic() + seconds
    counts = {kind.__name__: Counter[str]() for kind in TARGETS}
    with tempfile.TemporaryDirectory(prefix="tc-fuzz-", dir="/tmp") as root:
        targets = []
        for kind in TARGETS:
            folder = Path(root) / kind.__name__.lower()
            folder.mkdir()
            targets.append(kind(folder))
        number = first
        while time.monotonic() < end:
            for target in targets:
                counts[type(target).__name__] += run_round(target, number, target.share)
            number += 1
    for name, count in counts.items():
        print(f"{name:16} {count['accepted']:7} accepted {count['refused']:7} refused")
    print(f"{sum(count.total() for count in counts.values()):24} inputs, no fault")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

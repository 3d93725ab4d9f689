"""How many CPU threads torch computes with: fewer than all where a step is so short that fewer are as fast.

What the training leaves is there for the console, the loader and whoever else works on the machine. More
threads wait for each other at the end of each operation, for a thousand times as long on a busy machine.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from torchconsole.engine.training.dry_run import Batch, forward_and_backward, preserve_state
from torchconsole.engine.training.setup import TrainingSetup
from torchconsole.engine.training.timing import in_milliseconds, median_seconds

LONG = 1.0
"""Seconds of a forward and backward pass from which on all threads are taken without a trial of fewer.

Far more than small nets need: on a busy machine it is they that take so long, and gain most by fewer.
"""

GAIN = 1.1
"""Twice the threads must make a step this many times as fast."""


def choose_threads(setup: TrainingSetup, batch: Batch) -> str:
    """Give torch the number of threads that `task` needs, and say why; nothing of the task is changed.

    Takes some tenths of a second, or some steps where they are longer. All threads stay in use for a device
    other than the CPU, for compiled code, which is made for a number of threads, and where the run is to be
    deterministic: sums go by them.
    """
    training = setup.preset.training
    if setup.device.type != "cpu" or training.compile or training.deterministic:
        return ""
    if torch.get_num_threads() == 1:
        return ""
    with preserve_state(setup):
        return _fewest(lambda: forward_and_backward(setup, batch))


def _fewest(step: Callable[[], object]) -> str:
    """Halve torch's threads for as long as `step` does not get slower by it; returns what was found."""
    threads = everything = torch.get_num_threads()
    seconds = {threads: median_seconds(step)}
    while threads > 1 and seconds[threads] < LONG:
        fewer = threads // 2
        torch.set_num_threads(fewer)
        seconds[fewer] = median_seconds(step)
        if seconds[fewer] > GAIN * seconds[threads]:
            break
        threads = fewer
    torch.set_num_threads(threads)
    if threads == everything:
        return ""
    return (
        f"{threads} CPU thread{'s' * (threads > 1)} of {everything}: a step takes "
        f"{in_milliseconds(seconds[threads])} ms, with all {in_milliseconds(seconds[everything])} "
        "(training.threads)"
    )

"""The console gives way to the training: it runs at a low priority, and what it starts does not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

NICENESS = 10

Result = TypeVar("Result")

_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starter")
"""Linux has a priority for each thread, which its threads and processes inherit, and which nobody but root
can raise again: so the thread that starts workers exists before the others are lowered."""


def step_back() -> None:
    """Lower the priority of this thread, and so of all that it starts other than by `at_full_priority`."""
    _starter.submit(os.getpid).result()
    os.nice(NICENESS)


async def at_full_priority(work: Callable[..., Result], *arguments: object) -> Result:
    """Do `work`, which starts processes, in a thread that has the priority of the shell."""
    return await asyncio.get_running_loop().run_in_executor(_starter, work, *arguments)

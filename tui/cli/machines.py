"""`train --nnodes N --rdzv-endpoint HOST:PORT`: what this machine does in a training on several machines."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from torchconsole.engine.errors import TorchconsoleError

if TYPE_CHECKING:
    from torchconsole.engine.client.processes import Processes

OWN = ("--nnodes", "--rdzv-endpoint", "--nproc")
"""Options that are for torchrun, each with a value."""


def start_here(
    arguments: Sequence[str],
    machines: int,
    endpoint: str,
    processes: Processes,
    max_restarts: int,
    *,
    detach: bool,
) -> NoReturn:
    """Replace this process by torchrun, which starts `torchconsole ARGUMENTS` once for each GPU used here.

    Raises TorchconsoleError if one of the two options is missing, and for `detach`.
    """
    if machines < 2 or not endpoint:
        raise TorchconsoleError(
            "--nnodes and --rdzv-endpoint belong together: --nnodes 2 --rdzv-endpoint HOST:29500, "
            "with the name of one of the machines"
        )
    if detach:
        raise TorchconsoleError(
            "--detach: with --nnodes the command becomes a torchrun, which stays until the training ends; "
            "start it without --detach, in tmux or in the background"
        )
    os.environ |= {"PYTHONSAFEPATH": "1", **processes.environment}
    words = torchrun_words(arguments, machines, endpoint, processes.count, max_restarts)
    os.execv(sys.executable, words)


def torchrun_words(
    arguments: Sequence[str], machines: int, endpoint: str, processes: int, max_restarts: int
) -> list[str]:
    """Return torchrun's command for `torchconsole ARGUMENTS`, without the options that are torchrun's."""
    kept: list[str] = []
    words = iter(arguments)
    for word in words:
        if word in OWN:
            next(words, None)
        elif not word.startswith(tuple(f"{option}=" for option in OWN)):
            kept.append(word)
    headless = [] if {"--headless", "--quiet", "--json"} & set(kept) else ["--headless"]
    launcher = ["-P", "-m", "torch.distributed.run", "--rdzv_backend=c10d", f"--rdzv_endpoint={endpoint}"]
    sizes = [f"--nnodes={machines}", f"--nproc_per_node={processes}", f"--max_restarts={max_restarts}"]
    return [sys.executable, *launcher, *sizes, "-m", "torchconsole", *kept, *headless]

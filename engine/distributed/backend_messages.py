"""What messages of NCCL, gloo and torch about their communication mean, and what to do about it."""

from __future__ import annotations

import re

MEANINGS = (
    (
        r"Duplicate GPU detected",
        "two processes use the same GPU: start at most one process for each GPU of the machine",
    ),
    (
        r"Watchdog caught collective operation timeout",
        "the processes have waited for each other in vain: one of them hangs, has ended or is cut off",
    ),
    (
        r"NCCL communicator was aborted|ncclRemoteError|remote process exited",
        "another process has ended, or the network between the machines is broken",
    ),
    (
        r"ncclSystemError|unhandled system error",
        "the system refused something to NCCL, or another process has ended: look for a full /dev/shm, a "
        "limit of locked memory, a firewall, or a wrong network interface (NCCL_SOCKET_IFNAME); "
        "NCCL_DEBUG=INFO shows which",
    ),
    (
        r"ncclUnhandledCudaError|unhandled cuda error",
        "CUDA has failed within NCCL, often for lack of GPU memory or because driver and CUDA do not fit "
        "together; NCCL_DEBUG=INFO shows the call",
    ),
    (
        r"ncclInvalidUsage|ncclInvalidArgument",
        "the processes do not call NCCL in the same way: each needs a GPU of its own and the same versions",
    ),
    (
        r"ncclInternalError",
        "NCCL itself has failed, often because the machines have different versions of it",
    ),
    (
        r"connectFullMesh failed|Unable to find address for|Unable to resolve hostname",
        "the processes cannot reach each other: look for a firewall or a host name that resolves to "
        "127.0.0.1, or name the network interface (GLOO_SOCKET_IFNAME, NCCL_SOCKET_IFNAME)",
    ),
)
"""Patterns of messages, with their meaning; the first that fits counts. NCCL appends `Last error` to its own.

Sources: ncclGetErrorString and its use in torch's NCCLUtils, ProcessGroupNCCL and ProcessGroupGloo.
"""


def in_words(message: str) -> str:
    """Return what a message of NCCL, gloo or torch means; empty if it is none of those that are known."""
    return next((meaning for pattern, meaning in MEANINGS if re.search(pattern, message)), "")

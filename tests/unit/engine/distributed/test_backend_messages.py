"""Messages of NCCL and gloo are explained."""

from __future__ import annotations

import pytest

from torchconsole.engine.distributed.backend_messages import in_words

NCCL = "NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:77, "


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        (
            "[rank1]:[E1130 17:29:36 ProcessGroupNCCL.cpp:683] [Rank 1] Watchdog caught collective operation "
            "timeout: WorkNCCL(SeqNum=12, OpType=ALLREDUCE, NumelIn=1, Timeout(ms)=600000) ran for 600029 ms",
            "waited for each other in vain",
        ),
        (
            f"{NCCL}remote process exited or there was a network error\nncclRemoteError: A call failed",
            "ended",
        ),
        ("NCCL communicator was aborted on rank 1.", "another process has ended"),
        (f"{NCCL}unhandled system error\nncclSystemError: System call (e.g. socket, malloc)", "/dev/shm"),
        (f"{NCCL}unhandled cuda error (run with NCCL_DEBUG=INFO for details)", "CUDA has failed"),
        (f"{NCCL}invalid usage\nncclInvalidUsage: x\nDuplicate GPU detected : rank 0", "use the same GPU"),
        (f"{NCCL}invalid argument\nncclInvalidArgument: Invalid value for an argument.", "same way"),
        (f"{NCCL}internal error\nncclInternalError: Internal check failed.", "NCCL itself has failed"),
        ("Gloo connectFullMesh failed with [pair.cc:144] no error", "GLOO_SOCKET_IFNAME"),
        ("Connection closed by peer [127.0.0.1]:4711", ""),
        ("mat1 and mat2 shapes cannot be multiplied", ""),
    ],
)
def test_a_message_is_explained(message: str, meaning: str) -> None:
    found = in_words(message)
    assert meaning in found
    assert bool(meaning) == bool(found)

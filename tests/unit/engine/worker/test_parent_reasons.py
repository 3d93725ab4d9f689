"""The reason of a run by several processes, from how they ended and what they said at last."""

from __future__ import annotations

import signal
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from torchconsole.engine.worker import parent

STUCK = "process 1 (pid 42 on gpu7) has not been heard of for 30 s, last after step 8: it hangs"


def failure(logs: Path, rank: int, status: int, *lines: str) -> ProcessFailure:
    file = logs / "attempt_0" / str(rank) / "stderr.log"
    file.parent.mkdir(parents=True)
    file.write_text("".join(f"{line}\n" for line in lines))
    return ProcessFailure(local_rank=rank, pid=40 + rank, exitcode=status, error_file="")


def test_what_the_others_said_of_a_process_that_hangs_comes_before_its_end_by_sigkill(tmp_path: Path) -> None:
    said = f"2026-11-30T17:29:36Z\tERROR\tprocess 0: {STUCK}"
    failures = {
        0: failure(tmp_path, 0, 1, said, "[W1130 TCPStore.cpp:138] recvValueWithTimeout failed"),
        1: failure(tmp_path, 1, -signal.SIGKILL, ""),
    }
    assert parent._verdict(failures, tmp_path) == STUCK
    del failures[0]
    assert parent._verdict(failures, tmp_path) == ""


def test_a_message_of_nccl_is_the_last_word_with_its_meaning(tmp_path: Path) -> None:
    message = "[rank1]:[E1130] Watchdog caught collective operation timeout: WorkNCCL"
    failed = failure(tmp_path, 1, -signal.SIGABRT, message, "Fatal Python error: Aborted", "numpy, torch")
    reason = parent._describe(1, failed, tmp_path, {})
    assert reason == (
        f"process 1 (pid 41 on {socket.gethostname()}) was killed by SIGABRT: the processes have waited for "
        f"each other in vain: one of them hangs, has ended or is cut off: {message}"
    )


def test_a_process_that_the_kernel_killed_for_lack_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explain(before: Mapping[str, int]) -> str:
        return "was killed by the kernel because its cgroup reached its memory limit"

    monkeypatch.setattr(parent, "explain_kill", explain)
    reason = parent._describe(1, failure(tmp_path, 1, -signal.SIGKILL), tmp_path, {})
    assert reason.endswith(") was killed by the kernel because its cgroup reached its memory limit")
    reason = parent._describe(0, failure(tmp_path, 0, -signal.SIGSEGV), tmp_path, {})
    assert reason.endswith(") was killed by SIGSEGV")

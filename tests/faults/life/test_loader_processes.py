"""Loader processes that die, hang, or find no shared memory; and that outlive nobody."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.life.conftest import Begin
from tests.support.lives import Life, losses, state_of
from tests.support.runs import wait_until
from tests.support.slow import FAULT

WORKERS = "data.num_workers=2"

HANG_AND_LEAVE = """
import gc, time, torch
from torchconsole.engine.components.data.fetching import Fetcher
from torchconsole.engine.components.data.loader_batches import LoaderEvalBatches, Loading
from torchconsole.engine.components.data.samples import StoredSamples

class Hanging:
    def __getitem__(self, index):
        time.sleep(3600)

fetcher = Fetcher(StoredSamples(Hanging(), torch.zeros(8), fixed=False), None)
loading = Loading(torch.device("cpu"), num_workers=2, pin_memory=False, timeout=1)
batches = LoaderEvalBatches(fetcher, 4, 0, loading, finish=lambda batch: batch)
try:
    next(iter(batches))
except RuntimeError as error:
    assert "timed out" in str(error)
del batches, fetcher
gc.collect()
"""


def failed(life: Life) -> str:
    """Wait for the run's end, which must be a failure that is no traceback; returns its reason."""
    assert life.end() == 1, life.log
    assert life.record.status == "failed"
    assert "torch/utils/data/dataloader.py" not in life.log
    return life.record.reason


@pytest.mark.parametrize(
    ("name", "cause"), [("SIGKILL", "memory"), ("SIGSEGV", "native code"), ("SIGBUS", "/dev/shm")]
)
def test_one_dies(begin: Begin, monkeypatch: pytest.MonkeyPatch, name: str, cause: str) -> None:
    life = begin(f"die {name}", WORKERS)
    reason = failed(life)
    assert re.search(rf"a loader process \(pid \d+\) was killed by {name}: .*{cause}", reason)
    assert "the last checkpoint stands" in reason
    monkeypatch.delenv(FAULT)
    resumed = life.resume()
    assert resumed.end() == 0, resumed.log
    assert [step for step, _ in losses(life.folder)] == [*range(1, 37)]


def test_one_dies_amid_the_run(begin: Begin) -> None:
    """It is noticed at once, not when its next batch is due."""
    life = begin("", WORKERS, "training.epochs=100000")
    life.await_line()
    os.kill(life.children()[0], signal.SIGKILL)
    killed = time.monotonic()
    assert "killed by SIGKILL" in failed(life)
    assert time.monotonic() - killed < 5


def test_one_hangs(begin: Begin) -> None:
    life = begin("hang", WORKERS, "data.loader_timeout=1.5")
    reason = failed(life)
    assert "no batch came within data.loader_timeout" in reason
    assert "data.num_workers = 0 shows where" in reason


def test_one_that_hangs_keeps_nobody_when_its_loader_is_gone() -> None:
    """Python's end waits for processes that ignore SIGTERM, unless they are killed before."""
    begin = time.monotonic()
    subprocess.run([sys.executable, "-c", HANG_AND_LEAVE], check=True, timeout=60)
    assert time.monotonic() - begin < 20


def test_shared_memory_that_is_too_small(begin: Begin, tmp_path: Path) -> None:
    """Said before the run, with what to do; and named when it is full."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        pytest.skip("only root may have a /dev/shm of its own, and not in every container")
    life = begin("", WORKERS, "data.width=40000", "model.width=40000", "training.epochs=1")
    assert life.end() == 0
    script = 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"'
    command = [sys.executable, "-P", "-m", "torchconsole.engine.worker.main", str(life.folder.path)]
    life.folder.log_file.write_text("")
    with life.folder.log_file.open("ab") as log:
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, "sh", *command], stderr=log, stdout=log
        )
    assert done.returncode == 2
    assert re.search(r"WARNING data: 2 loader processes may need 7 MiB .* /dev/shm has 1 MiB free", life.log)
    assert "shared memory (/dev/shm) is full; enlarge it" in life.record.reason
    assert "Traceback" not in life.log


def test_none_outlives_a_worker_that_is_killed(begin: Begin) -> None:
    life = begin("", WORKERS, "training.epochs=100000")
    life.await_line("evaluation")
    children = life.children()
    assert len(children) == 4, "two for each part"
    life.signal(signal.SIGKILL)
    assert life.end() == -signal.SIGKILL
    killed = time.monotonic()
    wait_until(lambda: all(state_of(child) == "Z" for child in children), "their end")
    assert time.monotonic() - killed < 5
    assert life.record.status == "lost"
    assert life.started.exit_reason() == "killed by SIGKILL"


def test_they_hold_neither_the_socket_nor_the_lock(begin: Begin) -> None:
    """Nobody who connects to a worker that is gone must wait for its loader processes to go, too."""
    life = begin("", WORKERS, "training.epochs=100000")
    life.await_line("evaluation")
    links: list[str] = []
    for child in life.children():
        for entry in Path(f"/proc/{child}/fd").iterdir():
            with suppress(FileNotFoundError):  # it was closed meanwhile
                links.append(str(entry.readlink()))
    ours = {line.split()[6] for line in Path("/proc/net/unix").read_text().splitlines() if "/tc-" in line}
    assert ours
    assert not {f"socket:[{inode}]" for inode in ours} & set(links)

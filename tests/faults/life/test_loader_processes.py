"""Data loader workers that die, hang or find no shared memory; and that end with their training process."""

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
from tests.support.faulty_task import FAULT
from tests.support.runs import wait_until
from tests.support.worker_runs import Life, losses, state_of

WORKERS = "data.num_workers=2"

HANG_AND_LEAVE = """
import gc, time, torch

from torchconsole.engine.components.data.loader import LoaderEvalBatches, LoaderOptions
from torchconsole.engine.components.data.loader_worker import BatchFetcher
from torchconsole.engine.components.data.datasets import MapStyleDataset

class Hanging:
    def __getitem__(self, index):
        time.sleep(3600)

fetcher = BatchFetcher(MapStyleDataset(Hanging(), torch.zeros(8), fixed=False), None)
loading = LoaderOptions(torch.device("cpu"), num_workers=2, pin_memory=False, timeout=1)
batches = LoaderEvalBatches(fetcher, 4, 0, loading, finish=lambda batch: batch)
try:
    next(iter(batches))
except RuntimeError as error:
    assert "timed out" in str(error)
del batches, fetcher
gc.collect()
"""


def failed(life: Life) -> str:
    """Wait until the run fails, without a traceback in its log; return the reason."""
    assert life.end() == 1, life.log
    assert life.record.status == "failed"
    assert "torch/utils/data/dataloader.py" not in life.log
    return life.record.reason


@pytest.mark.parametrize(
    ("name", "cause"), [("SIGKILL", "memory"), ("SIGSEGV", "native code"), ("SIGBUS", "/dev/shm")]
)
def test_a_worker_that_dies_fails_the_run_with_the_cause(
    begin: Begin, monkeypatch: pytest.MonkeyPatch, name: str, cause: str
) -> None:
    life = begin(f"die {name}", WORKERS)
    reason = failed(life)
    assert re.search(rf"a data loader worker \(pid \d+\) was killed by {name}: .*{cause}", reason)
    assert "the last checkpoint stands" in reason
    monkeypatch.delenv(FAULT)
    resumed = life.resume()
    assert resumed.end() == 0, resumed.log
    assert [step for step, _ in losses(life.folder)] == [*range(1, 37)]


def test_a_worker_that_dies_between_two_batches_is_noticed_at_once(begin: Begin) -> None:
    """Not only when its next batch is due."""
    life = begin("", WORKERS, "training.epochs=100000")
    life.await_line()
    os.kill(life.children()[0], signal.SIGKILL)
    killed = time.monotonic()
    assert "killed by SIGKILL" in failed(life)
    assert time.monotonic() - killed < 5


def test_a_worker_that_hangs_fails_the_run_after_the_timeout(begin: Begin) -> None:
    life = begin("hang", WORKERS, "data.loader_timeout=1.5")
    reason = failed(life)
    assert "no batch arrived within data.loader_timeout" in reason
    assert "raise data.loader_timeout, or debug with data.num_workers = 0" in reason


def test_a_hanging_worker_whose_loader_is_gone_does_not_delay_the_exit() -> None:
    """Python waits at exit for processes that ignore SIGTERM, unless they are killed first."""
    begin = time.monotonic()
    subprocess.run([sys.executable, "-c", HANG_AND_LEAVE], check=True, timeout=60)
    assert time.monotonic() - begin < 20


def test_too_little_shared_memory_is_a_warning_and_full_shared_memory_an_error(
    begin: Begin, tmp_path: Path
) -> None:
    """The warning comes before the run starts; both say what to do."""
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
    assert re.search(r"WARNING data: 2 data loader workers may need [\d.]+ MiB .* has 1.0 MiB free", life.log)
    assert "shared memory (/dev/shm) is full; enlarge it" in life.record.reason
    assert "Traceback" not in life.log


def test_loader_workers_end_when_the_training_process_is_killed(begin: Begin) -> None:
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


def test_loader_workers_hold_neither_the_socket_nor_the_lock(begin: Begin) -> None:
    """A client of a worker that is gone must not have to wait for its loader workers to end, too."""
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

"""Data loader workers that die, hang or lack shared memory, and that end with their training process."""

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

from tests.faults.life.conftest import Start
from tests.support.faulty_task import FAULT
from tests.support.runs import wait_until
from tests.support.worker_runs import WorkerRun, losses, state_of

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
batches = LoaderEvalBatches(fetcher, 4, 4, 0, loading, finish=lambda batch: batch)
try:
    next(iter(batches))
except RuntimeError as error:
    assert "timed out" in str(error)
del batches, fetcher
gc.collect()
"""


def failed(run: WorkerRun) -> str:
    """Wait until the run fails without a traceback in its log; return the reason."""
    assert run.wait() == 1, run.log
    assert run.record.status == "failed"
    assert "torch/utils/data/dataloader.py" not in run.log
    return run.record.reason


@pytest.mark.parametrize(
    ("name", "cause"), [("SIGKILL", "memory"), ("SIGSEGV", "native code"), ("SIGBUS", "/dev/shm")]
)
def test_a_worker_that_dies_fails_the_run_with_the_cause(
    start: Start, monkeypatch: pytest.MonkeyPatch, name: str, cause: str
) -> None:
    run = start(f"die {name}", WORKERS)
    reason = failed(run)
    assert re.search(rf"a data loader worker \(pid \d+\) was killed by {name}: .*{cause}", reason)
    assert "the last checkpoint is intact" in reason
    monkeypatch.delenv(FAULT)
    resumed = run.resume()
    assert resumed.wait() == 0, resumed.log
    assert [step for step, _ in losses(run.folder)] == [*range(1, 37)]


def test_a_worker_that_dies_between_two_batches_fails_the_run_at_once(start: Start) -> None:
    """The run does not wait until the worker's next batch is due."""
    run = start("", WORKERS, "training.epochs=100000")
    run.wait_for_line()
    os.kill(run.children()[0], signal.SIGKILL)
    killed = time.monotonic()
    assert "killed by SIGKILL" in failed(run)
    assert time.monotonic() - killed < 5


def test_a_worker_that_hangs_fails_the_run_after_the_timeout(start: Start) -> None:
    run = start("hang", WORKERS, "data.loader_timeout=1.5")
    reason = failed(run)
    assert "no batch arrived within data.loader_timeout" in reason
    assert "raise data.loader_timeout, or debug with data.num_workers = 0" in reason


def test_a_hanging_worker_whose_loader_is_gone_does_not_delay_the_exit() -> None:
    """Workers that ignore SIGTERM are killed; otherwise Python would wait for them at exit."""
    begin = time.monotonic()
    subprocess.run([sys.executable, "-c", HANG_AND_LEAVE], check=True, timeout=60)
    assert time.monotonic() - begin < 20


def test_too_little_shared_memory_is_a_warning_and_full_shared_memory_an_error(
    start: Start, tmp_path: Path
) -> None:
    """The warning comes before the run starts; both messages name a fix."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        pytest.skip("a private /dev/shm needs root, and is not allowed in every container")
    run = start("", WORKERS, "data.width=40000", "model.width=40000", "training.epochs=1")
    assert run.wait() == 0
    script = 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"'
    command = [sys.executable, "-P", "-m", "torchconsole.engine.worker.main", str(run.folder.path)]
    run.folder.log_file.write_text("")
    with run.folder.log_file.open("ab") as log:
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, "sh", *command], stderr=log, stdout=log
        )
    assert done.returncode == 2
    warning = r"WARNING\tdata: 2 data loader workers may need [\d.]+ MiB .* has 1.0 MiB free"
    assert re.search(warning, run.log)
    assert "shared memory (/dev/shm) is full; enlarge it" in run.record.reason
    assert "Traceback" not in run.log


def test_loader_workers_end_when_the_training_process_is_killed(start: Start) -> None:
    run = start("", WORKERS, "training.epochs=100000")
    run.wait_for_line("evaluation")
    children = run.children()
    assert len(children) == 4, "two each for training and validation"
    run.signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    killed = time.monotonic()
    wait_until(lambda: all(state_of(child) == "Z" for child in children), "the loader workers to end")
    assert time.monotonic() - killed < 5
    assert run.record.status == "lost"
    assert run.started.exit_reason() == "killed by SIGKILL"


def test_loader_workers_hold_neither_the_socket_nor_the_lock(start: Start) -> None:
    """Otherwise clients of a dead worker would have to wait until its loader workers end, too."""
    run = start("", WORKERS, "training.epochs=100000")
    run.wait_for_line("evaluation")
    links: list[str] = []
    for child in run.children():
        for entry in Path(f"/proc/{child}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed in the meantime
                links.append(str(entry.readlink()))
    ours = {line.split()[6] for line in Path("/proc/net/unix").read_text().splitlines() if "/tc-" in line}
    assert ours
    assert not {f"socket:[{inode}]" for inode in ours} & set(links)

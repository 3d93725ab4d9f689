"""What is said of a GPU: which it is, what it does, and what has become of it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from tests.support.runs import wait_until
from torchconsole.engine.components.devices import choose_device, describe_device
from torchconsole.engine.config.schema import DataConfig
from torchconsole.engine.errors import TrainingError
from torchconsole.engine.session.telemetry import TelemetryProbe
from torchconsole.engine.training.failures import named_failures, within_memory

LOSES_IT = """
import os, torch
from torchconsole.engine.errors import DeviceLostError
from torchconsole.engine.training.failures import named_failures

weight = torch.randn(8, 8, device="cuda")
try:
    with named_failures():
        weight[torch.full((4,), 100, device="cuda")].sum()
        for _ in range(100):
            (weight @ weight).sum().item()
except DeviceLostError as error:
    print(error, flush=True)
    os._exit(0)
os._exit(1)
"""


def test_auto_is_a_gpu_that_is_described_and_measured(gpu: torch.device) -> None:
    chosen = choose_device("auto")
    assert chosen.type == "cuda"
    told = describe_device(chosen)
    assert (told.device, told.name) == (str(chosen), torch.cuda.get_device_name(chosen))
    assert told.notes == []
    held = torch.zeros(2**20, device=chosen)
    probe = TelemetryProbe()
    measured = wait_until(lambda: (found := probe.measure(told)).gpu_memory_used and found, "NVML")
    assert measured.gpu_memory_total > measured.gpu_memory_used > held.nbytes


def test_more_memory_than_there_is_is_told_as_that(gpu: torch.device) -> None:
    work = named_failures()(lambda: torch.empty(2**46, dtype=torch.uint8, device=gpu))
    with pytest.raises(
        TrainingError, match=r"^out of memory: CUDA out of memory. Tried to allocate .*; lower"
    ):
        within_memory(work, DataConfig(name="digits"))


def test_a_device_side_assertion_is_a_lost_device() -> None:
    """In a process of its own, which cannot use the GPU any more."""
    done = subprocess.run([sys.executable, "-c", LOSES_IT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "this process can no longer use the device" in done.stdout

"""A GPU is described and measured; out of memory and a lost device are reported."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from tests.support.runs import wait_until
from torchconsole.engine.components.devices import choose_device, describe_device
from torchconsole.engine.config.data_schema import DataConfig
from torchconsole.engine.errors import TrainingError
from torchconsole.engine.session.telemetry import TelemetryProbe
from torchconsole.engine.training.failures import named_failures, within_memory

LOSE_THE_DEVICE = """
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


def test_auto_selects_a_gpu_which_is_described_and_measured(gpu: torch.device) -> None:
    chosen = choose_device("auto")
    assert chosen.type == "cuda"
    info = describe_device(chosen)
    assert (info.device, info.name) == (str(chosen), torch.cuda.get_device_name(chosen))
    assert info.notes == []
    allocated = torch.zeros(2**20, device=chosen)
    probe = TelemetryProbe()
    measured = wait_until(lambda: (found := probe.measure(info)).gpus and found, "NVML").gpus[
        chosen.index or 0
    ]
    assert measured.memory_total > measured.memory_used >= measured.memory_ours >= allocated.nbytes


def test_out_of_memory_is_reported_as_such(gpu: torch.device) -> None:
    work = named_failures()(lambda: torch.empty(2**46, dtype=torch.uint8, device=gpu))
    with pytest.raises(
        TrainingError, match=r"^out of memory: CUDA out of memory. Tried to allocate .*; lower"
    ):
        within_memory(work, DataConfig(name="digits"))


def test_a_device_side_assertion_is_reported_as_a_lost_device() -> None:
    """This runs in a subprocess, because that process cannot use the GPU afterwards."""
    command = [sys.executable, "-c", LOSE_THE_DEVICE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "this process can no longer use the device" in done.stdout

"""Devices: what can be chosen, and what is said of what cannot."""

from __future__ import annotations

import pytest
import torch

from torchconsole.engine.components.devices import choose_device, describe_device
from torchconsole.engine.errors import DeviceError


def test_the_cpu_can_always_be_chosen_and_described() -> None:
    info = describe_device(choose_device("cpu"))
    assert info.device == "cpu"
    assert info.torch == torch.__version__
    assert info.memory_total > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU on a machine without one")
def test_a_gpu_that_is_not_there_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(DeviceError, match="set it to 'cpu'"):
        choose_device("cuda")

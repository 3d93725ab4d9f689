"""What processes wait for each other on GPUs, measured by events: here one process with nccl."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn

from torchconsole.engine.components.ranks import Ranks
from torchconsole.engine.components.torch_compat import Replica, call_after_backward
from torchconsole.engine.training.step_phases import StepPhases


class Several(Ranks):
    """A job whose processes average their gradients in backward passes."""

    averages_in_backward = True


def test_the_end_of_computing_is_marked_on_the_stream_of_the_backward_pass(gpu: torch.device) -> None:
    torch.cuda.set_device(gpu)
    dist.init_process_group("nccl", store=dist.HashStore(), rank=0, world_size=1)
    try:
        phases = StepPhases(gpu, ranks=Several())
        model = nn.Sequential(nn.Linear(4096, 4096), nn.BatchNorm1d(4096), nn.Linear(4096, 4096)).to(gpu)
        replica = Replica(model, lambda: phases.end("communication"), finds_unused=False)
        for _ in range(3):
            phases.turn(0.0, 1.0)
            phases.end("data")
            loss = replica(torch.randn(512, 4096, device=gpu)).sum()
            phases.end("forward")
            call_after_backward(loss, lambda: phases.end("backward"))
            loss.backward()
            phases.end("communication")
            phases.close()
            torch.cuda.synchronize(gpu)
            phases.turn(0.0, 1.0)
        assert phases.times is not None
        parts = phases.times.parts
        assert parts["backward"] > parts["communication"] >= 0
        assert parts["forward"] > 0
    finally:
        dist.destroy_process_group()

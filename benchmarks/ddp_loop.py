"""The hand-written loop of one of several processes: DDP around the fastest plain loop. torchrun starts it.

    torchrun --standalone --nproc-per-node 2 -m benchmarks.ddp_loop BATCH STEPS LEFT_OUT

Trains digits-cnn with the preset's optimizer on one thread; rank 0 prints the samples per second of all
processes together, without the first LEFT_OUT steps.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from benchmarks.variants import build, plain_optimizer, tensors
from benchmarks.workloads import Workload


def main(batch_size: int, steps: int, left_out: int) -> None:
    """Train, each process on its own samples, and print the rate."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    workload = Workload("digits-cnn", "digits-cnn", 1, 1)
    setup = build(workload, 1, 0)
    torch.set_num_threads(1)
    batches = _batches(*tensors(setup), batch_size, rank, size)
    model = setup.model
    if size > 1:
        dist.init_process_group("gloo")
        model = DistributedDataParallel(model)
    optimizer = plain_optimizer(workload, model, fused=True)
    model.train()
    begin = time.perf_counter()
    for step in range(1, left_out + steps + 1):
        inputs, targets = next(batches)
        loss = setup.loss_fn(model(inputs), targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step == left_out:
            begin = time.perf_counter()
    if rank == 0:
        print(steps * batch_size * size / (time.perf_counter() - begin), flush=True)
    # Without freeing the process group: its destructor holds the GIL while it waits for a thread that may
    # need it to free the last all-reduce (seen with torch 2.13).
    os._exit(0)


def _batches(
    inputs: Tensor, targets: Tensor, batch_size: int, rank: int, size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield this process's full batches of one order of all samples after another."""
    random = torch.Generator().manual_seed(0)
    while True:
        order = torch.randperm(len(inputs), generator=random)[rank::size]
        for index in order.split(batch_size):  # type: ignore[no-untyped-call]
            if len(index) == batch_size:
                yield inputs[index], targets[index]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

"""The two hand-written loops that ours is compared with.

tutorial_loop: what most people write. A Dataset whose __getitem__ returns one sample, a DataLoader with the
default collate, `.item()` on every step, accuracy summed with `.item()`.
plain_loop: the fastest loop without tricks. All data is on the device as tensors; one permutation an epoch,
batches by index, no host sync within an epoch, a foreach or fused optimizer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset


class SampleDataset(Dataset[tuple[Tensor, Tensor]]):
    """Returns one sample at a time, as in tutorials."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self.inputs, self.targets = inputs, targets

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.inputs[index], self.targets[index]


def tutorial_loop(
    model: nn.Module,
    loss_fn: nn.Module,
    optimizer: Optimizer,
    inputs: Tensor,
    targets: Tensor,
    batch_size: int,
    epochs: int,
    device: str = "cpu",
) -> list[float]:
    """Train on inputs (N, ...) and targets (N,) on the CPU; returns the mean loss of each epoch."""
    loader = DataLoader(SampleDataset(inputs, targets), batch_size=batch_size, shuffle=True)
    history = []
    for _ in range(epochs):
        model.train()
        total, correct = 0.0, 0
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            output = model(x)
            loss = loss_fn(output, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
            correct += (output.argmax(dim=1) == y).sum().item()
        history.append(total / len(inputs))
    return history


def plain_loop(
    model: nn.Module,
    loss_fn: nn.Module,
    optimizer: Optimizer,
    inputs: Tensor,
    targets: Tensor,
    batch_size: int,
    epochs: int,
    device: str = "cpu",
) -> list[float]:
    """The same training with the data on the device and one host sync per epoch."""
    inputs, targets = inputs.to(device), targets.to(device)
    history = []
    for _ in range(epochs):
        model.train()
        total = torch.zeros((), device=device)
        order = torch.randperm(len(inputs), device=device)
        for index in order.split(batch_size):  # type: ignore[no-untyped-call]
            x, y = inputs[index], targets[index]
            loss = loss_fn(model(x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(index)
        history.append(total.item() / len(inputs))
    return history

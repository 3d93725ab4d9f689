"""Small training programs in the styles that people use; none knows torchconsole."""

from __future__ import annotations

from typing import NamedTuple

DATA = """
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
torch.manual_seed(0)
x = torch.randn(60, 4)
y = (x.sum(1) > 0).long()
loader = DataLoader(TensorDataset(x, y), batch_size=20, shuffle=True)
net = nn.Linear(4, 2)
criterion = nn.CrossEntropyLoss()
"""


class Program(NamedTuple):
    """A program, and what a run of it shows at its end."""

    source: str
    steps: int
    epochs: int
    metrics: set[str] = {"train/loss", "lr"}
    total_epochs: int | None = None


PROGRAMS = {
    "tutorial": Program(
        DATA
        + """
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in range(4):
    for inputs, labels in loader:
        optimizer.zero_grad()
        loss = criterion(net(inputs), labels)
        loss.backward()
        optimizer.step()
""",
        12,
        4,
        total_epochs=4,
    ),
    "argparse": Program(
        DATA
        + """
import argparse


def train(args, model, optimizer, epoch):
    for a, b in loader:
        optimizer.zero_grad()
        criterion(model(a), b).backward()
        optimizer.step()


def test(model):
    with torch.no_grad():
        for a, b in DataLoader(TensorDataset(x, y), batch_size=30):
            criterion(model(a), b)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    optimizer = torch.optim.Adadelta(net.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    for epoch in range(1, args.epochs + 1):
        train(args, net, optimizer, epoch)
        test(net)
        scheduler.step()


if __name__ == "__main__":
    main()
""",
        9,
        3,
        total_epochs=3,
    ),
    "trainer class": Program(
        DATA
        + """
class Trainer:
    def __init__(self, model, max_epochs):
        self.model, self.max_epochs = model, max_epochs
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)

    def fit(self):
        for _ in range(self.max_epochs):
            for batch in loader:
                self.training_step(batch)

    def training_step(self, batch):
        self.optimizer.zero_grad(set_to_none=True)
        loss = criterion(self.model(batch[0]), batch[1])
        loss.backward()
        self.optimizer.step()


Trainer(net, 2).fit()
""",
        6,
        2,
        total_epochs=2,
    ),
    "schedule by hand": Program(
        DATA
        + """
import math
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(8):
    for group in optimizer.param_groups:
        group["lr"] = 0.1 * (1 + math.cos(math.pi * step / 8)) / 2
    optimizer.zero_grad()
    criterion(net(x), y).backward()
    optimizer.step()
""",
        8,
        0,
    ),
    "manual SGD": Program(
        DATA
        + """
for step in range(7):
    criterion(net(x), y).backward()
    with torch.no_grad():
        for p in net.parameters():
            p -= 0.1 * p.grad
            p.grad = None
""",
        7,
        0,
        {"train/loss"},
    ),
    "LBFGS": Program(
        DATA
        + """
optimizer = torch.optim.LBFGS(net.parameters(), lr=0.5)
def closure():
    optimizer.zero_grad()
    loss = criterion(net(x), y)
    loss.backward()
    return loss
for step in range(5):
    optimizer.step(closure)
""",
        5,
        0,
    ),
    "GAN": Program(
        DATA
        + """
G, D = nn.Linear(2, 4), nn.Linear(4, 1)
opt_d, opt_g = torch.optim.Adam(D.parameters(), 1e-3), torch.optim.Adam(G.parameters(), 2e-3)
bce = nn.BCEWithLogitsLoss()
for epoch in range(2):
    for real, _ in loader:
        fake = G(torch.randn(20, 2))
        opt_d.zero_grad()
        bce(D(real), torch.ones(20, 1)).backward()
        bce(D(fake.detach()), torch.zeros(20, 1)).backward()
        opt_d.step()
        opt_g.zero_grad()
        bce(D(fake), torch.ones(20, 1)).backward()
        opt_g.step()
""",
        6,
        2,
        {"train/loss_opt_d", "train/loss_opt_g", "lr"},
        total_epochs=2,
    ),
    "accumulation": Program(
        DATA
        + """
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in range(2):
    for number, (a, b) in enumerate(DataLoader(TensorDataset(x, y), batch_size=10)):
        (criterion(net(a), b) / 2).backward()
        if number % 2 == 1:
            optimizer.step()
            optimizer.zero_grad()
""",
        6,
        2,
        total_epochs=2,
    ),
    "AMP": Program(
        DATA
        + """
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
for epoch in range(2):
    for a, b in loader:
        with torch.autocast("cpu", torch.bfloat16):
            loss = criterion(net(a), b)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
""",
        6,
        2,
        total_epochs=2,
    ),
    "while True": Program(
        DATA
        + """
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
step = 0
while True:
    for a, b in loader:
        optimizer.zero_grad()
        criterion(net(a), b).backward()
        optimizer.step()
        step += 1
    if step >= 9:
        break
""",
        9,
        3,
    ),
    "iterable": Program(
        DATA
        + """
class Numbers(IterableDataset):
    def __iter__(self):
        for row, label in zip(x, y):
            yield row, label
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in range(2):
    for a, b in DataLoader(Numbers(), batch_size=20):
        optimizer.zero_grad()
        criterion(net(a), b).backward()
        optimizer.step()
""",
        6,
        2,
        total_epochs=2,
    ),
    "evaluates within epochs": Program(
        DATA
        + """
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in range(2):
    for number, (a, b) in enumerate(loader):
        optimizer.zero_grad()
        criterion(net(a), b).backward()
        optimizer.step()
        if number == 1:
            with torch.no_grad():
                for c, d in DataLoader(TensorDataset(x, y), batch_size=30):
                    criterion(net(c), d)
""",
        6,
        2,
        total_epochs=2,
    ),
    "workers": Program(
        DATA
        + """
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
loader = DataLoader(TensorDataset(x, y), batch_size=20, num_workers=1, persistent_workers=True)
for epoch in range(2):
    for a, b in loader:
        optimizer.zero_grad()
        criterion(net(a), b).backward()
        optimizer.step()
""",
        6,
        2,
        total_epochs=2,
    ),
    "compiled step": Program(
        DATA
        + """
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)


@torch.compile(backend="eager")
def step(a, b):
    optimizer.zero_grad()
    loss = criterion(net(a), b)
    loss.backward()
    optimizer.step()


for epoch in range(3):
    for a, b in loader:
        step(a, b)
""",
        9,
        3,
        total_epochs=3,
    ),
    "optimizer without an lr": Program(
        DATA
        + """
class SignDescent(torch.optim.Optimizer):
    def __init__(self, params):
        super().__init__(params, {"rate": 0.01})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p -= group["rate"] * p.grad.sign()


optimizer = SignDescent(net.parameters())
for step in range(8):
    optimizer.zero_grad()
    criterion(net(x), y).backward()
    optimizer.step()
""",
        8,
        0,
        {"train/loss"},
    ),
}

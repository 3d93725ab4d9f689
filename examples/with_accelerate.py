"""Classify handwritten digits with Accelerate, and with exact resume.

    python examples/with_accelerate.py               # then, in another terminal: torchconsole attach
    torchconsole run examples/with_accelerate.py     # or detached from the start
    torchconsole resume RUN                          # continue after a stop, a crash or a kill

Give `run.keep` and `run.steps` what `accelerator.prepare` returns. `accelerator.accumulate` counts batches in
the accelerator, which no checkpoint here has: with it, a resume is exact only at the end of an epoch.
Several processes (`accelerate launch`) need TORCHCONSOLE=off. Install it with `pip install accelerate`.
"""

import argparse

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import torchconsole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    args = parser.parse_args()

    torch.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    data = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    x_train, x_val, y_train, y_val = train_test_split(*data, test_size=0.2, random_state=0)
    accelerator = Accelerator()
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(x_train, y_train), batch_size=32, shuffle=True)
    val_loader = DataLoader(TensorDataset(x_val, y_val), batch_size=256)
    model, optimizer, loader, val_loader = accelerator.prepare(model, optimizer, loader, val_loader)

    def evaluate() -> dict[str, float]:
        model.eval()
        with torch.no_grad():
            correct = sum((model(x).argmax(1) == y).sum().item() for x, y in val_loader)
        model.train()
        return {"val/accuracy": correct / len(y_val)}

    with torchconsole.run("digits", monitor="val/accuracy") as run:
        run.keep(model=model, optimizer=optimizer)
        run.on_evaluate(evaluate)
        for _ in run.epochs(args.epochs):
            for x, y in run.steps(loader):
                loss = nn.functional.cross_entropy(model(x), y)
                optimizer.zero_grad()
                accelerator.backward(loss)
                optimizer.step()
                run.log(loss=loss)
            run.evaluated(evaluate())


if __name__ == "__main__":
    main()

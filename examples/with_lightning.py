"""Classify handwritten digits with Lightning: the callback is all that is new.

    python examples/with_lightning.py                # then, in another terminal: torchconsole attach
    torchconsole run examples/with_lightning.py      # or detached from the start

`s` saves with `Trainer.save_checkpoint`, and the console says how to resume: with --resume CHECKPOINT here.
Install it with `pip install lightning`.
"""

import argparse

import lightning
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from torchconsole.integrations.lightning import ConsoleCallback


class Classifier(lightning.LightningModule):
    def __init__(self, lr: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        x, y = batch
        output = self.net(x)
        loss = nn.functional.cross_entropy(output, y)
        self.log("train_accuracy", (output.argmax(1) == y).float().mean())
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        x, y = batch
        output = self.net(x)
        self.log("val_loss", nn.functional.cross_entropy(output, y))
        self.log("val_accuracy", (output.argmax(1) == y).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> tuple[list, list]:
        optimizer = torch.optim.SGD(self.parameters(), lr=self.hparams.lr, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.trainer.max_epochs)
        return [optimizer], [scheduler]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--resume", metavar="CHECKPOINT")
    args = parser.parse_args()

    lightning.seed_everything(0)
    images, labels = load_digits(return_X_y=True)
    data = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    x_train, x_val, y_train, y_val = train_test_split(*data, test_size=0.2, random_state=0)
    trainer = lightning.Trainer(
        max_epochs=args.epochs, callbacks=[ConsoleCallback("digits")], logger=False, log_every_n_steps=5
    )
    trainer.fit(
        Classifier(args.lr),
        DataLoader(TensorDataset(x_train, y_train), batch_size=64, shuffle=True),
        DataLoader(TensorDataset(x_val, y_val), batch_size=256),
        ckpt_path=args.resume,
    )


if __name__ == "__main__":
    main()

"""Classify handwritten digits with the Trainer of transformers: the callback is all that is new.

    python examples/with_transformers.py             # then, in another terminal: torchconsole attach
    torchconsole run examples/with_transformers.py   # or detached from the start

`s` has the Trainer save `checkpoint-STEP`, and the console says how to resume: with --resume CHECKPOINT here.
The model is built from its configuration, so nothing is downloaded. Install it with `pip install
transformers accelerate`.
"""

import argparse

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import Dataset
from transformers import EvalPrediction, Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

from torchconsole.integrations.huggingface import ConsoleCallback


class Digits(Dataset):
    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images = torch.tensor(images / 16, dtype=torch.float32).view(-1, 1, 8, 8)
        self.labels = torch.tensor(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"pixel_values": self.images[index], "labels": self.labels[index]}


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    return {"accuracy": float((prediction.predictions.argmax(1) == prediction.label_ids).mean())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--output", default="digits-vit", help="folder of the Trainer's checkpoints")
    parser.add_argument("--resume", metavar="CHECKPOINT")
    args = parser.parse_args()

    torch.manual_seed(0)
    x_train, x_val, y_train, y_val = train_test_split(*load_digits(return_X_y=True), random_state=0)
    config = ViTConfig(
        image_size=8,
        patch_size=2,
        num_channels=1,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        num_labels=10,
    )
    trainer = Trainer(
        ViTForImageClassification(config),
        TrainingArguments(
            args.output,
            num_train_epochs=args.epochs,
            per_device_train_batch_size=64,
            learning_rate=3e-3,
            lr_scheduler_type="cosine",
            eval_strategy="epoch",
            save_strategy="no",
            logging_steps=10,
            report_to="none",
        ),
        train_dataset=Digits(x_train, y_train),
        eval_dataset=Digits(x_val, y_val),
        compute_metrics=accuracy,
        callbacks=[ConsoleCallback("digits")],
    )
    trainer.train(resume_from_checkpoint=args.resume)


if __name__ == "__main__":
    main()

"""Small trainings with Lightning and transformers that use the console's callbacks."""

from __future__ import annotations

LIGHTNING = """
import sys, time
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
import lightning
from torchconsole.integrations.lightning import ConsoleCallback

x = torch.randn(60, 4)
y = (x.sum(1) > 0).long()
seconds, epochs, resume = float(sys.argv[1]), int(sys.argv[2]), (sys.argv[3:] or [None])[0]


class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 2)

    def training_step(self, batch, index):
        time.sleep(seconds)
        if epochs < 0 and self.global_step == 2:
            raise KeyError("broken")
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_epoch=True)
        self.log("train_acc", 0.5)
        return loss

    def validation_step(self, batch, index):
        self.log("val_loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(
            [{"params": [self.net.weight], "lr": 0.1}, {"params": [self.net.bias], "lr": 0.01}]
        )
        return [optimizer], [torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1.0)]

    def on_train_end(self):
        print("on_train_end", self.global_step, self.trainer.optimizers[0].param_groups[1]["lr"])


loader = DataLoader(TensorDataset(x, y), batch_size=20, shuffle=True)
trainer = lightning.Trainer(
    max_epochs=abs(epochs), min_epochs=2, callbacks=[ConsoleCallback("mine")], logger=False,
    enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
)
trainer.fit(Module(), loader, DataLoader(TensorDataset(x, y), batch_size=60), ckpt_path=resume)
print("after fit")
"""

TRANSFORMERS = """
import sys, time
import torch
from transformers import (
    BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments
)
from torchconsole.integrations.huggingface import ConsoleCallback

seconds, epochs, resume = float(sys.argv[1]), int(sys.argv[2]), (sys.argv[3:] or [None])[0]
torch.manual_seed(0)
data = [{"input_ids": torch.randint(8, (6,)), "labels": torch.tensor(index % 2)} for index in range(60)]
config = BertConfig(
    vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
    max_position_embeddings=6, num_labels=2,
)


class Slow(TrainerCallback):
    def on_step_begin(self, args, state, control, **kwargs):
        time.sleep(seconds)
        if epochs < 0 and state.global_step == 2:
            raise KeyError("broken")

    def on_train_end(self, args, state, control, **kwargs):
        print("on_train_end", state.global_step, kwargs["lr_scheduler"].get_last_lr()[0])


arguments = TrainingArguments(
    "output", num_train_epochs=abs(epochs), per_device_train_batch_size=20, learning_rate=0.1,
    lr_scheduler_type="constant", eval_strategy="epoch", save_strategy="no", logging_steps=1,
    report_to="none", use_cpu=True, disable_tqdm=True,
)
trainer = Trainer(
    BertForSequenceClassification(config), arguments, train_dataset=data, eval_dataset=data,
    callbacks=[Slow(), ConsoleCallback("mine")],
)
trainer.train(resume_from_checkpoint=resume)
print("after fit")
"""

PROGRAMS = {"lightning": LIGHTNING, "transformers": TRANSFORMERS}
"""Each takes seconds per step, epochs (below 0: fail in the third step) and maybe a checkpoint to resume."""

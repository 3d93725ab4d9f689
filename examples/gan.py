"""Train a GAN on handwritten digits, with two optimizers.

    torchconsole run examples/gan.py                 # runs unchanged, too: remove the lines with `run`
    python examples/gan.py --epochs 50               # then, in another terminal: torchconsole attach

Each optimizer's loss has its own curve. A change of the learning rate keeps the ratio of the two. The
pictures of each epoch are in the run's folder, and in the results pane.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import torchconsole

NOISE = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=30)
    args = parser.parse_args()

    torch.manual_seed(0)
    images = torch.tensor(load_digits().data / 8 - 1, dtype=torch.float32)
    loader = DataLoader(TensorDataset(images), batch_size=64, shuffle=True, drop_last=True)
    generator = nn.Sequential(nn.Linear(NOISE, 128), nn.ReLU(), nn.Linear(128, 64), nn.Tanh())
    critic = nn.Sequential(nn.Linear(64, 128), nn.LeakyReLU(0.2), nn.Linear(128, 1))
    generator_optimizer = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=4e-4, betas=(0.5, 0.999))
    criterion = nn.BCEWithLogitsLoss()
    fixed = torch.randn(16, NOISE)

    with torchconsole.run("gan") as run:
        run.keep(
            generator=generator,
            critic=critic,
            generator_optimizer=generator_optimizer,
            critic_optimizer=critic_optimizer,
            fixed=[fixed],
        )
        for _ in run.epochs(args.epochs):
            for (real,) in run.steps(loader):
                fake = generator(torch.randn(len(real), NOISE))
                yes, no = torch.ones(len(real), 1), torch.zeros(len(real), 1)

                critic_loss = criterion(critic(real), yes) + criterion(critic(fake.detach()), no)
                critic_optimizer.zero_grad()
                critic_loss.backward()
                critic_optimizer.step()

                generator_loss = criterion(critic(fake), yes)
                generator_optimizer.zero_grad()
                generator_loss.backward()
                generator_optimizer.step()

                run.log({"train/critic": critic_loss, "train/generator": generator_loss})
            with torch.no_grad():
                digits = (generator(fixed) + 1) / 2
            run.image("generated", digits.view(4, 4, 8, 8).permute(0, 2, 1, 3).reshape(32, 32))


if __name__ == "__main__":
    main()

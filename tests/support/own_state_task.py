"""User code that keeps random generators and counters of its own, wherever a preset takes code."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import Dataset
from torchmetrics import Metric

CALLS = 0
SHARED = random.Random(3)


class Blobs(Dataset[tuple[Tensor, int]]):
    """Noise, (6,), of two classes."""

    def __init__(self) -> None:
        self.inputs = torch.rand(24, 6, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.changed(self.inputs[index] + index % 2), index % 2

    def changed(self, sample: Tensor) -> Tensor:
        """Return the sample as the data set gives it."""
        return sample


class Jitter(Blobs):
    """Adds noise from a generator of its own."""

    def __init__(self, kind: str = "numpy") -> None:
        super().__init__()
        self.noise = {"rng": GENERATORS[kind]()}

    def changed(self, sample: Tensor) -> Tensor:
        return sample + drawn(self.noise["rng"])


class Lazy(Blobs):
    """Makes its generator when the first sample is read."""

    rng: Any = None

    def changed(self, sample: Tensor) -> Tensor:
        if self.rng is None:
            self.rng = np.random.default_rng()
        return sample + float(self.rng.random())


class Curriculum(Blobs):
    """Counts the samples that it has given."""

    count = 0

    def changed(self, sample: Tensor) -> Tensor:
        self.count += 1
        return sample * (1 + self.count / 100)


class Noise:
    """A transform with a generator of its own."""

    def __init__(self) -> None:
        self.rng = random.Random(7)

    def __call__(self, sample: Tensor) -> Tensor:
        return sample + self.rng.random()


GENERATORS: dict[str, Callable[[], Any]] = {
    "python": lambda: random.Random(5),
    "numpy": lambda: np.random.default_rng(5),
    "sfc64": lambda: np.random.Generator(np.random.SFC64(5)),
    "mt19937": lambda: np.random.Generator(np.random.MT19937(5)),
    "philox": lambda: np.random.Generator(np.random.Philox(5)),
    "dxsm": lambda: np.random.Generator(np.random.PCG64DXSM(5)),
    "legacy": lambda: np.random.RandomState(5),
    "torch": lambda: torch.Generator().manual_seed(5),
}


def drawn(generator: Any) -> float:
    """Draw a number between 0 and 1."""
    if isinstance(generator, torch.Generator):
        return float(torch.rand((), generator=generator))
    return float(generator.random_sample() if hasattr(generator, "random_sample") else generator.random())


class Net(nn.Module):
    """Two layers; in training, the hidden values are multiplied by a factor near 1."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2))

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layers(inputs)
        return outputs * (1 + self.factor()) if self.training else outputs

    def factor(self) -> float:
        """Return how much more."""
        return 0.0


class Drawing(Net):
    """Draws from generators of all kinds, deep inside of it."""

    def __init__(self) -> None:
        super().__init__()
        self.config = {"noise": [SimpleNamespace(rng=make()) for make in GENERATORS.values()]}

    def factor(self) -> float:
        return sum(drawn(each.rng) for each in self.config["noise"]) / len(GENERATORS)


class LazyDrawing(Net):
    """Makes its generator in the first pass."""

    rng: Any = None

    def factor(self) -> float:
        self.rng = self.rng or np.random.default_rng()
        return float(self.rng.random())


class Slots:
    """An object without `__dict__`."""

    __slots__ = ("count", "rng")

    def __init__(self) -> None:
        self.count, self.rng = 0, random.Random(1)


class Slotted(Net):
    """Counts and draws in an object with slots."""

    def __init__(self) -> None:
        super().__init__()
        self.noise = Slots()

    def factor(self) -> float:
        self.noise.count += 1
        return self.noise.rng.random() + self.noise.count / 100


class Bound(Net):
    """Has a generator's method only."""

    def __init__(self) -> None:
        super().__init__()
        self.draw = random.Random(2).random

    def factor(self) -> float:
        return self.draw()


class OwnDropout(nn.Module):
    """Dropout that draws from a generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = torch.Generator().manual_seed(1)

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return inputs
        return inputs * (torch.rand(inputs.shape, generator=self.rng) < 0.8)


class Dropping(Net):
    """Has such a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers.insert(1, OwnDropout())


class Counter:
    """Counts, with a state dict."""

    def __init__(self) -> None:
        self.count = np.int64(0)
        self.seen: set[int] = set()

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "seen": self.seen, "array": np.arange(3, dtype=np.uint32)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert state["array"].dtype == np.uint32
        self.count, self.seen = state["count"], state["seen"]


class Counting(Net):
    """Has such a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.counter = Counter()

    def factor(self) -> float:
        self.counter.count += 1
        self.counter.seen.add(int(self.counter.count) % 5)
        return float(self.counter.count) / 100 + len(self.counter.seen) / 10


class PlainCounting(Net):
    """Counts in plain attributes, in a buffer that no state dict has, and in its class and file."""

    calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.last: list[float] = [0.0]
        self.mean = torch.zeros(3)
        self.register_buffer("hidden", torch.zeros(()), persistent=False)
        self.hidden: Tensor

    def factor(self) -> float:
        global CALLS
        CALLS += 1
        type(self).calls += 1
        self.count += 1
        self.last.append(self.last[-1] / 2 + self.count)
        self.mean = self.mean * 0.9 + self.count
        self.hidden += 1
        numbers = CALLS, type(self).calls, self.count, self.last[-1], self.mean.sum(), self.hidden
        return float(sum(numbers)) / 1000


class SharedDrawing(Net):
    """Draws from a generator in its file."""

    def factor(self) -> float:
        return SHARED.random()


class GlobalDrawing(Net):
    """Draws from the generators of the process."""

    def factor(self) -> float:
        return random.random() + float(np.random.rand()) + float(torch.rand(()))


class CrossEntropy(nn.Module):
    """A loss with random weights and a running mean."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(4)
        self.register_buffer("mean", torch.ones(()))
        self.mean: Tensor

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        loss = nn.functional.cross_entropy(outputs, targets) * (1 + float(self.rng.random()))
        self.mean.mul_(0.9).add_(0.1 * loss.detach())
        return loss * self.mean


class Wobble(LRScheduler):
    """Draws a factor of the lr from a generator, and counts in an object of its own."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.rng = np.random.RandomState(2)
        self.own = SimpleNamespace(count=0)
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        self.own.count += 1
        return [base * (0.5 + self.rng.rand()) / (1 + self.own.count / 10) for base in self.base_lrs]


class GlobalWobble(LRScheduler):
    """Draws a factor of the lr from the process's generator."""

    def get_lr(self) -> list[float | Tensor]:
        return [base * (0.5 + random.random()) for base in self.base_lrs]


class Noisy(SGD):
    """An optimizer that adds noise, and counts."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr)
        self.rng, self.count = torch.Generator().manual_seed(3), 0

    def step(self, closure: Any = None) -> Any:
        self.count += 1
        for group in self.param_groups:
            for weight in group["params"]:
                noise = torch.rand(weight.shape, generator=self.rng)
                weight.data.add_(noise, alpha=0.01 / self.count)
        return super().step(closure)


class Sampled(Metric):
    """A metric of a random part of the samples."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = random.Random(9)
        self.add_state("total", torch.zeros(()))

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        self.total += self.rng.random()

    def compute(self) -> Tensor:
        return self.total


class Adapting(Net):
    """Trains a parameter that it does not register, and makes a running mean in the first pass."""

    mean: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.own = [SGD([nn.Parameter(torch.zeros(2))], lr=0.1, momentum=0.9)]

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            mean = inputs.detach().mean(0)
            self.mean = mean if self.mean is None else 0.5 * self.mean + 0.5 * mean
        return super().forward(inputs if self.mean is None else inputs - self.mean)

    def factor(self) -> float:
        weight: Tensor = self.own[0].param_groups[0]["params"][0]
        weight.grad = torch.ones(2)
        self.own[0].step()
        return float(weight.detach().sum()) / 10


class Ticking(Net):
    """Counts with an iterator."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = itertools.count()

    def factor(self) -> float:
        return next(self.numbers) / 100


class Streaming(Net):
    """Takes its numbers from a generator function."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = (SHARED.random() for _ in itertools.count())

    def factor(self) -> float:
        return next(self.numbers)


class Unseeded(Net):
    """Draws from the operating system."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = random.SystemRandom()

    def factor(self) -> float:
        return self.rng.random()


class Hidden(Net):
    """Draws from the operating system, with nothing to be seen."""

    def factor(self) -> float:
        return random.SystemRandom().random()


class Unsavable(Net):
    """Has an object whose state dict holds an object."""

    def __init__(self) -> None:
        super().__init__()
        self.counter = Counter()
        self.counter.seen.add(object())  # type: ignore[arg-type]


class Strange(dict[str, Any]):
    """Raises what nobody expects."""

    def __getattr__(self, name: str) -> Any:
        return self[name]

    def items(self) -> Any:
        raise OSError("the remote store is away")

    def __copy__(self) -> Any:
        raise OSError("the remote store is away")


class Stranger(Net):
    """Has such an object, next to a generator."""

    def __init__(self) -> None:
        super().__init__()
        self.strange = Strange()
        self.more = [self.strange, random.Random(1)]

    def factor(self) -> float:
        return self.more[1].random()


class Caching(Net):
    """Keeps what it has computed, which is no state."""

    mask: Any = None
    outputs: Any = None

    def forward(self, inputs: Tensor) -> Tensor:
        if self.mask is None or self.mask.shape != inputs.shape:
            self.mask, self.size = torch.ones_like(inputs), len(inputs)
        self.outputs = super().forward(inputs * self.mask)
        self.detached = self.outputs.detach()
        outputs: Tensor = self.outputs
        return outputs


class Recurrent(nn.Module):
    """A recurrent layer has a list of its weights besides the registered ones, and computes with the list."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(6, 4, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden, _ = self.layer(inputs.unsqueeze(1))
        outputs: Tensor = self.head(hidden[:, -1])
        return outputs


class Listing(nn.Module):
    """Computes with its weights from a list, a tuple and a dict, next to a number that changes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 2)
        self.weights: list[Any] = [self.layer.weight, 0]
        self.pair = self.layer.bias, self.weights
        self.named = {"bias": self.layer.bias}

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.weights[1] += 1
        outputs = nn.functional.linear(inputs, self.weights[0], self.named["bias"]) + self.pair[0]
        return outputs * (1 + 0.01 * self.weights[1])

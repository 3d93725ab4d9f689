"""Generators of random numbers that user code makes for itself: their states, and their seeds."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from torchconsole.engine.components.plain_state import decode, encode

GENERATORS = (
    torch.Generator,
    np.random.Generator,
    np.random.RandomState,
    np.random.BitGenerator,
    random.Random,
)


def global_generators() -> set[int]:
    """Return the ids of the generators of the process, whose states checkpoints have anyway."""
    python = getattr(random.random, "__self__", None)
    numpy = getattr(np.random.random_sample, "__self__", None)
    each = (python, numpy, torch.default_generator, *torch.cuda.default_generators)
    return {id(generator) for generator in each if generator is not None}


def generator_state(generator: Any) -> Any:
    """Return a copy of a generator's state, as a checkpoint may hold it.

    Raises TypeError or NotImplementedError for one that has none, such as random.SystemRandom.
    """
    if isinstance(generator, np.random.Generator):
        return encode(generator.bit_generator.state)
    if isinstance(generator, np.random.BitGenerator):
        return encode(generator.state)
    if isinstance(generator, np.random.RandomState):
        return encode(generator.get_state(legacy=False))
    if isinstance(generator, random.Random):
        return encode(generator.getstate())
    return encode(generator.get_state())


def restore_generator(generator: Any, state: Any) -> None:
    """Restore what `generator_state` returned. Raises TypeError or ValueError for another kind's state."""
    plain = decode(state)
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = plain
    elif isinstance(generator, np.random.BitGenerator):
        generator.state = plain
    elif isinstance(generator, random.Random):
        generator.setstate(plain)
    else:
        generator.set_state(plain)


def seed_generator(generator: Any, seed: int) -> None:
    """Seed a generator with a number below 2**63. Takes up to 20 microseconds.

    Raises TypeError or ValueError for one that cannot be seeded.
    """
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = type(generator.bit_generator)(seed).state
    elif isinstance(generator, np.random.BitGenerator):
        generator.state = type(generator)(seed).state
    elif isinstance(generator, np.random.RandomState):
        generator.seed(seed & 0xFFFFFFFF)
    elif isinstance(generator, random.Random):
        generator.seed(seed)
    else:
        generator.manual_seed(seed)


def kind_of(generator: Any) -> str:
    """Name what `new_generator` makes."""
    if isinstance(generator, np.random.Generator):
        return f"Generator:{type(generator.bit_generator).__name__}"
    return type(generator).__name__


def new_generator(kind: str, device: torch.device) -> Any:
    """Return a generator of a kind that `kind_of` named; None for one of another class."""
    name, _, bits = kind.partition(":")
    if bits:
        factory = getattr(np.random, bits, None)
        return None if factory is None else np.random.Generator(factory(0))
    plain = {"Random": random.Random, "RandomState": np.random.RandomState}
    if name in plain:
        return plain[name](0)
    return torch.Generator(device) if name == "Generator" else None

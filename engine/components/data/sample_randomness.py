"""Random numbers of a sample: every generator that it draws from is seeded from (seed, epoch, position).

That is the generators of the process, and those that a dataset and its transforms make for themselves. Data
loader workers and the training process do the same, so that nothing of this is in a checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar
from zlib import crc32

import numpy as np
from torch import Tensor

from torchconsole.engine.components.data.order import preserved_randomness, sample_seed, seed_sample
from torchconsole.engine.components.generators import (
    GENERATORS,
    generator_state,
    global_generators,
    restore_generator,
    seed_generator,
)
from torchconsole.engine.components.object_walk import Member, is_user_module, members, walk
from torchconsole.engine.components.opaque_state import changes, shown_state
from torchconsole.engine.components.plain_state import copied, encode, is_same

T = TypeVar("T")

MOST_ITEMS = 1000
MOST_OBJECTS = 20_000
"""Items of a collection, and objects, to look at: lists of files may be long."""

MOST_ELEMENTS = 64
"""Elements of a tensor or array that may be a counter."""


class _Look(NamedTuple):
    """What a look at the parts has found, by path."""

    numbers: dict[str, tuple[str, Any]]
    """Types and values of numbers and of small tensors and arrays."""
    opaque: dict[str, tuple[object, str]]
    """Objects and what shows their state, see `shown_state`."""


class SampleRandomness:
    """The generators of a process, and those that are found in `parts`, by their names in messages.

    They are searched in each process, and again after its first sample: some are made there.
    """

    def __init__(self, parts: dict[str, Any]) -> None:
        self._parts = {name: part for name, part in parts.items() if part is not None}
        self._own: list[tuple[int, Any]] = []
        """Generators, each with a number of its own."""
        self._process: int | None = None
        self._is_complete = False

    def read(self, seed: int, read: Callable[[], T]) -> T:
        """Call `read` with all generators seeded, and return what it returns."""
        if self._process != os.getpid():
            self._search()
        self._seed(seed)
        value = read()
        if not self._is_complete:
            known = len(self._own)
            self._search()
            self._is_complete = True
            if len(self._own) > known:
                self._seed(seed)
                return read()
        return value

    @contextmanager
    def preserved(self) -> Iterator[None]:
        """Restore all generators on exit: the model may draw from the same ones."""
        if self._process != os.getpid():
            self._search()
        states = [(generator, generator_state(generator)) for _, generator in self._own]
        with preserved_randomness():
            try:
                yield
            finally:
                for generator, state in states:
                    restore_generator(generator, state)

    def describe_state(self, read: Callable[[], Any]) -> list[str]:
        """Describe what else `read` depends on, such as a counter: a heuristic; empty without user code.

        `read` returns tensors; it is called several times.
        """
        if not any(_is_of_user(each) for part in self._parts.values() for each in _listed(part)):
            return []
        with self.preserved():
            read()
            before = self._look()
            first = read()
            between = self._look()
            second = read()
            after = self._look()
        found = changes(before.opaque, after.opaque)
        found += [
            f"{path} ({kind})"
            for path, (kind, number) in after.numbers.items()
            if path in between.numbers and not is_same(between.numbers[path][1], number)
        ]
        if not found and not is_same(first, second):
            found = [f"{next(iter(self._parts))} (the same sample is different each time it is read)"]
        return found

    def _search(self) -> None:
        """Find the generators; their numbers depend on where they are, not on when they were found."""
        if self._process != os.getpid():
            self._process, self._is_complete = os.getpid(), False
        self._own = []
        for member in self._walk(global_generators()):
            if isinstance(member.value, GENERATORS):
                try:
                    restore_generator(member.value, generator_state(member.value))
                except (TypeError, ValueError, NotImplementedError):
                    continue
                self._own.append((crc32(member.path.encode()), member.value))

    def _seed(self, seed: int) -> None:
        seed_sample(seed)
        for number, generator in self._own:
            seed_generator(generator, sample_seed(seed, number))

    def _look(self) -> _Look:
        """Look at what may be counters, and at what no checkpoint could have."""
        look = _Look({}, {})
        for holder in self._walk(global_generators()):
            if (shown := shown_state(holder)) is not None:
                look.opaque[holder.path] = holder.value, shown
            for member in members(holder, MOST_ITEMS):
                value = member.value
                if _may_count(value):
                    look.numbers[member.path] = type(value).__name__, copied(encode(value))
        return look

    def _walk(self, known: set[int]) -> Iterator[Member]:
        return walk(self._parts, known, most_items=MOST_ITEMS, most=MOST_OBJECTS)


def _may_count(value: object) -> bool:
    if isinstance(value, Tensor):
        return value.numel() <= MOST_ELEMENTS and value.grad_fn is None
    if isinstance(value, np.ndarray):
        return value.size <= MOST_ELEMENTS and value.dtype.kind in "biuf"
    return type(value) in (int, float) or isinstance(value, np.number)


def _listed(part: object) -> list[object]:
    return list(part) if isinstance(part, list | tuple) else [part]


def _is_of_user(value: object) -> bool:
    """Whether a dataset or a transform is user code, or a function or dataset of a library around it."""
    if isinstance(value, partial):
        return _is_of_user(value.func)
    inner = [getattr(value, name, None) for name in ("dataset", "transform", "target_transform")]
    names = {type(value).__module__, getattr(value, "__module__", None)}
    return any(name and is_user_module(name) for name in names) or any(
        _is_of_user(each) for each in inner if each is not None and each is not value
    )

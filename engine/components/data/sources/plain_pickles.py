"""Lets torchvision read pickle files without running what they may contain.

CIFAR10, CIFAR100 and LSUN's cache are pickle files. torchvision compares those of CIFAR with its MD5
checksums, but opens them again to read them; nobody compares LSUN's. A pickle file may name any function for
`load` to call. The data needs only containers, texts, numbers and NumPy arrays, so only these are made here.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import IO, Any

from torchconsole.engine.errors import DataError

_ARRAYS = ("numpy._core.multiarray", "numpy.core.multiarray", "numpy._core.numeric", "numpy.core.numeric")
_BUILTINS = ("builtins", "__builtin__")
ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *((module, name) for module in _BUILTINS for name in ("set", "frozenset", "bytearray", "complex")),
    *((module, name) for module in _ARRAYS for name in ("_reconstruct", "_frombuffer", "scalar")),
}
"""What NumPy's arrays and scalars and Python's containers are made of, as (module, name)."""


class _PlainUnpickler(pickle.Unpickler):
    """Makes containers, texts, numbers and NumPy arrays, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of ALLOWED. Raises UnpicklingError for any other name."""
        if (module, name) == ("_codecs", "encode"):
            return _encode
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it would run {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _encode(text: str, encoding: str) -> bytes:
    """Stand in for `codecs.encode`, as which Python 2 and protocol 2 store bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"it would encode a text as {encoding}")
    return text.encode("latin-1")


def load_plain(file: IO[bytes], **options: Any) -> Any:
    """`pickle.load` for plain data. Raises DataError for a file with anything else in it, or damaged."""
    try:
        return _PlainUnpickler(file, **options).load()
    except Exception as error:  # a damaged pickle raises errors of any type
        raise DataError(
            f"data: {getattr(file, 'name', 'a pickle file')} is not read, because it may run code when it is "
            f"unpickled ({error}); delete it, and download the data again"
        ) from error


@contextmanager
def only_plain_pickles() -> Iterator[None]:
    """Let all modules of torchvision.datasets unpickle with `load_plain`."""
    modules = [
        module for name, module in list(sys.modules.items()) if name.startswith("torchvision.datasets.")
    ]
    changed = [module for module in modules if getattr(module, "pickle", None) is pickle]
    stand_in = SimpleNamespace(**{**vars(pickle), "load": load_plain, "loads": None, "Unpickler": None})
    _set_pickle(changed, stand_in)
    try:
        yield
    finally:
        _set_pickle(changed, pickle)


def _set_pickle(modules: list[ModuleType], found: Any) -> None:
    for module in modules:
        module.pickle = found  # type: ignore[attr-defined]

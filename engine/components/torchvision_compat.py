"""Makes torchvision importable next to a build of torch that its compiled operators do not match.

`import torchvision` registers Python kernels for the operators nms and qnms. If its compiled library, which
declares them, cannot be loaded, the import fails with "operator torchvision::nms does not exist". This
happens with the wheels on PyPI, which are built for CUDA, next to a CPU-only torch. Declaring the two
operators is enough for everything except the operators themselves. torchmetrics imports torchvision, so it
needs the same.

This module also replaces the progress bar of torchvision's downloads. When a new version of torchvision
breaks one of these, tests/unit/engine/components/test_torchvision_compat.py fails and this file is the place
to change.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch

from torchconsole.engine.errors import ComponentError

OLDEST_TORCHVISION = (0, 23)
"""The oldest version that this module works with; pyproject.toml requires it."""

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
OPERATORS = ("nms", "qnms")

LIBRARIES = ("_C_stable", "_C")
"""Names of the compiled library, from torchvision 0.29 on and before."""

USES = re.compile(
    rb"torchvision\.(ops|io)\b|torchvision\s+import\s[^\n]*\b(ops|io)\b|models\.detection\b"
    rb"|\b(q?nms|batched_nms|(ps_)?roi_(align|pool)|deform_conv2d|decode_(image|jpeg|png)|read_image)\b"
)
"""What the source of a program says that uses the compiled operators or image decoders."""

# An operator disappears when the library that declared it is garbage-collected.
_declared: list[torch.library.Library] = []


@cache
def prepare_torchvision() -> str | None:
    """Make `import torchvision` and `import torchmetrics` work; call this before either of them.

    Returns a sentence that says what cannot be used, or None. The first call takes milliseconds; its result
    is cached. Raises ComponentError if torchvision is not installed.
    """
    package = find_spec("torchvision")
    if package is None or package.submodule_search_locations is None:
        raise ComponentError("torchvision is not installed: pip install torchvision")
    if "torchvision" in sys.modules:
        return None
    reason = _load_failure(list(package.submodule_search_locations))
    if reason is None:
        return None
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in OPERATORS:
        library.define(name + SCHEMA)  # type: ignore[no-untyped-call]
    _declared.append(library)
    return (
        f"torchvision's compiled operators cannot be loaded with torch {torch.__version__} ({reason}): "
        "models, data sets and transforms work; nms, roi_align and torchvision's image decoders do not"
    )


class _PrepareFirst:
    """A finder that finds no module: it prepares the first search for torchvision."""

    waits = True

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name == "torchvision" and self.waits:
            self.waits = False
            if find_spec(name) is not None:
                prepare_torchvision()
        return None


def prepare_torchvision_on_import() -> None:
    """Prepare torchvision when a program that runs in this process first looks for it."""
    sys.meta_path.insert(0, _PrepareFirst())


def uses_operators(sources: Iterable[bytes]) -> bool:
    """Whether any of these Python sources names what `prepare_torchvision` may report as unusable."""
    return any(USES.search(source) for source in sources)


def import_torchvision(module: str) -> ModuleType:
    """Import `torchvision.<module>` when it is needed: the import takes a second.

    Raises ComponentError if torchvision is not installed.
    """
    prepare_torchvision()
    return import_module(f"torchvision.{module}")


@contextmanager
def replaced_download_bar(make_bar: Callable[[int | None], Any]) -> Iterator[None]:
    """Let downloads of torchvision's datasets use `make_bar(total)` in place of a tqdm bar on stderr."""
    utils: Any = import_torchvision("datasets.utils")
    bar = utils.tqdm
    utils.tqdm = lambda *args, **options: make_bar(options.get("total"))
    try:
        yield
    finally:
        utils.tqdm = bar


def _load_failure(folders: list[str]) -> str | None:
    """Why torchvision's compiled library cannot be loaded; it is found the way torchvision does it."""
    found = [PathFinder.find_spec(name, folders) for name in LIBRARIES]
    reason = "the library is missing"
    for path in (spec.origin for spec in found if spec is not None and spec.origin is not None):
        try:
            torch.ops.load_library(path)  # type: ignore[no-untyped-call]
        except OSError as error:
            reason = str(error.__cause__ or error)
    return None if hasattr(torch.ops.torchvision, OPERATORS[0]) else reason

"""On PYTHONPATH, makes a process one of somebody who has torch, but not torchconsole."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec


class RefuseTorchconsole:
    """A finder that fails for torchconsole, and finds nothing else."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] == "torchconsole":
            raise ModuleNotFoundError(f"No module named {name!r}")
        return None


sys.meta_path.insert(0, RefuseTorchconsole())

"""On PYTHONPATH, makes `import torchvision` work next to a torch that its compiled operators do not match.

Lightning and transformers import torchvision as soon as they find it, so that nobody whose two builds do not
match can use either. These tests are about the libraries, not about that.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec


class DeclareOperators:
    """A finder that finds nothing: it prepares the first search for torchvision."""

    waits = True

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name == "torchvision" and self.waits:
            self.waits = False
            from torchconsole.engine.components.torchvision_compat import prepare_torchvision

            prepare_torchvision()
        return None


sys.meta_path.insert(0, DeclareOperators())

"""The private names of torch that torchconsole relies on.

They exist in torch 2.8 to 2.13. When a new version of torch breaks one of them, tests/unit/engine/components/
test_torch_compat.py fails and this file is the place to change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.nn.modules import loss
from torch.utils.data import DataLoader, _utils

OLDEST_TORCH = (2, 8)
"""The oldest version that has all names used here; pyproject.toml requires it."""

LossBase = loss._Loss
"""The base class of the losses in torch.nn."""


def set_loader_shutdown_seconds(seconds: float) -> None:
    """Set how long a DataLoader waits, twice, for a worker to exit before it terminates the worker."""
    _utils.MP_STATUS_CHECK_INTERVAL = seconds


def shut_down_workers(loader: DataLoader[Any]) -> None:
    """Stop the worker processes of a loader with `persistent_workers`; do nothing if none have started."""
    iterator = loader._iterator
    if iterator is not None:
        iterator._shutdown_workers()  # type: ignore[attr-defined]


def layer_versions(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Return the versions of a state dict's layers by module name; empty if it has none.

    The dict can be changed in place. `load_state_dict` uses it to convert the state of older layers.
    """
    versions: dict[str, Any] = getattr(state_dict, "_metadata", {})
    return versions

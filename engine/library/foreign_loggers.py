"""Copies what a program logs with wandb, TensorBoard, MLflow or the Trainers of Hugging Face and Lightning.

Their modules are patched as they are imported, and the calls go on to them unchanged.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

Add = Callable[[dict[str, Any]], object]
"""Receives metrics by name."""

Read = Callable[..., Mapping[str, Any]]
"""Returns the metrics in the arguments of a call."""

DEPTH = 3
"""Deepest nesting of logged dictionaries that is followed."""


def _of_dict(_self: Any, metrics: Any, *_: Any, **__: Any) -> Mapping[str, Any]:
    return metrics if isinstance(metrics, Mapping) else {}


def _of_wandb(_self: Any, data: Any = None, *_: Any, **__: Any) -> Mapping[str, Any]:
    return data if isinstance(data, Mapping) else {}


def _of_scalar(
    _self: Any, tag: Any = None, scalar_value: Any = None, *_: Any, **__: Any
) -> Mapping[str, Any]:
    return {tag: scalar_value} if isinstance(tag, str) else {}


def _of_scalars(
    _self: Any, main_tag: Any = None, tag_scalar_dict: Any = None, *_: Any, **__: Any
) -> Mapping[str, Any]:
    return {str(main_tag): tag_scalar_dict} if isinstance(tag_scalar_dict, Mapping) else {}


def _of_metric(key: Any = None, value: Any = None, *_: Any, **__: Any) -> Mapping[str, Any]:
    return {key: value} if isinstance(key, str) else {}


def _of_metrics(metrics: Any = None, *_: Any, **__: Any) -> Mapping[str, Any]:
    return metrics if isinstance(metrics, Mapping) else {}


PATCHES: dict[str, list[tuple[str, Read]]] = {
    "wandb.sdk.wandb_run": [("Run.log", _of_wandb)],
    "torch.utils.tensorboard.writer": [
        ("SummaryWriter.add_scalar", _of_scalar),
        ("SummaryWriter.add_scalars", _of_scalars),
    ],
    "tensorboardX.writer": [
        ("SummaryWriter.add_scalar", _of_scalar),
        ("SummaryWriter.add_scalars", _of_scalars),
    ],
    "mlflow.tracking.fluent": [("log_metric", _of_metric), ("log_metrics", _of_metrics)],
    "transformers.trainer": [("Trainer.log", _of_dict)],
    "lightning.pytorch.trainer.connectors.logger_connector.logger_connector": [
        ("_LoggerConnector.log_metrics", _of_dict)
    ],
    "pytorch_lightning.trainer.connectors.logger_connector.logger_connector": [
        ("_LoggerConnector.log_metrics", _of_dict)
    ],
}
"""Module -> its functions and methods that log, each with what reads the metrics from its arguments."""


FRAMEWORKS = ("transformers.", "lightning.", "pytorch_lightning.")
"""Begin the modules whose metrics a `ConsoleCallback` reports itself, if there is one."""


class ForeignLoggers(MetaPathFinder):
    """Patches the modules in PATCHES when the program imports them.

    A Trainer gives what it logs to wandb or TensorBoard, under other names: only the outer call is copied.
    With `is_driven`, a callback reports the metrics of its framework, and they are not copied.
    """

    def __init__(self, add: Add, is_driven: Callable[[], bool] = lambda: False) -> None:
        self._add = add
        self._is_driven = is_driven
        self._depth = 0

    def install(self) -> None:
        """Patch modules from now on, and let wandb work offline if nobody is logged in."""
        if "WANDB_MODE" not in os.environ and not _knows_wandb_key():
            os.environ["WANDB_MODE"] = "offline"
        sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module of PATCHES by the other finders, and have it patched once it is loaded."""
        if fullname not in PATCHES:
            return None
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(fullname, path, target)) is not None:
                if spec.loader is not None:
                    spec.loader = _PatchingLoader(spec.loader, lambda module: self._patch(fullname, module))
                return spec
        return None

    def _patch(self, name: str, module: ModuleType) -> None:
        for target, read in PATCHES[name]:
            owner: Any = module
            *path, attribute = target.split(".")
            for part in path:
                owner = getattr(owner, part, None)
            original = getattr(owner, attribute, None)
            if callable(original):
                is_framework = name.startswith(FRAMEWORKS)
                setattr(owner, attribute, self._copying(original, read, is_framework))

    def _copying(self, original: Callable[..., Any], read: Read, is_framework: bool) -> Callable[..., Any]:
        @wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._depth == 0 and not (is_framework and self._is_driven()):
                with suppress(TypeError):  # a call that the original will refuse, too
                    self._add(flattened(read(*args, **kwargs)))
            self._depth += 1
            try:
                return original(*args, **kwargs)
            finally:
                self._depth -= 1

        return call


class _PatchingLoader(Loader):
    """Loads a module by its own loader, and then calls `patch` with it."""

    def __init__(self, loader: Any, patch: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._patch = patch

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module as its own loader does."""
        created: ModuleType | None = self._loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module, then patch it."""
        self._loader.exec_module(module)
        self._patch(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def flattened(metrics: Mapping[str, Any], prefix: str = "", depth: int = DEPTH) -> dict[str, Any]:
    """Return nested metrics by names like `train/loss`; what is no number is left out later."""
    flat: dict[str, Any] = {}
    for name, value in metrics.items():
        full = f"{prefix}/{name}" if prefix else str(name)
        if isinstance(value, Mapping):
            if depth > 1:
                flat |= flattened(value, full, depth - 1)
        else:
            flat[full] = value
    return flat


def _knows_wandb_key() -> bool:
    """Whether wandb would find a key: in the environment, or in a netrc file."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    files = [os.environ.get("NETRC"), "~/.netrc", "~/_netrc"]
    for file in filter(None, files):
        try:
            if "wandb" in Path(file).expanduser().read_text(encoding="utf-8", errors="replace"):
                return True
        except (OSError, RuntimeError):
            continue
    return False

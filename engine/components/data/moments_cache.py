"""Keeps measured moments of image files in the user's cache, by what was measured."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path
from torch import Tensor

from torchconsole.engine.components.data.datasets import BaseDataset, MapStyleDataset
from torchconsole.engine.components.data.normalizing import Moments
from torchconsole.engine.files import write_atomically


def fingerprint(samples: BaseDataset, indices: Tensor, transforms: Any) -> str | None:
    """What the moments of these samples depend on: each file's path, size and time, and the transforms.

    None where samples are no files: then there is nothing to know a change by.
    """
    if not isinstance(samples, MapStyleDataset) or samples.paths is None:
        return None
    digest = hashlib.sha256(json.dumps(transforms, sort_keys=True).encode())
    for index in indices.tolist():
        path = str(samples.path(index))
        try:
            found = Path(path).stat()
        except OSError:
            return None
        digest.update(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def load_moments(key: str) -> Moments | None:
    """What was stored under `key`; None where that is nothing, or not readable."""
    try:
        content = json.loads(_file(key).read_text(encoding="utf-8"))
        mean, std = (torch.tensor([float(value) for value in content[key]]) for key in ("mean", "std"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Moments(mean, std) if 0 < len(mean) == len(std) else None


def store_moments(key: str, moments: Moments) -> str | None:
    """Store, whole or not at all; a sentence on why where it cannot be stored."""
    file = _file(key)
    text = json.dumps({"mean": moments.mean.tolist(), "std": moments.std.tolist()})
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, text.encode())
    except OSError as error:
        return f"mean and standard deviation are measured again each time: {file.parent}: {error.strerror}"
    return None


def _file(key: str) -> Path:
    return user_cache_path("torchconsole") / "moments" / f"{key}.json"

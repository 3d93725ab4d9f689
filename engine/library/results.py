"""Pictures and texts that a program saves in its run's folder: `results/NAME-STEP.png` and `.txt`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from torchconsole.engine.errors import RunError
from torchconsole.engine.files import write_atomically
from torchconsole.engine.run.folder import RunFolder, safe_name


def result_file(folder: RunFolder, name: str, step: int, suffix: str) -> Path:
    """Return the file for a result of this step; its folder exists then. Raises RunError."""
    if not isinstance(name, str) or not name.strip():
        raise RunError(f"a result needs a name, not {name!r}")
    try:
        folder.results.mkdir(exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder.results}: cannot be made: {error.strerror}") from error
    return folder.results / f"{safe_name(name)}-{step:08d}{suffix}"


def save_text(file: Path, text: str) -> None:
    """Write a text. Raises RunError."""
    if not isinstance(text, str):
        raise RunError(f"run.text: {type(text).__name__} is not a text; use str(...)")
    _write(file, text.encode("utf-8", errors="backslashreplace"))


def save_image(file: Path, image: Any) -> None:
    """Write a picture as PNG; waits for the device. Raises RunError."""
    from io import BytesIO

    from PIL import Image

    stream = BytesIO()
    Image.fromarray(_pixels(image)).save(stream, format="PNG")
    _write(file, stream.getvalue())


def _pixels(image: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return bytes of shape (H, W) or (H, W, 3 or 4). Raises RunError."""
    if isinstance(image, torch.Tensor):
        array = image.detach().cpu().to(torch.float32 if image.is_floating_point() else image.dtype).numpy()
    else:
        array = np.asarray(image)
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if not fits or array.size == 0 or array.dtype.kind not in "buif":
        raise RunError(
            f"run.image: an array of shape {tuple(array.shape)} and type {array.dtype} is no picture; give "
            "one of shape (H, W), (C, H, W) or (H, W, C) with 1, 3 or 4 channels"
        )
    if array.dtype.kind in "bf":
        array = np.nan_to_num(array.astype(np.float32)) * 255
    return np.ascontiguousarray(np.clip(np.round(array), 0, 255).astype(np.uint8))


def _write(file: Path, content: bytes) -> None:
    try:
        write_atomically(file, content)
    except OSError as error:
        raise RunError(f"{file}: cannot be written: {error.strerror}") from error

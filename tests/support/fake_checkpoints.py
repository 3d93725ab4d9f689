"""Checkpoints made without torch: a manifest and a file with a few bytes."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from torchconsole.engine.run.checkpoints import Manifest, fingerprint, folder_name
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.names import BEST, LAST, MANIFEST_FILE, STATE_FILE


def fake_checkpoint(
    run: RunFolder,
    step: int,
    *,
    epoch: int = 1,
    kept: bool = False,
    best_step: int | None = None,
    links: tuple[str, ...] = (),
    created: float | None = None,
) -> Path:
    """Make a valid checkpoint of the run, `created` now by default; `links` (best, last) point to it."""
    folder = run.checkpoints / folder_name(step)
    folder.mkdir(parents=True)
    (folder / STATE_FILE).write_bytes(b"state of %d" % step)
    metrics: dict[str, float | None] = {"val/loss": 1 / step}
    manifest = Manifest(step, epoch, revision=0, kept=kept, metrics=metrics, best_step=best_step)
    if created is not None:
        manifest = replace(manifest, created=created)
    files = {STATE_FILE: fingerprint(folder / STATE_FILE)}
    (folder / MANIFEST_FILE).write_text(json.dumps(asdict(manifest) | {"files": files}))
    for link in links:
        assert link in (BEST, LAST)
        (run.checkpoints / link).unlink(missing_ok=True)
        (run.checkpoints / link).symlink_to(folder.name)
    return folder


def flip_a_bit(folder: Path) -> None:
    """Damage the state of a checkpoint without changing its size."""
    data = bytearray((folder / STATE_FILE).read_bytes())
    data[0] ^= 1
    (folder / STATE_FILE).write_bytes(data)

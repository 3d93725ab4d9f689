"""Several processes go back to a checkpoint together, and train on from there as they did the first time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.distributed.test_fsdp import MODEL
from tests.support.program_user import User, wait_until
from tests.support.ranks import Torchrun

pytestmark = pytest.mark.timeout(900)

METRICS = ("train/loss", "grad_norm", "val/loss", "val/ema_loss")


FUSSY = """
import os
from pathlib import Path
from torch import nn

class Fussy(nn.Flatten):
    def _load_from_state_dict(self, *arguments):
        if os.environ["RANK"] == "1" and Path("refuse").exists():
            Path("refuse").unlink()
            raise ValueError("not here")
        super()._load_from_state_dict(*arguments)
"""
"""A layer that the second process cannot load once, if there is a file."""


def ways(user: User, run: str) -> tuple[int, dict[Any, float], dict[Any, float]]:
    """The step that the run went back to, and what was logged after it before and since."""
    left: dict[Any, float] = {}
    since: dict[Any, float] = {}
    step = None
    for line in user.lines(run, "metrics.jsonl"):
        if line["kind"] == "resumed":
            step = line["step"]
            assert line["rolled_back_from"] > step
        found = left if step is None else since
        found |= {(line["kind"], line["step"], name): line[name] for name in METRICS if name in line}
    assert step is not None
    return step, {key: value for key, value in left.items() if key[1] > step}, since


def is_beyond(user: User, run: str) -> bool:
    """Whether the run is further again than it was before."""
    _, left, since = ways(user, run)
    return max((step for _, step, _ in since), default=0) > max(step for _, step, _ in left)


@pytest.mark.parametrize(("processes", "strategy"), [(2, "ddp"), (3, "ddp"), (2, "fsdp")])
def test_all_go_back_to_the_same_checkpoint(
    user: User, torchrun: Torchrun, processes: int, strategy: str
) -> None:
    """The model has dropout, which each process draws for itself, and the run an average of its weights."""
    user.write_preset("images", MODEL.format(dropout=0.2).replace('"Flatten"', '"fussy.py:Fussy"'))
    (user.folder / "fussy.py").write_text(FUSSY)
    changes = (
        f"distributed.strategy={strategy}", "data.batch_size=48", "training.epochs=100000",
        "distributed.checksum_every=5", "training.eval_interval=step", "training.eval_every=7",
    )  # fmt: skip
    process = torchrun.start(
        processes, "train", "images", "--trust", *(word for change in changes for word in ("--set", change))
    )
    run = torchrun.wait_for_step(process, 3)
    saved = user.send(run, "save").rpartition("saved ")[2].strip()
    at = int(saved.removeprefix("step-"))
    torchrun.wait_for_step(process, at + 12)
    last = user.send(run, "save").rpartition("saved ")[2].strip()
    damaged = user.runs_dir / run / "checkpoints" / last / "state.pt"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    rejected = user.run("send", run, "rollback", last)
    assert rejected.returncode == 1
    assert "state.pt: is damaged" in rejected.stderr
    (user.folder / "refuse").touch()
    rejected = user.run("send", run, "rollback", str(at))
    assert (rejected.returncode, "not here" in rejected.stderr) == (1, True), rejected.stderr
    torchrun.wait_for_step(process, user.record(run)["step"] + 3)  # with equal checksums
    user.send(run, "pause")
    assert user.send(run, "rollback", str(at)).startswith(
        f"applied at step {at}: back at step {at} from step "
    )
    assert user.record(run)["status"] == "paused"
    user.send(run, "unpause")
    wait_until(lambda: is_beyond(user, run), "the steps of the way that was left")
    user.send(run, "stop")
    status, output = torchrun.wait(process)
    assert status == 0, output
    step, left, since = ways(user, run)
    assert step == at
    assert len(left) > 30
    assert left == {key: since[key] for key in left}

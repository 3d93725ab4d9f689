"""Weights & Biases gets what is logged, also if it does not begin at once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.runs import FINISHED, make_folder
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.points import Points
from torchconsole.engine.run.folder import RunFolder

pytest.importorskip("wandb")

import wandb

from torchconsole.engine.session.tracking.wandb_log import WandbLog


class Run:
    """A stand-in for wandb's run: notes the steps that it gets."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.steps: list[int] = []

    def log(self, metrics: dict[str, float], step: int) -> None:
        self.steps.append(step)

    def finish(self, **options: Any) -> None:
        pass


def logged(*steps: int) -> ev.MetricsLogged:
    series = {"train/loss": Points.of(steps, [0.5] * len(steps))}
    return ev.MetricsLogged(step=steps[-1], epoch=1, active_seconds=1.0, series=series, time=100.0)


def log_of(folder: RunFolder) -> WandbLog:
    return WandbLog(SimpleNamespace(folder=folder))  # type: ignore[arg-type]


def test_values_after_a_resume_are_not_lost_if_wandb_begins_at_the_second_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run()

    def begin(**options: Any) -> Run:
        run.ids.append(options["id"])
        if len(run.ids) in (1, 3):
            raise RuntimeError("the service did not start")
        return run

    monkeypatch.setattr(wandb, "init", begin)
    folder = make_folder(tmp_path)
    resumed = ev.RunResumed(step=2, epoch=1, checkpoint="step-00000002")
    for items in ([logged(1, 2, 3)], [resumed, logged(3, 4, 5), FINISHED]):
        log = log_of(folder)
        with pytest.raises(RuntimeError, match="did not start"):
            log.write(items)
        log.write(items)
        log.close()
    assert run.steps == [1, 2, 3, 4, 5]
    assert len(set(run.ids)) == 1

"""The program in the guide does what is said of it, word for word."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

from tests.support.runs import FINISHED, STARTED, Served, make_folder, wait_until
from torchconsole.engine.protocol import events as ev
from torchconsole.engine.protocol.commands import SetLearningRate
from torchconsole.engine.run.registry import register

GUIDE = Path(__file__).parents[2] / "docs" / "GUIDE.md"


def evaluated(step: int, loss: float | None) -> ev.EvaluationCompleted:
    return ev.EvaluationCompleted(step=step, epoch=1, metrics={"val/loss": loss}, seconds=0.1)


def test_it_halves_the_lr_whenever_the_validation_loss_rises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    programs = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    (text,) = (program for program in programs if "SetLearningRate" in program)
    assert len(text.splitlines()) <= 20
    program = threading.Thread(target=exec, args=(compile(text, str(GUIDE), "exec"), {}))
    with Served(make_folder(tmp_path)) as served:
        register(served.folder)
        served.event_queue.emit(STARTED)
        program.start()
        wait_until(lambda: served.server._clients.is_watched, "the program to connect")
        for step, loss in enumerate((1.0, 0.5, 0.7, None, 0.6, 0.8), 1):
            served.event_queue.emit(evaluated(step, loss))
            if loss in (0.7, 0.8):
                id, command, by = served.commands.taken.get(timeout=20)
                assert command == SetLearningRate(factor=0.5)
                served.event_queue.emit(ev.CommandApplied(id=id, command=command, step=step, by=by))
        served.event_queue.emit(FINISHED)
        program.join(20)
    assert not program.is_alive()
    assert served.commands.taken.empty()

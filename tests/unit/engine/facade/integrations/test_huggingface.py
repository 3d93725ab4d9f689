"""What the callback for transformers tells a run; no Trainer takes part."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.support.own_runs import MemoryHost, memory_host
from torchconsole.engine.library import active_run, framework_run
from torchconsole.engine.protocol.events import PhaseChanged

MODULE = "torchconsole.engine.facade.integrations.huggingface"


@pytest.fixture
def callback(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The callback, made where transformers has only the names that its module imports."""
    names = ("TrainerCallback", "TrainerControl", "TrainerState", "TrainingArguments")
    transformers, utils = ModuleType("transformers"), ModuleType("transformers.trainer_utils")
    vars(transformers).update({name: type(name, (), {}) for name in names})
    vars(utils)["PREFIX_CHECKPOINT_DIR"] = "checkpoint"
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    monkeypatch.setitem(sys.modules, "transformers.trainer_utils", utils)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    module = __import__(MODULE, fromlist=["ConsoleCallback"])
    yield module.ConsoleCallback()
    sys.modules.pop(MODULE, None)
    for instruments in framework_run._instruments:
        instruments.retire()
    framework_run._training.clear()
    framework_run._joined.clear()
    active_run.end()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryHost:
    found = memory_host(tmp_path / "run")
    monkeypatch.setattr(framework_run, "open_host", lambda name: found)
    return found


def test_a_prediction_within_a_training_is_over_with_its_result(callback: Any, host: MemoryHost) -> None:
    arguments = SimpleNamespace(world_size=1, gradient_accumulation_steps=1, max_steps=0)
    state = SimpleNamespace(
        is_world_process_zero=True,
        num_train_epochs=1,
        global_step=0,
        epoch=0,
        max_steps=3,
        stateful_callbacks={},
    )
    told = arguments, state, SimpleNamespace()
    callback.on_train_begin(*told, model=object(), train_dataloader=[1, 2, 3])
    for _ in range(2):
        callback.on_prediction_step(*told)
    callback.on_predict(*told, metrics={"test_loss": 0.5})
    assert [event.phase for event in host.taken(PhaseChanged)] == ["evaluating", "training"]
    callback.on_train_end(*told)

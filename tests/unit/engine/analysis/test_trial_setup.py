"""`find-lr` and `profile` of a run train as the run does: what a command has frozen stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.support.sessions import MakeSession
from torchconsole.engine.analysis import find_lr, profiling
from torchconsole.engine.analysis.trial_setup import build_trial
from torchconsole.engine.config.loading import write_preset
from torchconsole.engine.run.names import LAST


@pytest.mark.parametrize(
    ("module", "report"),
    [
        (find_lr, partial(find_lr.lr_search_report, steps="5")),
        (profiling, partial(profiling.profile_report, steps="2", trace="")),
    ],
)
def test_what_a_command_has_frozen_is_not_trained(
    session: MakeSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    report: Callable[..., object],
) -> None:
    done = session("training.epochs=1")
    layer = next(
        name for name, found in done.setup.model.named_modules() if isinstance(found, torch.nn.Linear)
    )
    done.trainer.state.frozen.freeze(layer, 0)
    done.trainer.run()
    preset, checkpoint = tmp_path / "preset.toml", done.checkpoints / LAST
    write_preset(done.setup.preset, preset)
    built: list[Any] = []

    def build(*arguments: Any) -> Any:
        built.append(build_trial(*arguments))
        return built[0]

    monkeypatch.setattr(module, "build_trial", build)
    report(str(preset), checkpoint=str(checkpoint))
    before = torch.load(checkpoint / "state.pt", weights_only=True)["model"]
    same = {name: torch.equal(value, before[name]) for name, value in built[0][0].model.named_parameters()}
    assert same == {name: name.startswith(f"{layer}.") for name in same}
    assert any(same.values())

"""The lr of a run by several processes, before it starts and when it is extended."""

from __future__ import annotations

import pytest

from torchconsole.engine.analysis.report import lr_curve
from torchconsole.engine.config.loading import load_preset

SCALES = {"none": 1.0, "linear": 4.0, "sqrt": 2.0}


@pytest.mark.parametrize("scaling", SCALES)
def test_the_lr_of_a_preset_is_that_of_all_its_processes(scaling: str) -> None:
    changes = ["distributed.processes=4", f"distributed.lr_scaling={scaling}"]
    alone, together = (lr_curve(load_preset("digits-mlp", more)) for more in ([], changes))
    assert together.steps_per_epoch == -(-alone.steps_per_epoch // 4)
    assert together.lrs[0][0] == pytest.approx(SCALES[scaling] * alone.lrs[0][0])

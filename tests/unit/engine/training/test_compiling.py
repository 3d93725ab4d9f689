"""A model that is slower for being compiled is complained of."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch._dynamo import eval_frame

from tests.support.sessions import MakeSession
from torchconsole.engine.training import compiling
from torchconsole.engine.training.compiling import complaint_of_compiled
from torchconsole.engine.training.dry_run import first_batch


def take(patch: pytest.MonkeyPatch, compiled: float, uncompiled: float) -> None:
    """Have the trial find so many milliseconds."""

    def median_seconds(step: Callable[[], object]) -> float:
        return (uncompiled if eval_frame._stance.stance == "force_eager" else compiled) / 1000

    patch.setattr(compiling, "median_seconds", median_seconds)


@pytest.mark.parametrize(("compiled", "uncompiled"), [(0.4, 0.7), (0.75, 0.7), (12.0, 10.0)])
def test_nothing_is_said_of_one_that_is_faster_or_as_fast(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch, compiled: float, uncompiled: float
) -> None:
    take(monkeypatch, compiled, uncompiled)
    setup = session("training.compile=true").setup
    assert complaint_of_compiled(setup, first_batch(setup)) == ""


def test_the_two_times_are_said_with_what_to_set(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(monkeypatch, compiled=1.35, uncompiled=0.7)
    setup = session("training.compile=true").setup
    said = complaint_of_compiled(setup, first_batch(setup))
    assert "takes 1.4 ms forward and backward, uncompiled 0.7 ms: training.compile = false is" in said


def test_a_model_that_is_not_compiled_is_not_tried(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(compiling, "median_seconds")
    setup = session().setup
    assert complaint_of_compiled(setup, first_batch(setup)) == ""

"""A tenth of `make fuzz`, always with the same inputs: see tests/fuzz/__main__.py."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.fuzz.rounds import run_round
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

ROUNDS = 10


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", TARGETS)
def test_no_input_does_harm(kind: type[Target], monkeypatch: pytest.MonkeyPatch) -> None:
    with TemporaryDirectory(prefix="tc-", dir="/tmp") as folder:
        monkeypatch.setenv("XDG_STATE_HOME", f"{folder}/home")
        target = kind(Path(folder))
        for number in range(ROUNDS):
            assert run_round(target, number, target.share).total() >= target.share

"""Commands that a launcher has started several times."""

from __future__ import annotations

import pytest

from torchconsole.engine.client.ranks import join_ranks
from torchconsole.engine.errors import RunError


def test_a_number_of_processes_is_refused_under_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "4", "MASTER_ADDR": "a", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RunError, match="--nproc 2: a launcher has started 4 processes already"):
        join_ranks(detach=False, trusts=False, nproc="2")

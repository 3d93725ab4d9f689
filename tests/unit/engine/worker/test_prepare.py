"""The findings of a start refuse it or are logged."""

from __future__ import annotations

import logging

import pytest

from torchconsole.engine.errors import FindingsError
from torchconsole.engine.protocol.reports import Finding
from torchconsole.engine.worker.prepare import _report

FOUND = [
    Finding(level=level, name=f"an-{level}", evidence="seen", reason="why", remedy="do")
    for level in ("error", "warning", "hint")
]


def test_errors_refuse_a_start_and_are_all_named() -> None:
    with pytest.raises(FindingsError) as caught:
        _report([FOUND[0], *FOUND], anyway=False)
    assert str(caught.value).splitlines() == ["an-error: seen; why; to fix it: do"] * 2


def test_findings_are_logged_once_with_their_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        _report(FOUND[1:], anyway=False)
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
        _report(FOUND[:1], anyway=True)
    assert caplog.records[-1].levelname == "WARNING"
    assert caplog.messages[-1] == "an-error: seen; why; to fix it: do"

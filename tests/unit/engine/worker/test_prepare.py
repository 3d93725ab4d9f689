"""What a start reports and writes: findings refuse it or are logged, and the preset is written."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.support.runs import make_folder
from tests.support.sessions import setup_for
from torchconsole.engine.config.loading import load_preset, read_preset
from torchconsole.engine.errors import FindingsError
from torchconsole.engine.protocol.reports import Finding
from torchconsole.engine.session.run_place import RunPlace
from torchconsole.engine.worker.prepare import _report, _write_preset

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


def test_a_change_is_in_the_preset_after_it_is_in_the_journal(tmp_path: Path) -> None:
    """Two changes have been made, and the journal has the first one only."""
    setup = setup_for(load_preset("digits-mlp", ["title=now"]))
    place = RunPlace(make_folder(tmp_path), lambda event: None)
    _write_preset(place, setup)
    assert read_preset(place.folder.preset_file).title == "now"
    setup.preset = setup_for(load_preset("digits-mlp", ["title=later"])).preset
    setup.settings_changed = 2
    place.write_preset(place.folder, 1)
    assert read_preset(place.folder.preset_file).title == "now"
    place.write_preset(place.folder, 2)
    assert read_preset(place.folder.preset_file).title == "later"

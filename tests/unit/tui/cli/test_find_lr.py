"""`torchconsole find-lr`: the chart, the suggestion and the command that takes it over."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.runs import Served, make_folder
from torchconsole.engine.config.catalogue import Catalogue
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.protocol.reports import LearningRateSearch
from torchconsole.tui.cli import find_lr as command
from torchconsole.tui.cli import named_runs
from torchconsole.tui.finder_texts import describe_lr_search

LRS = np.geomspace(1e-7, 1e-1, 120)
SEARCH = LearningRateSearch(
    device="cpu",
    precision="fp32",
    lr=0.003,
    steps=160,
    lrs=LRS.tolist(),
    losses=[2.0] * 120,
    smoothed=(2 - 1.9 / (1 + (1e-3 / LRS) ** 2)).tolist(),
    diverged=True,
    steepest=1e-3,
    minimum=5e-2,
    tenth=5e-3,
    suggestion=1e-3,
    settings=["optimizer.lr=0.001", "optimizer.groups.0.lr=0.003"],
)


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch, catalogue: Catalogue) -> list[tuple[str, ...]]:
    """Answer with a given search; return the options that were asked for."""
    asked: list[tuple[str, ...]] = []

    def report(kind: object, name: str, preset: object, *options: str) -> LearningRateSearch:
        asked.append((name, *options))
        return SEARCH

    monkeypatch.setattr(command, "make_preset_report", report)
    monkeypatch.setattr(
        named_runs,
        "load_checked_preset",
        lambda name, overrides: load_preset(name, overrides or [], catalogue),
    )
    monkeypatch.setenv("COLUMNS", "70")
    return asked


def test_the_curve_is_drawn_over_decades_with_its_marks(
    search: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.find_lr("digits-mlp", ["loss.label_smoothing=0.1"]) == 0
    assert search == [("find-lr", "200")]
    lines = capsys.readouterr().out.splitlines()
    chart, texts = lines[: command.HEIGHT], lines[command.HEIGHT :]
    assert max(map(len, chart)) <= 70
    assert chart[-1].split() == ["1e-6", "1e-4", "1e-2"]
    [star] = [line.index("★") for line in chart if "★" in line]
    [circle] = [line.index("○") for line in chart if "○" in line]
    assert chart[-1].index("1e-4") < star < circle < chart[-1].index("1e-2") + 2
    assert texts == [
        "smoothed training loss over optimizer.lr, on cpu in fp32: it diverged after 120 steps, at 0.1",
        "steepest (★) at 0.001; a tenth of the minimum's lr (○) is 0.005",
        "suggested: 0.001 (the preset has 0.003)",
        "to use it: torchconsole train digits-mlp --set loss.label_smoothing=0.1 "
        "--set optimizer.lr=0.001 --set optimizer.groups.0.lr=0.003",
    ]


@pytest.mark.usefixtures("search")
def test_json_has_the_curve(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.find_lr("digits-mlp", as_json=True) == 0
    assert LearningRateSearch.model_validate(json.loads(capsys.readouterr().out)) == SEARCH


@pytest.mark.parametrize(
    ("steepest", "tenth", "losses"), [(None, None, 120), (None, None, 1), (None, None, 0), (1e-3, 1e-3, 120)]
)
def test_a_search_without_a_result_is_printed_too(
    steepest: float | None, tenth: float | None, losses: int, capsys: pytest.CaptureFixture[str]
) -> None:
    update = {
        "steepest": steepest,
        "tenth": tenth,
        "suggestion": steepest,
        **{key: getattr(SEARCH, key)[:losses] for key in ("lrs", "losses", "smoothed")},
    }
    command.print_search(SEARCH.model_copy(update=update), "train digits-mlp", is_run=False)
    out = capsys.readouterr().out
    assert ("no lr to suggest" in out) == (steepest is None)


@pytest.mark.parametrize("suggestion", [None, 1e-3])
@pytest.mark.usefixtures("search")
def test_of_a_live_run_the_suggestion_is_sent_if_there_is_one(
    suggestion: float | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    update = {"suggestion": suggestion, "steepest": suggestion, "tenth": suggestion}
    found = SEARCH.model_copy(update=update)
    monkeypatch.setattr(command, "make_preset_report", lambda *_: found)
    with Served(make_folder(tmp_path)) as served:
        preset = named_runs.load_checked_preset("digits-mlp", [])
        monkeypatch.setattr(command, "load_start", lambda *_: (preset, served.folder, None))
        assert command.find_lr(served.folder.name) == 0
    sent = f"to use it: torchconsole send {served.folder.name} lr 0.001"
    assert (sent in capsys.readouterr().out) == (suggestion is not None)


def test_a_name_that_is_neither_preset_nor_run_gets_both_answers() -> None:
    with pytest.raises(TorchconsoleError) as caught:
        command.find_lr("digit-mlp")
    first, second = str(caught.value).splitlines()
    assert "no preset named 'digit-mlp', did you mean" in first
    assert "run" in second


def test_too_few_steps_are_refused() -> None:
    with pytest.raises(TorchconsoleError, match="--steps 3: a range test needs 30 steps or more"):
        command.find_lr("digits-mlp", steps=3)


def test_small_rates_are_written_alike() -> None:
    found = SEARCH.model_copy(update={"steepest": 7.81e-5, "tenth": 2.56e-4, "suggestion": 7.81e-5})
    texts = describe_lr_search(found, is_run=False)
    assert texts[1:] == [
        "steepest (★) at 7.8e-5; a tenth of the minimum's lr (○) is 0.00026",
        "suggested: 7.81e-5 (the preset has 0.003)",
    ]

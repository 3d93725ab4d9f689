"""The filter of lists of runs."""

from __future__ import annotations

import time
from typing import Any

import pytest

from torchconsole.engine.run.record import RunRecord
from torchconsole.tui.metric_direction import higher_is_better, is_higher_better, monitored_metric
from torchconsole.tui.run_filter import matching, split_words


def run(name: str, **fields: Any) -> RunRecord:
    """A run that ended an hour ago."""
    given: dict[str, Any] = {"status": "finished", "host": "elsewhere", "created": time.time() - 3600}
    return RunRecord(name, f"/runs/{name}", **given | fields)


def best(metric: str, value: float) -> dict[str, Any]:
    """The best evaluation."""
    return {"metric": metric, "value": value, "step": 1}


RUNS = [
    run("alpha-1", preset="alpha", status="failed", lr=0.1, details={"metrics": {"val/accuracy": 0.95}}),
    run("alpha-2", preset="alpha", tags=["paper", "lr/high"], best=best("val/accuracy", 0.93), step=2000),
    run("beta-1", preset="beta", note="Try a: wider net", host="gpu-07", best=best("val/loss", 0.2), step=10),
    run("gone", status="unreadable", reason="no", created=0.0),
    run("odd", details={"metrics": {"val/accuracy": None, "x": "text", "val/f1": float("nan")}}),
    run("forged", details={"metrics": [1]}),
]


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("", "alpha-1 alpha-2 beta-1 gone odd forged"),
        ("ALPHA 2", "alpha-2"),
        ("status:failed", "alpha-1"),
        ("Status:FAIL", "alpha-1"),
        ("status:", "alpha-1 alpha-2 beta-1 gone odd forged"),
        ("preset:alpha -status:failed", "alpha-2"),
        ("tag:paper", "alpha-2"),
        ("status:failed | preset:beta host:gpu", "alpha-1 beta-1"),
        ("| preset:beta |", "beta-1"),
        ("|", "alpha-1 alpha-2 beta-1 gone odd forged"),
        ("tag:pap", ""),
        ("tag:lr/high", "alpha-2"),
        ('note:"wider net"', "beta-1"),
        ("a:", "beta-1"),
        ("host:gpu", "beta-1"),
        ("val/accuracy>0.9", "alpha-1 alpha-2"),
        ("val/accuracy > 0.9", "alpha-1 alpha-2"),
        ("accuracy>=95%", "alpha-1"),
        ("accuracy<94%", "alpha-2"),
        ("val/loss<0.21", "beta-1"),
        ("val/loss=0.2", "beta-1"),
        ("step>1k", "alpha-2"),
        ("step<=10 preset:beta", "beta-1"),
        ("age>2d", "gone"),
        ("age<2h alpha", "alpha-1 alpha-2"),
        ("lr=0.1", "alpha-1"),
        ("f1>0", ""),
        ("f1<1", ""),
        ("best>0.5", "alpha-2"),
        ("accuracy>", "alpha-1 alpha-2 beta-1 gone odd forged"),
        ("accuracy>high", ""),
        ("x>1", ""),
        ("unreadable", "gone"),
        ("-alpha -beta -gone -forged", "odd"),
    ],
)
def test_a_filter_selects_runs(typed: str, names: str) -> None:
    assert [found.name for found in matching(RUNS, split_words(typed))] == names.split()


@pytest.mark.parametrize(
    ("metric", "higher"),
    [
        ("val/accuracy", True), ("val/f1", True), ("val/r2", True), ("ema/auroc", True), ("val/loss", False),
        ("val/mae", False), ("train/loss", False), ("val/mean_squared_error", False),
        ("val/perplexity", False),
        ("loss/accuracy", True), ("val/dice", True), ("val/precision", True), ("val/recall", True),
        ("val/answer_accuracy", True), ("val/confidence", True), ("val/power", True), ("val/certainty", True),
        ("val/multilabel_ranking_average_precision", True), ("val/multilabel_ranking_loss", False),
        ("val/wer", False), ("val/rmse_x", False), ("val/smape", False), ("data_wait", False),
        ("val/calibration_error", False), ("val/cross_entropy", False),
    ],
)  # fmt: skip
def test_the_direction_of_a_metric_by_its_name(metric: str, higher: bool) -> None:
    assert higher_is_better(metric) is higher


def test_the_direction_that_a_run_records_comes_first() -> None:
    stopping = {"early_stopping": {"monitor": "val/odd_loss", "mode": "max"}}
    assert is_higher_better(run("a", details=stopping), "val/odd_loss")
    assert not is_higher_better(run("a", details=stopping), "val/loss")
    assert not is_higher_better(run("a", details={"early_stopping": [1]}), "val/loss")
    assert monitored_metric(run("a", details=stopping)) == "val/odd_loss"
    assert monitored_metric(run("a", best=best("val/mae", 1.0))) == "val/mae"
    assert monitored_metric(run("a")) == "val/loss"

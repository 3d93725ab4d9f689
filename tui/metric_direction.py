"""Whether a higher value of a metric is better, as far as its name or the run's record tells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from torchconsole.engine.run.record import EarlyStoppingDetail

if TYPE_CHECKING:
    from torchconsole.engine.run.record import RunRecord

_LOWER = re.compile(
    r"loss|error|perplexity|distance|divergence|deviance|hinge|brier|calibration|hamming|cross_entropy|grad_norm"
    r"|(?<![a-z])(?:mae|r?mse|r?msle|s?mape|nll|ppl|wait|wer|cer|fid|seconds)(?![a-z])"
)
"""Long words anywhere in a name; short ones as a whole: `wer` is in `answer_accuracy`, too."""


def higher_is_better(metric: str) -> bool:
    """Judge by the metric's name: higher is better for accuracy and the like, lower for losses and errors."""
    return _LOWER.search(metric.rpartition("/")[2].casefold()) is None


def is_higher_better(record: RunRecord, metric: str) -> bool:
    """Judge by the run's early stopping if that monitors the metric, else by the metric's name."""
    stopping = record.detail("early_stopping", EarlyStoppingDetail)
    if stopping and record.details["early_stopping"].get("monitor") == metric and "mode" in stopping:
        return stopping["mode"] == "max"
    return higher_is_better(metric)


def monitored_metric(record: RunRecord) -> str:
    """Return the metric that decides which checkpoint of the run is the best."""
    if record.best:
        return record.best["metric"]
    stopping = record.details.get("early_stopping")
    monitor = stopping.get("monitor") if isinstance(stopping, dict) else None
    return monitor if isinstance(monitor, str) else "val/loss"

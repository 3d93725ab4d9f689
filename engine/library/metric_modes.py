"""Whether a metric should be low or high, by its name."""

from __future__ import annotations

import re
from typing import Literal

from torchconsole.engine.errors import RunError

LOW = {
    "loss", "error", "err", "mae", "mse", "rmse", "mape", "perplexity", "ppl", "nll", "wer", "cer",
    "fid", "kl", "ce", "bce", "entropy", "crossentropy", "eer", "bpc", "bpb", "distance", "cost",
    "brier", "lpips",
}  # fmt: skip
HIGH = {
    "accuracy", "acc", "f1", "fscore", "auc", "auroc", "auprc", "precision", "recall", "ap", "map",
    "iou", "miou", "dice", "bleu", "rouge", "meteor", "psnr", "ssim", "r2", "score", "reward", "return",
    "top1", "top5", "mcc", "kappa", "sensitivity", "specificity", "similarity", "correlation",
    "pearson", "spearman", "em", "hits", "ndcg", "mrr",
}  # fmt: skip


def mode_of(metric: str) -> Literal["min", "max"]:
    """Return whether lower or higher is better. Raises RunError if the name does not tell."""
    words = set(re.split(r"[^a-z0-9]+", metric.rpartition("/")[2].lower()))
    if words & LOW:
        return "min"
    if words & HIGH:
        return "max"
    raise RunError(
        f'torchconsole.run: the name {metric!r} does not tell whether low or high is better; add mode="min" '
        'or mode="max"'
    )

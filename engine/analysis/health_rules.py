"""The rules of the health monitor: what the figures of a running training look like when something is wrong.

Each rule takes in logged lines and evaluations, and returns a message when it recognizes its fault. The
thresholds are wide: a wrong warning costs more trust than a late one.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from torchconsole.engine.protocol.info import ConfusionMatrix, Metrics
from torchconsole.engine.protocol.points import MetricsPoint


@dataclass(frozen=True)
class Evaluation:
    """An evaluation, with what the training looked like since the one before."""

    step: int
    metrics: Metrics
    lr_rises: bool
    """Whether the lr is higher than at the last evaluation, as in a warm-up."""
    train_loss: float
    """Mean of the training losses logged since the last evaluation; nan if there were none."""
    grad_norm: float
    """Norm of the gradients of the last step; nan if there were none."""
    confusion: ConfusionMatrix | None

    @property
    def val_loss(self) -> float:
        """The validation loss; nan if it is not finite."""
        value = self.metrics.get("val/loss")
        return math.nan if value is None else value


class Rule:
    """Recognizes one fault. Both methods return a message, or an empty string as long as all is well."""

    def line(self, point: MetricsPoint) -> str:
        """Take in a logged line."""
        return ""

    def evaluation(self, evaluation: Evaluation) -> str:
        """Take in an evaluation."""
        return ""


@dataclass
class LossDoesNotFall(Rule):
    """The training loss is where it began after five evaluations, none of them during a warm-up."""

    lr: float
    enough_steps: int
    _first: float = math.nan
    _means: list[float] = field(default_factory=list)

    ENOUGH = 5
    FALL = 0.01
    """The part of the first loss by which it must have fallen."""

    def line(self, point: MetricsPoint) -> str:
        """Keep the first loss."""
        if not math.isfinite(self._first):
            self._first = point.metrics["train/loss"]
        return ""

    def evaluation(self, evaluation: Evaluation) -> str:
        """Compare the last three means with the first loss."""
        if not math.isfinite(evaluation.train_loss) or evaluation.lr_rises:
            return ""
        self._means.append(evaluation.train_loss)
        first = max(self._first, self._means[0])
        limit = first - self.FALL * abs(first)
        if len(self._means) < self.ENOUGH or evaluation.step < self.enough_steps:
            return ""
        if min(self._means[1:]) < limit:
            return ""
        return (
            f"the training loss has not fallen in {len(self._means)} evaluations ({first:.4g} at the start, "
            f"{self._means[-1]:.4g} now): the model learns nothing; change optimizer.lr ({self.lr:g}), and "
            "run `torchconsole check PRESET --overfit` to see whether it can learn one batch"
        )


@dataclass
class Overfitting(Rule):
    """The mean of the last five validation losses is 1.5 times the best, while the training loss fell.

    A validation loss below the training loss only fluctuates: augmentation and dropout raise the latter.
    """

    _best: Evaluation | None = None
    _since: list[Evaluation] = field(default_factory=list)

    ENOUGH = 5
    RISE, FALL = 1.5, 0.9

    def evaluation(self, evaluation: Evaluation) -> str:
        """Compare the mean of the last evaluations with the best one."""
        best, value = self._best, evaluation.val_loss
        if math.isnan(value):
            return ""
        if best is None or value < best.val_loss:
            self._best, self._since = evaluation, []
            return ""
        self._since.append(evaluation)
        recent = self._since[-self.ENOUGH :]
        risen = sum(each.val_loss for each in recent) / len(recent)
        fell = evaluation.train_loss < min(self.FALL * best.train_loss, risen)
        if len(recent) < self.ENOUGH or risen < self.RISE * best.val_loss or best.val_loss <= 0 or not fell:
            return ""
        return (
            f"overfitting since step {best.step:,}: the validation loss has risen from {best.val_loss:.4g} "
            f"to {risen:.4g} while the training loss fell from {best.train_loss:.4g} to "
            f"{evaluation.train_loss:.4g}; use [early_stopping], more data or data.transforms, dropout, or "
            "optimizer.weight_decay"
        )


@dataclass
class AccuracyAtChance(Rule):
    """After five evaluations the mean recall over the classes is what guessing gives.

    It comes from the confusion matrix; with too many classes for one it is val/accuracy.
    """

    samples: int
    """Number of validation samples."""
    classes: int
    enough_steps: int
    _count: int = 0

    ENOUGH = 5
    DEVIATIONS = 2.0

    def evaluation(self, evaluation: Evaluation) -> str:
        """Compare the mean recall with 1 / C, in units of its standard deviation over the samples."""
        if evaluation.lr_rises:
            return ""
        self._count += 1
        recall = self._mean_recall(evaluation)
        if recall is None or self._count < self.ENOUGH or evaluation.step < self.enough_steps:
            return ""
        chance = 1 / self.classes
        if recall > chance + self.DEVIATIONS * math.sqrt(chance * (1 - chance) / self.samples):
            return ""
        return (
            f"after {self._count} evaluations the model is no better than guessing: it finds "
            f"{100 * recall:.2g}% of the samples of a class on average, and guessing one of "
            f"{self.classes} classes finds {100 * chance:.2g}%{_constant(evaluation.confusion)}; check that "
            "the labels belong to the inputs, and try another optimizer.lr"
        )

    def _mean_recall(self, evaluation: Evaluation) -> float | None:
        if evaluation.confusion is None:
            return evaluation.metrics.get("val/accuracy")
        counts = evaluation.confusion.counts
        recalls = [row[index] / sum(row) for index, row in enumerate(counts) if sum(row)]
        return sum(recalls) / len(recalls) if len(recalls) == self.classes else None


def _constant(confusion: ConfusionMatrix | None) -> str:
    """Return a note if all samples are predicted as one class."""
    columns = [sum(column) for column in zip(*confusion.counts, strict=True)] if confusion else []
    return "; it predicts the same class for all samples" if max(columns, default=-1) == sum(columns) else ""


@dataclass
class LossSpike(Rule):
    """A logged loss above the first one, and three times as high as any of the last fifty."""

    _first: float = math.nan
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=50))

    ENOUGH = 20
    TIMES = 3.0

    def line(self, point: MetricsPoint) -> str:
        """Compare a loss with the recent ones."""
        loss, recent = point.metrics["train/loss"], self._recent
        if not math.isfinite(loss):
            return ""
        if not recent:
            self._first = loss
        highest = max(recent, default=loss)
        spiked = (
            len(recent) >= self.ENOUGH and loss > self._first and highest > 0 and loss > self.TIMES * highest
        )
        recent.append(loss)
        if not spiked:
            return ""
        return (
            f"the loss jumped to {loss:.4g} at step {point.step:,}; the highest of the last "
            f"{len(recent) - 1} logged was {highest:.4g}; set training.clip_norm = 1.0, lower optimizer.lr, "
            "or look for outliers in the data"
        )


@dataclass
class GradientNorm(Rule):
    """The gradients are a hundred times as large as ever before, or a millionth of what they were."""

    _first: float = math.nan
    _highest: float = 0.0
    _count: int = 0
    _first_loss: float = math.nan

    ENOUGH = 5
    EXPLODED, VANISHED = 100.0, 1e-6

    def evaluation(self, evaluation: Evaluation) -> str:
        """Compare the norm with the first and the highest one."""
        norm = evaluation.grad_norm
        if not math.isfinite(norm):
            return ""
        if not self._count:
            self._first, self._first_loss = norm, evaluation.train_loss
        highest, self._highest = self._highest, max(self._highest, norm)
        self._count += 1
        if norm <= self.VANISHED * self._first and evaluation.train_loss > 0.5 * self._first_loss:
            return (
                f"the gradients have vanished: their norm is {norm:.2g} at step {evaluation.step:,}, and the "
                f"loss is still {evaluation.train_loss:.4g}; use normalization layers, residual connections, "
                "ReLU instead of sigmoid or tanh, or another [[model.init]]"
            )
        if self._count > self.ENOUGH and norm > self.EXPLODED * highest:
            return (
                f"the gradients are exploding: their norm is {norm:.4g} at step {evaluation.step:,}, and was "
                f"{highest:.4g} at most before; set training.clip_norm = 1.0, or lower optimizer.lr"
            )
        return ""


@dataclass
class LrAtZero(Rule):
    """The schedule has brought the lr to a millionth of its highest value long before the end.

    Whoever has changed the lr by hand knows, and is not warned.
    """

    total_steps: int
    changed_by_hand: bool = False
    _highest: float = 0.0

    NEGLIGIBLE, NEAR_THE_END = 1e-6, 0.9

    def line(self, point: MetricsPoint) -> str:
        """Compare the lr with the highest one."""
        lr = point.metrics["lr"]
        self._highest = max(self._highest, lr)
        if self.changed_by_hand or lr > self.NEGLIGIBLE * self._highest or not self._highest:
            return ""
        if point.step >= self.NEAR_THE_END * self.total_steps:
            return ""
        return (
            f"the lr is {lr:.2g} at step {point.step:,} of {self.total_steps:,}: nothing more is learned; "
            "`torchconsole show PRESET --lr` draws the schedule, whose lengths count its `interval`"
        )

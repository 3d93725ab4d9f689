"""The table of findings: the level, the reason and the remedy of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torchconsole.engine.protocol.reports import Finding

Level = Literal["error", "warning", "hint"]


@dataclass(frozen=True)
class Rule:
    """A pitfall. It is an error only if what is trained cannot be right; names in braces are filled in."""

    level: Level
    reason: str
    remedy: str


RULES: dict[str, Rule] = {
    # Outputs and loss
    "softmax-before-cross-entropy": Rule(
        "warning",
        "cross entropy applies log_softmax itself; on probabilities {effect}",
        "{remove}, or keep it and train on logarithms: return torch.log(outputs + 1e-8) and set "
        'loss.name = "NLLLoss"',
    ),
    "activation-before-cross-entropy": Rule(
        "warning",
        "cross entropy applies log_softmax to scores of any size; with outputs limited to {range} the "
        "largest probability of a class that it can express is {most:.2f}",
        "{remove}",
    ),
    "relu-before-cross-entropy": Rule(
        "warning",
        "cross entropy takes scores of any size; the model cannot give a class a score below 0, and a "
        "score that is cut off gets no gradient",
        "{remove}",
    ),
    "softmax-on-labels": Rule(
        "error",
        "the labels of a sample do not exclude each other, but a softmax lets their probabilities sum up "
        "to 1 only",
        'use a sigmoid instead of the softmax, or remove it and set loss.name = "BCEWithLogitsLoss"',
    ),
    "activation-before-bce-with-logits": Rule(
        "error",
        "{loss} applies a sigmoid itself; of outputs that are never {sign} it makes "
        "probabilities of {bound} 0.5, so every sample is predicted as {predicted}",
        "{instead}",
    ),
    "bce-without-probabilities": Rule(
        "error",
        "BCELoss takes probabilities, and torch raises an error at the first output outside of 0 to 1",
        'set loss.name = "BCEWithLogitsLoss", or end the model with nn.Sigmoid()',
    ),
    "tanh-before-bce-with-logits": Rule(
        "warning",
        "{loss} applies a sigmoid itself; outputs limited to -1 to 1 become probabilities of 0.27 to 0.73",
        "{remove}",
    ),
    "log-probabilities-missing": Rule(
        "error",
        "{loss} takes the logarithms of probabilities; on other outputs it falls without limit, while "
        "nothing is learned",
        'set loss.name = "CrossEntropyLoss" for raw scores, or {log_softmax}',
    ),
    "softmax-over-the-batch": Rule(
        "error",
        "the softmax runs over the samples of a batch instead of over the classes, so that each prediction "
        "depends on the other samples",
        "use dim=1 in {softmax}",
    ),
    "eval-activation": Rule(
        "warning",
        "the loss and the metrics of an evaluation are computed from other outputs than those in training",
        "{remove}; metrics make probabilities themselves, as loss.outputs says",
    ),
    "activation-twice": Rule(
        "warning",
        "a probability is taken for a raw score, so that the loss sees only a narrow range of probabilities "
        "and gives small gradients",
        '{remove}, or remove {again} from the loss and set loss.outputs = "probabilities"',
    ),
    "outputs-misread": Rule(
        "warning",
        "metrics and predictions take the outputs for {taken}, because loss.outputs does not say what a loss "
        "of your own takes; they are computed from wrong probabilities and classes",
        'set loss.outputs = "{said}"',
    ),
    "outputs-no-probabilities": Rule(
        "warning",
        "metrics and predictions take the outputs for probabilities, as loss.outputs says",
        'set loss.outputs = "logits", or end the model with {end}',
    ),
    "classes-as-numbers": Rule(
        "warning",
        "a squared or absolute error takes class 2 for twice class 1, although the numbers are only names",
        'set loss.name = "CrossEntropyLoss", with one output for each class in the model',
    ),
    "squared-error-on-classes": Rule(
        "hint",
        "class labels are compared as zeros and ones; {usual} usually learns classes faster and gives "
        "probabilities",
        'set loss.name = "{usual}"',
    ),
    "targets-out-of-reach": Rule(
        "error",
        "the model cannot predict these targets, whatever its weights are",
        "{remedy}",
    ),
    "regression-on-classes": Rule(
        "hint",
        "the targets look like classes, but the model learns to predict a number",
        'set data.task = "{task}" if they are classes',
    ),
    "targets-broadcast": Rule(
        "error",
        "torch repeats the smaller tensor, so that each output is compared with the targets of all samples "
        "and the model learns their mean",
        "give both the same shape in the loss: {line}",
    ),
    "targets-repeated": Rule(
        "warning",
        "torch repeats the smaller tensor, so that several outputs are compared with the same target",
        "give both the same shape in the loss, or give the model as many outputs as there are targets",
    ),
    "targets-require-grad": Rule(
        "error",
        "the loss would also send gradients into the targets, through whatever computed them",
        "return targets.detach() from the dataset",
    ),
    "outputs-alike": Rule(
        "warning",
        "outputs that do not depend on the inputs cannot tell samples apart; typical causes are dead "
        "ReLUs, a softmax over a single output, and inputs of extreme size",
        "check the last layers and the initialization of the model, and data.normalize",
    ),
    "first-loss": Rule(
        "warning",
        "an untrained model that does not favor a class has a loss near {expected}; a much larger one means "
        "outputs of extreme size or a wrong number of outputs",
        "check the number of outputs, data.normalize and model.init",
    ),
    "scale-of-outputs": Rule(
        "hint",
        "a factor in the model gives the outputs this size; a large one makes an untrained model sure of "
        "wrong classes, which is intended in heads of scaled cosines (CosFace, ArcFace)",
        "lower this factor if the loss does not fall",
    ),
    # Model
    "active-in-evaluation": Rule(
        "warning",
        "a layer that is meant for training stays active in evaluation, so that metrics and predictions "
        "depend on chance or on the batch",
        "{remedy}",
    ),
    "statistics-change-in-evaluation": Rule(
        "error",
        "the running mean and variance of batch norm are updated with validation data, and evaluating "
        "changes the model that is trained",
        "remove what sets these layers back to training mode (a call of .train() in forward, or a train() of "
        "your own that ignores its mode), or pass training=self.training to F.batch_norm",
    ),
    "outputs-depend-on-batch": Rule(
        "warning",
        "the prediction for a sample must not depend on the samples beside it; typical causes are an "
        "nn.LSTM, nn.GRU or nn.MultiheadAttention without batch_first=True, and a mean, std, max or softmax "
        "over dim 0 or over the whole batch",
        "look for these in forward, and compute over the other dimensions",
    ),
    "batch-norm-after-dropout": Rule(
        "warning",
        "dropout changes the variance in training only, so the running variance does not fit in evaluation "
        "(Li et al. 2019)",
        "put dropout behind batch norm and the activation",
    ),
    "unregistered-parameters": Rule(
        "error",
        "they receive gradients, but the model does not know them: they are not trained, not moved to the "
        "device and missing in every checkpoint",
        "{line}",
    ),
    "parameters-without-gradient": Rule(
        "warning",
        "they are never trained: the layers are not used in forward, or what they compute is detached",
        "remove the layers, or look for detach(), .data, torch.no_grad() and argmax in forward; if it is "
        "intended, set model.freeze = [{patterns}]",
    ),
    "parameters-seldom-used": Rule(
        "hint",
        "which layers a step trains depends on its samples or on chance; these were not among them",
        "nothing is wrong if they are used rarely by design; otherwise check what forward uses them for",
    ),
    "frozen-in-optimizer": Rule(
        "warning",
        "the optimizer never changes them, but keeps them in its parameter groups",
        "remove requires_grad_(False) from the model's code and set model.freeze instead",
    ),
    "missing-in-optimizer": Rule(
        "warning",
        "they require gradients, but no step changes them",
        "{remedy}",
    ),
    "decay-on-norm-and-bias": Rule(
        "hint",
        "weight decay on biases and norms rarely helps and often costs accuracy (He et al. 2019, Bag of "
        "Tricks)",
        "set optimizer.decay_norm_and_bias = false",
    ),
    # Inputs
    "inputs-not-normalized": Rule(
        "warning",
        "the default initialization and usual learning rates expect inputs with a mean near 0 and a standard "
        "deviation near 1",
        "{remedy}",
    ),
    "normalized-twice": Rule(
        "warning",
        "inputs that are normalized already are shifted and scaled once more",
        "{remedy}",
    ),
    "transforms-differ": Rule(
        "warning",
        "the model is evaluated on inputs of another range than those it is trained on",
        "use the same {what} in data.transforms.train and data.transforms.val",
    ),
    # Samples
    "classes-unbalanced": Rule(
        "warning",
        "a model can reach a low loss by predicting only the frequent classes",
        'set loss.weight = "balanced" or data.sampler = "balanced", and watch val/f1 instead of val/accuracy',
    ),
    "classes-absent": Rule(
        "warning",
        "{consequence}",
        "{remedy}",
    ),
    "samples-in-both-parts": Rule(
        "warning",
        "the validation metrics then measure what was memorized instead of what was learned",
        "remove the copies from one of the parts, or split by what they have in common before copying",
    ),
    "few-samples-in-both-parts": Rule(
        "hint",
        "equal samples in both parts make the validation metrics a little too good",
        "remove the copies from one of the parts, unless equal samples are natural in this data",
    ),
    # Learning rate and length
    "lr-unusual": Rule(
        "warning",
        "{optimizer} usually {what} with a learning rate {bound}; {source}",
        "set {key} = {usual:g} or another value of that size",
    ),
    "lr-invalid": Rule(
        "error",
        "a negative learning rate raises the loss, and one that is not finite makes all weights nan",
        "correct what the scheduler returns, or end its part of the schedule earlier with `until`",
    ),
    "schedule-fails": Rule(
        "error",
        "the run would end there",
        "correct the scheduler, or end its part of the schedule earlier with `until`",
    ),
    "lr-never-changes": Rule(
        "warning",
        "the schedule has no effect within this run",
        "{remedy}",
    ),
    "lr-vanishes": Rule(
        "warning",
        "the rest of the run can hardly change the weights",
        "{remedy}",
    ),
    "schedule-length": Rule(
        "warning",
        "{consequence}",
        "remove {key}, so that the length of the run is used, or set it to {length}",
    ),
    "schedule-never-begins": Rule(
        "warning",
        "the run ends during an earlier part of the schedule",
        "{remedy}",
    ),
    "patience-too-long": Rule(
        "hint",
        "early stopping cannot end this run",
        "evaluate more often (training.eval_every), or lower early_stopping.patience",
    ),
    "batch-too-large": Rule(
        "warning",
        "an epoch is then a single step, and few steps train little",
        "lower data.batch_size, for example to {usual}",
    ),
    "batch-holds-all": Rule(
        "hint",
        "an epoch is then a single step",
        "lower data.batch_size, for example to {usual}, unless whole-batch training is intended",
    ),
    # Machine
    "too-many-workers": Rule(
        "warning",
        "more data loader workers than cores take turns and slow each other and the training down",
        'set data.num_workers = {workers}, or "auto"',
    ),
    "shared-memory-too-small": Rule(
        "warning",
        "workers pass their batches through shared memory, and are killed when it is full",
        "{remedy}",
    ),
    "step-exceeds-memory": Rule(
        "warning",
        "the run may be ended by the system or fail when memory runs out",
        "lower data.batch_size and raise training.grad_accum_steps instead",
    ),
    # Resuming
    "resume-not-exact": Rule(
        "warning",
        "checkpoints do not have it, so a resumed run differs from one that was never stopped (this is a "
        "heuristic: ignore it if the training does not depend on it)",
        "{remedy}",
    ),
    # Numbers
    "nonfinite-loss": Rule(
        "error",
        'a step on it makes all weights nan; a run stops there, or skips it with training.nonfinite = "skip"',
        "{remedy}",
    ),
    "nonfinite-gradients": Rule(
        "error",
        "a step with a nan gradient makes the weights nan, and training.clip_norm cannot mend it",
        "look for operations without a finite derivative: sqrt, norm and pow at 0, a division by 0, and "
        "torch.where around one of these; add a small number inside, as in torch.sqrt(x + 1e-8)",
    ),
    "nonfinite-weights": Rule(
        "error",
        "every loss after it would be nan",
        "lower optimizer.lr, which is {lr}, or set training.clip_norm = 1.0",
    ),
    "nonfinite-validation-loss": Rule(
        "error",
        "early stopping, the best checkpoint and schedules that watch val/loss cannot work with it",
        "look for nan in the validation data, and for a division by 0 or a log of 0 that only it meets",
    ),
    "fp16-overflows": Rule(
        "error",
        "the gradients are not finite in fp16 even without scaling, so that every step is skipped",
        'set training.precision = "bf16" or "fp32"',
    ),
}


def finding(
    name: str,
    evidence: str,
    *,
    level: Level | None = None,
    rules: Mapping[str, Rule] = RULES,
    **names: object,
) -> Finding:
    """Return the finding `name` of a table, with `names` filled into its reason and remedy.

    `level` is set where a finding is less certain than others of this name.
    """
    rule = rules[name]
    return Finding(
        level=level or rule.level,
        name=name,
        evidence=evidence,
        reason=rule.reason.format(**names),
        remedy=rule.remedy.format(**names),
    )

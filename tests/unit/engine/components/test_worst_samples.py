"""The loss of each sample, and the samples with the highest ones, checked by hand computation."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.specs import USER_CODE, batch, spec, trusted_file
from torchconsole.engine.components.data.datasets import CorruptSamples, Places
from torchconsole.engine.components.data.types import DataSpec, TaskType
from torchconsole.engine.components.loss_adapters import LOSS_ADAPTERS
from torchconsole.engine.components.losses import Loss, build_loss
from torchconsole.engine.components.worst_samples import WorstSamples, why_no_worst_samples
from torchconsole.engine.config.data_schema import TargetScaleConfig
from torchconsole.engine.config.schema import LossConfig
from torchconsole.engine.protocol.info import WorstSample


def make(of: DataSpec, **config: Any) -> Loss:
    return build_loss(LossConfig.model_validate(config), of, None, USER_CODE)


def activated(loss: Loss, outputs: Tensor) -> Tensor:
    """The outputs of a model whose last layer gives what the loss takes."""
    form = loss.outputs.form
    if form == "probabilities":
        return outputs.sigmoid()
    return outputs.log_softmax(1) if form == "log_probabilities" else outputs


def worst(loss: Loss, of: DataSpec, count: int, *batches: tuple[Tensor, Tensor]) -> list[WorstSample]:
    kept = WorstSamples(count, loss, of)
    for outputs, targets in batches:
        kept.update(outputs, targets)
    return kept.result(lambda index: f"sample {index}")


CASES = [(name, task) for name, adapter in LOSS_ADAPTERS.items() for task in adapter.tasks]


@pytest.mark.parametrize(("name", "task"), CASES)
def test_the_losses_of_samples_are_those_of_batches_of_one(name: str, task: TaskType) -> None:
    width = 1 if task == "binary" and LOSS_ADAPTERS[name].is_elementwise else 2 if task == "binary" else 3
    of = spec(task, 1 if task == "binary" else 3)
    loss = make(of, name=name)
    outputs, targets = batch(of)
    outputs = activated(loss, outputs[:, :width].repeat(1, width // outputs.shape[1]).detach())
    losses = loss.per_sample(outputs, targets)
    alone = [loss(outputs[at : at + 1], targets[at : at + 1]) for at in range(len(targets))]
    torch.testing.assert_close(losses, torch.stack(alone))
    torch.testing.assert_close(losses.mean(), loss(outputs, targets))
    assert loss.losses[0].loss.reduction in ("mean", "batchmean")  # type: ignore[union-attr]


@pytest.mark.parametrize("reduction", ["mean", "batchmean"])
def test_the_losses_of_samples_have_the_reduction_over_classes(reduction: str) -> None:
    of = spec("multiclass")
    loss = make(of, name="KLDivLoss", reduction=reduction)
    outputs, targets = batch(of)
    losses = loss.per_sample(outputs.log_softmax(1), targets)
    torch.testing.assert_close(losses.mean(), loss(outputs.log_softmax(1), targets))


def test_class_weights_multiply_the_losses_of_samples() -> None:
    of = spec("multiclass")
    outputs, targets = batch(of)
    weights = [1.0, 2.0, 5.0]
    losses = make(of, weight=weights).per_sample(outputs, targets)
    torch.testing.assert_close(losses, make(of).per_sample(outputs, targets) * torch.tensor(weights)[targets])


def test_a_sum_of_losses_is_summed_for_each_sample() -> None:
    of = spec("multiclass")
    outputs, targets = batch(of)
    loss = make(of, factor=0.5, also=[{"name": "MultiMarginLoss", "factor": 2.0}])
    expected = 0.5 * make(of).per_sample(outputs, targets) + 2 * make(of, name="MultiMarginLoss").per_sample(
        outputs, targets
    )
    torch.testing.assert_close(loss.per_sample(outputs, targets), expected)


def test_outputs_that_are_no_probabilities_make_the_loss_of_their_sample_nan() -> None:
    of = spec("multilabel")
    outputs = torch.tensor([[0.2, 0.9, 0.5], [math.nan, 0.5, 0.5]])
    losses = make(of, name="BCELoss").per_sample(outputs, torch.zeros(2, 3))
    assert losses.isnan().tolist() == [False, True]


def test_the_highest_losses_of_all_batches_are_kept() -> None:
    of = spec("multiclass")
    outputs, targets = (each.detach() for each in batch(of, 40))
    loss = make(of)
    expected = torch.nn.functional.cross_entropy(outputs, targets, reduction="none").sort(descending=True)
    found = worst(loss, of, 5, *zip(outputs.split(7), targets.split(7), strict=True))
    assert [each.index for each in found] == expected.indices[:5].tolist()
    assert [each.loss for each in found] == pytest.approx(expected.values[:5].tolist())
    probabilities = outputs.softmax(1)
    for each in found:
        label = int(targets[each.index])
        assert (each.place, each.label) == (f"sample {each.index}", "abc"[label])
        assert each.predicted == "abc"[int(probabilities[each.index].argmax())]
        assert each.probability == pytest.approx(float(probabilities[each.index].max()))
        assert each.label_probability == pytest.approx(float(probabilities[each.index, label]))


def test_fewer_samples_than_asked_for_are_all_kept_and_a_loss_that_is_nan_comes_first() -> None:
    of = spec("binary", 1)
    outputs = torch.tensor([[3.0], [math.nan], [-1.0]])
    found = worst(make(of), of, 9, (outputs, torch.tensor([[1.0], [1.0], [1.0]])))
    assert [(each.index, each.loss is None) for each in found] == [(1, True), (2, False), (0, False)]
    assert (found[1].label, found[1].predicted) == ("b", "a")
    assert found[1].probability == pytest.approx(1 / (1 + math.exp(-1)))


def test_squeezed_outputs_and_a_batch_of_one_sample() -> None:
    of = spec("binary", 1)
    pairs = [(torch.tensor([1.0, -2.0]), torch.ones(2, 1)), (torch.tensor(-5.0), torch.ones(1, 1))]
    assert [each.index for each in worst(make(of), of, 2, *pairs)] == [2, 1]


def test_several_labels_are_listed() -> None:
    of = spec("multilabel", 6)
    found = worst(make(of), of, 1, (torch.tensor([[9.0, -9, 9, -9, -9, -9]]), torch.ones(1, 6)))
    assert (found[0].label, found[0].predicted) == ("a, b, c, d, ...", "a, c")
    assert found[0].probability is None
    assert worst(make(of), of, 1, (-torch.ones(1, 6), torch.zeros(1, 6)))[0].label == "none"


def test_values_are_in_the_unit_of_the_targets() -> None:
    of = replace(spec("regression", 1), target_scale=TargetScaleConfig(mean=[100.0], std=[10.0]))
    found = worst(make(of), of, 1, (torch.tensor([[0.5], [3.0]]), torch.tensor([[0.0], [1.0]])))
    assert (found[0].index, found[0].loss, found[0].true, found[0].values) == (1, 4.0, [110.0], [130.0])
    assert (found[0].label, found[0].predicted) == ("110", "130")


def test_values_close_to_zeros_and_ones_have_no_probability() -> None:
    of = spec("multiclass")
    found = worst(make(of, name="MSELoss"), of, 1, (torch.tensor([[0.1, 1.4, 0.2]]), torch.tensor([0])))
    assert (found[0].label, found[0].predicted, found[0].probability) == ("a", "b", None)


def test_a_loss_of_the_users_own_has_no_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = trusted_file(tmp_path, monkeypatch, "from torch import nn\nclass Own(nn.MSELoss): pass\n")
    of = spec("regression", 1)
    for config in ({"name": f"{file}:Own"}, {"name": "MSELoss", "also": [{"name": f"{file}:Own"}]}):
        assert "gives one number for a whole batch" in why_no_worst_samples(make(of, **config))
    assert why_no_worst_samples(make(of)) == ""


def test_a_place_is_that_of_the_sample_which_replaced_a_corrupt_one() -> None:
    corrupt = CorruptSamples(5, limit=3)
    for number in (4, 0):
        corrupt._marks[number] = True
    places = Places(lambda number: f"{number}.png", torch.tensor([2, 4, 0, 3]), corrupt)
    assert [places(index) for index in range(4)] == ["2.png", "3.png", "3.png", "3.png"]
    assert Places(None, torch.tensor([2, 4]))(1) == "sample 4"
    assert Places(None, None, corrupt)(4) == "sample 1"

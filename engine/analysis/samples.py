"""The first training batch of a preset after its transforms, before it is normalized, for the eyes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from torchconsole.engine.analysis.check_report import print_phase
from torchconsole.engine.components.data import DataBuilder, open_data
from torchconsole.engine.components.data.in_memory import CPU
from torchconsole.engine.components.data.sources import arrays
from torchconsole.engine.components.data.target_scaling import data_config_for
from torchconsole.engine.components.data.texts.tokenizing import PADDING, UNKNOWN
from torchconsole.engine.components.instantiate import UserCode
from torchconsole.engine.config.loading import read_preset
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.protocol.reports import TrainingSample, TrainingSamples

MOST_SAMPLES = 16
MOST_VALUES = 24
"""Values of a row that are reported, the first ones."""

MOST_PIXELS = 64
"""Pixels along the longer side of a picture; larger ones are reduced."""

MOST_LABELS = 3
_LEAST_SHARE = 0.005


def sample_report(preset_file: str) -> TrainingSamples:
    """Return the first batch of the first epoch. Raises what the start of a run raises for its data."""
    preset = read_preset(Path(preset_file))
    user_code = UserCode.of(preset)
    config = data_config_for(preset)
    # Values are shown in their own unit. Without a mean, whole numbers of arrays would be indices.
    if config.name not in arrays.FILES:
        config = config.model_copy(update={"normalize": "none"})
    config = config.model_copy(update={"scale_target": False, "num_workers": 0})
    opened = open_data(config, preset.training, print_phase, user_code)
    data = opened.build(CPU, in_memory=False)
    inputs, targets = next(iter(data.train.epoch(0)))
    inputs, targets = inputs[:MOST_SAMPLES], targets[:MOST_SAMPLES]
    order = opened.order.indices(0)[: len(targets)].tolist()
    samples = [
        TrainingSample(place=data.places["training"](index), label=_label(target, opened))
        for index, target in zip(order, targets, strict=True)
    ]
    return _with_inputs(samples, inputs, opened, preset)


def _with_inputs(
    samples: list[TrainingSample], inputs: Tensor, opened: DataBuilder, preset: Preset
) -> TrainingSamples:
    facts = {"shape": list(inputs.shape[1:]), "batch_size": preset.data.batch_size}
    if opened.splits.texts is not None:
        words = preset.data.arguments.get("tokenizer", "words") == "words"
        names = opened.splits.texts.vocabulary.split(" ") if words else list(opened.splits.texts.vocabulary)
        texts = [_text(row.tolist(), names, " " if words else "") for row in inputs]
        found = [
            sample.model_copy(update={"text": text}) for sample, text in zip(samples, texts, strict=True)
        ]
        return TrainingSamples(kind="texts", samples=found, **facts)
    if inputs.ndim == 4 and inputs.shape[1] in (1, 3) and inputs.is_floating_point():
        pictures, is_scaled = _pictures(inputs)
        height, width = pictures.shape[1:3]
        encoded = [base64.b64encode(picture.numpy().tobytes()).decode() for picture in pictures]
        found = [
            sample.model_copy(update={"pixels": each}) for sample, each in zip(samples, encoded, strict=True)
        ]
        return TrainingSamples(
            kind="images", samples=found, picture=[height, width, 3], is_scaled=is_scaled, **facts
        )
    rows = inputs.reshape(len(inputs), -1)[:, :MOST_VALUES].double()
    found = [
        sample.model_copy(update={"values": [value if abs(value) < 1e300 else None for value in row]})
        for sample, row in zip(samples, rows.tolist(), strict=True)
    ]
    return TrainingSamples(kind="rows", samples=found, columns=_columns(opened, inputs[0].numel()), **facts)


def _pictures(inputs: Tensor) -> tuple[Tensor, bool]:
    """Return images (B, C, H, W) as bytes (B, H, W, 3), and whether their range had to be scaled."""
    longest = max(inputs.shape[2:])
    if longest > MOST_PIXELS:
        size = [max(1, round(side * MOST_PIXELS / longest)) for side in inputs.shape[2:]]
        inputs = F.interpolate(inputs, size, mode="area")
    low, high = (float(value) for value in inputs.aminmax())
    is_scaled = low < -0.01 or high > 1.01
    if is_scaled:
        inputs = (inputs - low) / max(high - low, 1e-12)
    found = inputs.clamp(0, 1).mul(255).round().to(torch.uint8).movedim(1, -1)
    return found.expand(-1, -1, -1, 3).contiguous(), is_scaled


def _text(tokens: Sequence[int], names: Sequence[str], between: str) -> str:
    """Return the text that a row of tokens stands for; `?` is what the vocabulary does not have."""
    known = [
        names[token - UNKNOWN - 1] if UNKNOWN < token <= UNKNOWN + len(names) else "?"
        for token in tokens
        if token != PADDING
    ]
    return between.join(known)


def _columns(opened: DataBuilder, width: int) -> list[str]:
    """Return the names of a row's values; none if they have no names."""
    features = opened.splits.features
    names = [feature.name for feature in features if feature.kind != "categorical"]
    names += [f"{each.name}={category}" for each in features for category in each.categories]
    return names[:MOST_VALUES] if len(names) == width else []


def _label(target: Tensor, opened: DataBuilder) -> str:
    """Return the class of a sample, its labels, the shares of mixed classes, or its values."""
    names = opened.spec.class_names
    if opened.task == "regression":
        return ", ".join(f"{value:.6g}" for value in target.reshape(-1)[:MOST_LABELS].tolist())
    if not target.is_floating_point():
        return names[int(target)]
    shares = target.reshape(-1)
    if opened.task == "binary":
        share = float(shares[0])
        return names[int(share)] if share in (0.0, 1.0) else f"{names[1]} {share:.2f}"
    top = shares.topk(min(MOST_LABELS, len(shares)))
    pairs = [(names[i], v) for v, i in zip(top.values.tolist(), top.indices.tolist(), strict=True)]
    shown = [name if share == 1 else f"{name} {share:.2f}" for name, share in pairs if share > _LEAST_SHARE]
    return ", ".join(shown) or "none"

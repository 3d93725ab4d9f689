"""Any arguments of a component either work for a batch or are reported in one line."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.sessions import setup_for
from torchconsole.engine.config.catalogue import Catalogue
from torchconsole.engine.config.loading import validate
from torchconsole.engine.config.preset_files import read_inherited
from torchconsole.engine.config.preset_index import find_preset
from torchconsole.engine.config.schema import Preset
from torchconsole.engine.errors import PresetError, TorchconsoleError

NUMBERS = [0, -1, 1, 3, 10**9, 2**63 - 1, 0.0, -0.5, 0.5, 1e308, float("nan")]
values: st.SearchStrategy[Any] = (
    st.sampled_from(NUMBERS)
    | st.sampled_from(["", "none", True, [], {}])
    | st.lists(st.sampled_from([0, -1, 2, 0.5, "x"]), max_size=3)
)

SECTIONS = {
    "optimizer": ["AdamW", "SGD", "RMSprop", "NAdam", "Rprop", "ASGD", "Adafactor"],
    "loss": ["CrossEntropyLoss", "MultiMarginLoss", "BCEWithLogitsLoss", "NLLLoss", "KLDivLoss"],
    "model": ["MLP", "SmallCNN", "SequenceClassifier"],
}
LISTS = {
    "schedule": [
        "StepLR",
        "CosineAnnealingLR",
        "OneCycleLR",
        "CyclicLR",
        "ReduceLROnPlateau",
        "PolynomialLR",
        "Table",
    ],
    "metrics": ["Accuracy", "F1Score", "AUROC", "ConfusionMatrix", "CalibrationError"],
}
TRANSFORMS = ["Resize", "CenterCrop", "Pad", "RandomCrop", "RandomRotation", "GaussianBlur", "RandomErasing"]
DATA = [
    "batch_size",
    "eval_batch_size",
    "val_split",
    "test_split",
    "limit",
    "overfit_batches",
    "task",
    "normalize",
]
# Large values of these are valid and would need the corresponding memory.
COSTLY = {"size", "padding", "hidden", "channels", "kernel_size", "hidden_size", "num_layers", "proj_size"}


@st.composite
def contents(draw: st.DrawFn, known: Catalogue) -> dict[str, Any]:
    """Draw digits-mlp with another component that has up to two arguments with arbitrary values."""
    content = read_inherited(find_preset("digits-mlp").path)
    content["training"] = {"epochs": 2, "device": "cpu"}
    section = draw(st.sampled_from([*SECTIONS, *LISTS, "transform", "data"]))
    if section == "data":
        content["data"][draw(st.sampled_from(DATA))] = draw(values)
    elif section == "transform":
        part = draw(st.sampled_from(["train", "val"]))
        content["data"]["transforms"] = {part: [draw(component(known, "transform", TRANSFORMS))]}
    elif section in LISTS:
        kind = "metric" if section == "metrics" else section
        content[section] = [draw(component(known, kind, LISTS[section]))]
    else:
        content[section] = draw(component(known, section, SECTIONS[section]))
    return content


@st.composite
def component(draw: st.DrawFn, known: Catalogue, kind: str, names: list[str]) -> dict[str, Any]:
    """Draw a component with up to two of its arguments."""
    name = draw(st.sampled_from(names))
    names_of_arguments = sorted(known.kinds[kind][name].arguments)  # type: ignore[index]
    given = {key: draw(values) for key in draw(st.lists(st.sampled_from(names_of_arguments), max_size=2))}
    return {"name": name, **{key: _limit_size(key, value) for key, value in given.items()}}


def _limit_size(key: str, value: Any) -> Any:
    return 5 if key in COSTLY and isinstance(value, int) and value > 1000 else value


@pytest.mark.filterwarnings("ignore")
@settings(
    max_examples=150,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_arguments_work_or_are_reported_in_one_line(catalogue: Catalogue, data: st.DataObject) -> None:
    content = data.draw(contents(catalogue))
    try:
        preset: Preset = validate(content, "mine.toml", catalogue)
    except PresetError:
        return
    try:
        with warnings.catch_warnings(action="ignore"):
            setup_for(preset)
    except TorchconsoleError as error:
        (line,) = str(error).splitlines()
        assert line.partition(":")[0].partition(".")[0] in content, line

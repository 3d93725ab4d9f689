"""Which keys of the preset of a live run may change, and what is said of the others."""

from __future__ import annotations

from typing import Any

import pytest

from torchconsole.engine.config.live_policy import change_live, live_keys
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.resume_policy import POLICY
from torchconsole.engine.errors import PresetError

PRESET = load_preset("digits-mlp", ["early_stopping.mode=min", "training.log_every=2"])
WITHOUT = load_preset("digits-mlp", ["early_stopping="])


@pytest.mark.parametrize(
    ("setting", "detail"),
    [
        ("training.clip_norm=1.0", "training.clip_norm unset -> 1.0"),
        ("training.clip_norm_type=inf", "training.clip_norm_type 2.0 -> inf"),
        ("training.log_every = 5", "training.log_every 2 -> 5"),
        ("training.eval_interval=step", "training.eval_interval epoch -> step"),
        ("early_stopping.restore_best=true", "early_stopping.restore_best false -> true"),
        ("checkpoint.keep=-1", "checkpoint.keep 2 -> -1"),
        ("title=lr = 0.1, again", "title Digits, small MLP -> lr = 0.1, again"),
        ("data.num_workers=2", "data.num_workers auto -> 2, from the next epoch on"),
    ],
)
def test_a_change_is_described(setting: str, detail: str) -> None:
    change = change_live(PRESET, setting)
    key, _, value = setting.partition("=")
    assert change.preset == load_preset(
        "digits-mlp", ["early_stopping.mode=min", "training.log_every=2", f"{key.strip()}={value}"]
    )
    assert change.detail == detail
    assert change.place == key.strip()


def test_a_key_can_be_unset() -> None:
    change = change_live(change_live(PRESET, "training.clip_norm=1").preset, "training.clip_norm=")
    assert change.preset == PRESET
    assert change[1:] == ("training.clip_norm 1.0 -> unset", "training.clip_norm", 1.0, None)


def test_early_stopping_can_be_added_and_removed() -> None:
    added = change_live(WITHOUT, "early_stopping.patience=5")
    assert (added.place, added.before) == ("early_stopping", None)
    assert added.detail == "early_stopping.patience unset -> 5"
    assert added.after["patience"] == 5
    removed = change_live(added.preset, "early_stopping=")
    assert removed.preset.early_stopping is None
    assert removed[2:] == ("early_stopping", added.after, None)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.clip_nrom=1", "training.clip_nrom: unknown key, did you mean 'clip_norm'"),
        ("training.clip_norm=much", "training.clip_norm: must be a valid number, got 'much'"),
        ("training.clip_norm=-1", "training.clip_norm: must be greater than 0, got -1"),
        ("training.eval_interval=steps", "training.eval_interval: "),
        ("training.log_every=2", "training.log_every is 2 already"),
        ("training.clip_norm=", "training.clip_norm is unset already"),
        ("training.clip=", "training.clip: unknown key"),
        (
            "training.epochs=90",
            "training.epochs changes on a resume only: stop the run, then "
            "torchconsole resume RUN --set training.epochs=90",
        ),
        ("tracking={csv = true}", "torchconsole resume RUN --set 'tracking={csv = true}'"),
        ("data.batch_size=3", "data.batch_size never changes within a run: the run could not continue with"),
        (
            "optimizer.lr=0.1",
            "optimizer.lr never changes within a run: the schedule is based on it; for a live ",
        ),
        (
            "early_stopping.monitor=val/accuracy",
            "early_stopping.monitor never changes within a run: it deter",
        ),
        ("early_stopping", "write key=value"),
    ],
)
def test_other_settings_are_refused_with_the_reason(setting: str, message: str) -> None:
    with pytest.raises(PresetError) as caught:
        change_live(PRESET, setting)
    assert message in str(caught.value)
    assert not str(caught.value).startswith("--set")


def test_the_keys_that_may_change_have_their_present_values() -> None:
    found: dict[str, Any] = live_keys(PRESET.model_dump(mode="json", exclude_none=True))
    assert found["training.log_every"] == 2
    assert found["training.clip_norm"] is None
    assert all(POLICY[key].when in ("now", "next epoch") for key in found)

"""Presets are found, read, overridden and written back; every error is named."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path

import pytest

from torchconsole.engine.config.data_schema import NormalizeConfig
from torchconsole.engine.config.loading import dump_preset, load_preset, read_preset, write_preset
from torchconsole.engine.config.preset_index import find_preset, list_presets
from torchconsole.engine.errors import PresetError

INVALID = """
title = "four errors"
[data]
name = "digits"
batch_size = "fast"
[model]
[training]
epoch = 3
epochs = 0
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with ./presets; the user's config folder is empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "presets").mkdir()
    return tmp_path


def test_built_in_presets_are_listed_with_title_and_description(folder: Path) -> None:
    entries = {entry.name: entry for entry in list_presets()}
    assert {"digits-mlp", "digits-cnn"} <= set(entries)
    assert all(entry.title and entry.description and not entry.problem for entry in entries.values())


@pytest.mark.parametrize("name", [entry.name for entry in list_presets()])
def test_every_built_in_preset_is_valid(name: str) -> None:
    assert load_preset(name).title


def test_a_preset_in_the_working_folder_takes_precedence(folder: Path) -> None:
    path = folder / "presets" / "digits-mlp.toml"
    path.write_text('title = "mine"\n[data]\nname = "digits"\n[model]\nname = "MLP"\n')
    assert find_preset("digits-mlp").path == path
    assert load_preset("digits-mlp").title == "mine"


def test_an_unreadable_preset_is_listed_with_its_problem(folder: Path) -> None:
    (folder / "presets" / "broken.toml").write_text("title = [")
    entry = next(entry for entry in list_presets() if entry.name == "broken")
    assert "not valid TOML" in entry.problem
    with pytest.raises(PresetError, match=r"broken\.toml: is not valid TOML"):
        load_preset("broken")


def test_a_preset_with_values_of_wrong_types_is_listed(folder: Path) -> None:
    (folder / "presets" / "odd.toml").write_text("title = 3\ndescription = []\n[data]\nname = {a = [1]}\n")
    entry = next(entry for entry in list_presets() if entry.name == "odd")
    assert (entry.title, entry.description, entry.bundled) == ("odd", "", False)


def test_every_error_names_file_key_and_nearest_name(folder: Path) -> None:
    path = folder / "mine.toml"
    path.write_text(INVALID)
    with pytest.raises(PresetError) as caught:
        load_preset("mine.toml")
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert all(line.startswith(str(path)) for line in lines)
    assert "data.batch_size: must be a valid integer, got 'fast'" in lines[0]
    assert "model.name: is missing" in lines[1]
    assert "training.epochs: must be at least 1, got 0" in lines[2]
    assert "training.epoch: unknown key, did you mean 'epochs'?" in lines[3]


def test_every_schedule_but_the_last_needs_until(folder: Path) -> None:
    with pytest.raises(PresetError, match=r"schedule\.0\.until: is missing; LinearLR is followed by"):
        load_preset("digits-mlp", ["schedule=[{name='LinearLR'}, {name='CosineAnnealingLR'}]"])


def test_an_error_names_the_override_that_caused_it(folder: Path) -> None:
    path = folder / "mine.toml"
    path.write_text(INVALID)
    with pytest.raises(PresetError) as caught:
        load_preset("mine.toml", ["model.name=MLP", "training.epochs=-1", "training.seed=7"])
    lines = str(caught.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == [str(path), "--set training.epochs=-1", str(path)]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("digits-ccn", "did you mean 'digits-cnn'?"),
        ("zzz", "available: "),
        ("my_net.py", "presets are .toml files"),
    ],
)
def test_an_unknown_name_gets_a_suggestion(folder: Path, name: str, hint: str) -> None:
    with pytest.raises(PresetError) as caught:
        load_preset(name)
    assert hint in str(caught.value)


def test_overrides_set_keys_at_any_depth(folder: Path) -> None:
    preset = load_preset(
        "digits-mlp", ["optimizer.lr=0.5", "schedule.0.until=7", "training.device=cpu", "model.hidden=[8]"]
    )
    assert preset.optimizer.lr == 0.5
    assert preset.schedule[0].until == 7
    assert preset.training.device == "cpu"
    assert preset.model.arguments["hidden"] == [8]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lr", "write key=value"),
        ("schedule.9.until=1", "'9' must be a number from 0 to 1"),
        ("title.x=1", "'title' is a value, not a section"),
        ("optimizer.lr=nan", "--set optimizer.lr=nan: optimizer.lr"),
        ("foo.bar=1", "--set foo.bar=1: foo: unknown key"),
        ("log_every=10", "--set log_every=10: log_every: unknown key, did you mean 'training.log_every'?"),
        ("training.lr=1", "training.lr: unknown key, did you mean 'optimizer.lr'?"),
        ("training.channels_last=True", "training.channels_last: must be true or false, got 'True'"),
        ("data.in_memory=yes", "data.in_memory: must be 'auto' or true or false, got 'yes'"),
        ("training.epohcs=", "training.epohcs: unknown key, did you mean 'epochs'?"),
        ("a=", "--set a=: a: unknown key"),
        ("early_stopping.patient=", "early_stopping.patient: unknown key, did you mean 'patience'?"),
        ("training={epochs=0}", "--set training={epochs=0}: training.epochs"),
        ("optimizer=3", "optimizer: must be a section (a table of keys), got 3"),
        (
            "data.normalize=3",
            "data.normalize: must be 'auto' or 'none' or a section (a table of keys), got",
        ),
        ("data.val_split=x", "data.val_split: must be a valid number or a valid integer, got 'x'"),
        (
            "data.normalize={mean=[0.0], std=[0.0]}",
            "data.normalize.std.0: must be greater than 0, got 0",
        ),
        ('loss.weight=[1.0, "x"]', "loss.weight.1: must be a valid number, got 'x'"),
        ("model.when=2026-01-01", "model.when: must not be a date or a time"),
        ("training.seed=99999999999999999999", "training.seed: must fit into 64 bits"),
        ("title=\udcff", "title: is not Unicode text"),
        ("a\nb.c=1", "'a\\nb': unknown key"),
        ("metrics=3", "metrics: must be a valid list, got 3"),
        ('schedule=[{name="ChainedScheduler"}]', "schedule.0.schedulers: is missing; list the schedulers"),
        ('schedule=[{name="LinearLR", schedulers=[{name="LinearLR"}]}]', "only ChainedScheduler takes this"),
        (
            'schedule=[{name="StepLR", step_size=1, until=9}, {name="LinearLR", total_iters=3, until=9}]',
            "schedule.1.until: LinearLR would end at 9, before it starts at 9",
        ),
        ("schedule=[3]", "schedule.0: must be a section (a table of keys), got 3"),
        ("training.device=tpu", "training.device: must be auto, cpu, mps, cuda or cuda:N, got 'tpu'"),
    ],
)
def test_an_invalid_override_gives_one_line(folder: Path, override: str, message: str) -> None:
    with pytest.raises(PresetError) as caught:
        load_preset("digits-mlp", [override])
    (line,) = str(caught.value).splitlines()
    assert line.startswith("--set ")
    assert message in line


def test_known_keys_can_be_removed_whether_set_or_not(folder: Path) -> None:
    (folder / "mine.toml").write_text(
        'title = "mine"\n[data]\nname = "digits"\n[model]\nname = "MLP"\n[training]\nepohcs = 3\n'
    )
    unset = ["early_stopping.patience=", "training.max_steps=", "loss=", "optimizer.momentum="]
    preset = load_preset("mine.toml", ["training.epohcs=", *unset])
    assert preset.early_stopping is None
    assert preset.training.epochs == 10


def test_a_resolved_preset_reads_back_unchanged(folder: Path) -> None:
    preset = load_preset("digits-cnn", ["early_stopping.min_delta=0.001"])
    write_preset(preset, folder / "resolved.toml")
    assert read_preset(folder / "resolved.toml") == preset
    assert "[[schedule]]" in dump_preset(preset)


def test_a_preset_with_a_mean_for_each_of_many_inputs_is_written_in_linear_time() -> None:
    def seconds(count: int) -> float:
        mean, std = [0.1 * number for number in range(count)], [1e-5] * count
        data = preset.data.model_copy(update={"normalize": NormalizeConfig(mean=mean, std=std)})
        begin = time.process_time()
        text = dump_preset(preset.model_copy(update={"data": data}))
        assert tomllib.loads(text)["data"]["normalize"] == {"mean": mean, "std": std}
        return time.process_time() - begin

    preset = load_preset("digits-mlp")
    seconds(500)
    assert seconds(16_000) < 200 * seconds(500), "32 times the numbers; quadratic is 1024"

"""`torchconsole find-batch` and `find-workers`: the chart, the table, the suggestion and its command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from tests.support.runs import make_folder
from torchconsole.engine.config.catalogue import Catalogue
from torchconsole.engine.config.loading import load_preset
from torchconsole.engine.config.preset_files import find_file
from torchconsole.engine.protocol.finder_reports import (
    BatchSizeSearch,
    BatchSizeTrial,
    LoaderSearch,
    LoaderTrial,
)
from torchconsole.tui.cli import find_batch, find_workers, finders, named_runs

MB = 1 << 20


def trial(size: int, speed: float) -> BatchSizeTrial:
    return BatchSizeTrial(
        batch_size=size, fits=True, step_seconds=size / speed, samples_per_second=speed, memory=size * MB
    )


BATCHES = BatchSizeSearch(
    device="cpu",
    precision="fp32",
    batch_size=32,
    grad_accum_steps=1,
    train_samples=1437,
    trials=[
        *(trial(size, 1000.0 * min(size, 100)) for size in (8, 16, 32, 64, 128, 256)),
        BatchSizeTrial(batch_size=512, fits=False),
    ],
    largest=256,
    limit="memory",
    knee=128,
    settings=["data.batch_size=128"],
)
WORKERS = LoaderSearch(
    device="cpu",
    precision="fp32",
    batch_size=32,
    num_workers=1,
    cores=4,
    computed=900.0,
    trials=[
        LoaderTrial(num_workers=count, loaded=loaded, trained=trained)
        for count, loaded, trained in ((0, 200, 150), (1, 400, 350), (2, 650, 600), (4, 660, 610))
    ],
    knee=2,
    bound="data",
    settings=["data.num_workers=2"],
)
REPORTS: dict[str, BaseModel] = {"find-batch": BATCHES, "find-workers": WORKERS}


@pytest.fixture(autouse=True)
def _reports(monkeypatch: pytest.MonkeyPatch, catalogue: Catalogue) -> None:
    monkeypatch.setattr(finders, "make_preset_report", lambda kind, name, preset, *_: REPORTS[name])
    monkeypatch.setattr(
        named_runs,
        "load_checked_preset",
        lambda name, overrides: load_preset(name, overrides or [], catalogue),
    )
    monkeypatch.setenv("COLUMNS", "70")


def test_the_throughput_is_drawn_over_batch_sizes_and_in_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert find_batch.find_batch("digits-mlp", ["loss.label_smoothing=0.1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    chart, rest = lines[: finders.HEIGHT], lines[finders.HEIGHT :]
    assert max(map(len, chart)) <= 70
    assert chart[-1].split() == ["16", "64", "256"]
    [star] = [line.index("★") for line in chart if "★" in line]
    assert chart[-1].index("64") + 5 < star < chart[-1].index("256") - 5
    assert [line.split() for line in rest[:3]] == [
        ["BATCH", "SIZE", "SAMPLES/S", "MS", "A", "STEP", "MEMORY"],
        ["8", "8,000", "1", "8", "MB"],
        ["16", "16,000", "1", "16", "MB"],
    ]
    assert rest[7].split() == ["512", "does", "not", "fit"]
    assert rest[8:] == [
        "samples per second of a training step over data.batch_size, on cpu in fp32",
        "largest batch that fits, by a whole step and an evaluation: 256; 512 does not. If only the "
        "evaluation does not fit, set data.eval_batch_size",
        "fastest: 128 (100,000 samples/s)",
        "suggested (★): 128, the smallest with at least 90 % of the best (the preset has 32)",
        "hint: the lr is not changed, but a larger batch often takes a higher one: 4 times the lr with "
        "SGD, 2 times with Adam; find-lr with this size measures it",
        "to use it: torchconsole train digits-mlp --set loss.label_smoothing=0.1 --set data.batch_size=128",
    ]


@pytest.mark.parametrize(
    ("limit", "told"),
    [("samples", "256 (all training samples)"), ("time", "256; larger ones were not tried")],
)
def test_what_ends_the_search_is_told(limit: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    ended = BATCHES.model_copy(update={"limit": limit, "knee": 32})
    find_batch.print_search(ended, "")
    out = capsys.readouterr().out
    assert told in out
    assert "hint" not in out  # the suggestion is what the preset has


def test_the_throughput_is_drawn_over_workers(capsys: pytest.CaptureFixture[str]) -> None:
    assert find_workers.find_workers("digits-mlp") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[finders.HEIGHT - 1].split() == ["0", "1", "2", "3", "4"]
    assert [line.split() for line in lines[finders.HEIGHT : finders.HEIGHT + 2]] == [
        ["WORKERS", "LOADED/S", "TRAINED/S"],
        ["0", "200", "150"],
    ]
    assert lines[finders.HEIGHT + 5 :] == [
        "samples per second of a training over data.num_workers, on cpu in fp32, batches of 32, 4 cores",
        "suggested (★): 2, the smallest with at least 90 % of the best (a run of the preset uses 1)",
        "bottleneck: loading the data; the loader alone gives 650 samples/s, a step alone computes "
        "900 samples/s",
        "to use it: torchconsole train digits-mlp --set data.num_workers=2",
    ]


@pytest.mark.parametrize("finder", [find_batch.find_batch, find_workers.find_workers])
def test_a_search_for_several_processes_is_taken_over_for_as_many(
    finder: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert finder("digits-mlp", nproc="2") == 0
    use = capsys.readouterr().out.splitlines()[-1]
    assert "torchconsole train digits-mlp --set distributed.processes=2 --set data." in use


def test_samples_in_memory_need_no_workers(capsys: pytest.CaptureFixture[str]) -> None:
    in_memory = WORKERS.model_copy(update={"trials": [], "settings": []})
    find_workers.print_search(in_memory, "train digits-mlp")
    assert capsys.readouterr().out.splitlines() == [
        "all training samples are held in memory, so data loader workers are not needed",
        "a training step computes 900 samples/s, on cpu in fp32, batches of 32",
    ]


@pytest.mark.parametrize(
    ("run", "search"), [(find_batch.find_batch, BATCHES), (find_workers.find_workers, WORKERS)]
)
def test_json_has_the_trials(
    run: Callable[..., int], search: BaseModel, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("digits-mlp", as_json=True) == 0
    assert type(search).model_validate(json.loads(capsys.readouterr().out)) == search


@pytest.mark.parametrize("run", [find_batch.find_batch, find_workers.find_workers])
def test_a_run_gives_its_settings_and_keeps_its_files(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder(tmp_path)
    folder.preset_file.write_bytes(find_file("digits-mlp").read_bytes())
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    assert run(str(folder.path), runs_dir=tmp_path) == 0
    assert f"torchconsole train {folder.preset_file} --set data." in capsys.readouterr().out
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before

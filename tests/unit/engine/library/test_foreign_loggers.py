"""What a program logs with other tools is copied, and passed on unchanged."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from torchconsole.engine.library.foreign_loggers import ForeignLoggers, flattened

STAND_INS = {
    "wandb.sdk.wandb_run": """
class Run:
    def log(self, data, step=None, commit=None): return ("wandb", data, step)
""",
    "tensorboardX.writer": """
class SummaryWriter:
    def add_scalar(self, tag, scalar_value, global_step=None): return (tag, scalar_value)
    def add_scalars(self, main_tag, tag_scalar_dict, global_step=None): return main_tag
""",
    "mlflow.tracking.fluent": """
def log_metric(key, value, step=None): return (key, value)
def log_metrics(metrics, step=None): return metrics
""",
    "transformers.trainer": """
class Trainer:
    on_log = staticmethod(lambda: None)
    def log(self, logs, start_time=None):
        self.on_log()
        return logs
""",
    "lightning.pytorch.trainer.connectors.logger_connector.logger_connector": """
class _LoggerConnector:
    def log_metrics(self, metrics, step=None): return metrics
""",
    "my_logger": "def log_metric(key, value): return key",
}
"""Module -> its source, with the signatures of the real one."""


class StandIns(MetaPathFinder, Loader):
    """Finds the stand-ins, and the packages that they are in, in memory."""

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname in STAND_INS:
            return ModuleSpec(fullname, self)
        if any(name.startswith(f"{fullname}.") for name in STAND_INS):
            return ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(STAND_INS.get(module.__name__, ""), module.__dict__)


@pytest.fixture
def driven() -> list[bool]:
    """Has an item if a callback reports the metrics of its framework."""
    return []


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driven: list[bool]) -> Iterator[dict[str, Any]]:
    """Stand-ins of the tools can be imported; what they log is added to this dictionary."""
    roots = {name.partition(".")[0] for name in STAND_INS}
    for name in [name for name in sys.modules if name.partition(".")[0] in roots]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [StandIns(), *sys.meta_path])
    nobody_is_logged_in(tmp_path, monkeypatch)
    metrics: dict[str, Any] = {}
    ForeignLoggers(metrics.update, lambda: bool(driven)).install()
    yield metrics
    for name in [name for name in sys.modules if name.partition(".")[0] in roots]:
        del sys.modules[name]


def nobody_is_logged_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home))
    for variable in ("WANDB_API_KEY", "NETRC"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("WANDB_MODE", "")  # so that it is restored
    monkeypatch.delenv("WANDB_MODE")


def test_wandb(added: dict[str, Any]) -> None:
    run = importlib.import_module("wandb.sdk.wandb_run").Run()
    assert run.log({"loss": 1.0, "val": {"acc": 0.5}}, step=3) == (
        "wandb",
        {"loss": 1.0, "val": {"acc": 0.5}},
        3,
    )
    assert added == {"loss": 1.0, "val/acc": 0.5}
    run.log(data={"loss": 2.0})
    assert added["loss"] == 2.0


def test_tensorboard(added: dict[str, Any]) -> None:
    writer = importlib.import_module("tensorboardX.writer").SummaryWriter()
    assert writer.add_scalar("acc", 0.5, 1) == ("acc", 0.5)
    writer.add_scalar(tag="f1", scalar_value=0.25)
    writer.add_scalars("loss", {"train": 1.0, "val": 2.0}, 1)
    assert added == {"acc": 0.5, "f1": 0.25, "loss/train": 1.0, "loss/val": 2.0}


def test_mlflow(added: dict[str, Any]) -> None:
    fluent = importlib.import_module("mlflow.tracking.fluent")
    assert fluent.log_metric("acc", 0.5, step=1) == ("acc", 0.5)
    fluent.log_metrics({"a": 1, "b": 2})
    assert added == {"acc": 0.5, "a": 1, "b": 2}


@pytest.mark.parametrize(
    ("module", "name", "method"),
    [
        ("transformers.trainer", "Trainer", "log"),
        (
            "lightning.pytorch.trainer.connectors.logger_connector.logger_connector",
            "_LoggerConnector",
            "log_metrics",
        ),
    ],
)
def test_trainers(added: dict[str, Any], module: str, name: str, method: str) -> None:
    trainer = getattr(importlib.import_module(module), name)()
    assert getattr(trainer, method)({"loss": 1.0}) == {"loss": 1.0}
    assert added == {"loss": 1.0}


def test_what_a_trainer_gives_to_another_logger_is_copied_once(added: dict[str, Any]) -> None:
    writer = importlib.import_module("tensorboardX.writer").SummaryWriter()
    trainer_module = importlib.import_module("transformers.trainer")
    trainer = trainer_module.Trainer()
    trainer.on_log = lambda: writer.add_scalar("train/loss", 1.0)
    trainer.log({"loss": 1.0})
    assert added == {"loss": 1.0}
    writer.add_scalar("mine", 2.0)
    assert added == {"loss": 1.0, "mine": 2.0}


def test_the_metrics_of_a_framework_with_a_callback_are_not_copied(
    added: dict[str, Any], driven: list[bool]
) -> None:
    driven.append(True)
    importlib.import_module("transformers.trainer").Trainer().log({"loss": 1.0})
    importlib.import_module("wandb.sdk.wandb_run").Run().log({"mine": 1.0})
    assert added == {"mine": 1.0}


def test_a_call_that_the_tool_refuses_is_refused(added: dict[str, Any]) -> None:
    run = importlib.import_module("wandb.sdk.wandb_run").Run()
    with pytest.raises(TypeError):
        run.log()
    run.log("no metrics")
    assert added == {}


def test_modules_of_the_program_are_left_alone(added: dict[str, Any]) -> None:
    assert importlib.import_module("my_logger").log_metric("a", 1) == "a"
    assert added == {}


@pytest.mark.usefixtures("added")
def test_wandb_is_offline_if_nobody_is_logged_in() -> None:
    assert os.environ["WANDB_MODE"] == "offline"


@pytest.mark.parametrize("known", ["key", "netrc", "mode"])
def test_wandb_is_left_alone_if_somebody_is_logged_in(
    known: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    nobody_is_logged_in(tmp_path, monkeypatch)
    if known == "key":
        monkeypatch.setenv("WANDB_API_KEY", "x")
    elif known == "netrc":
        (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password x")
    else:
        monkeypatch.setenv("WANDB_MODE", "online")
    ForeignLoggers(lambda metrics: None).install()
    assert os.environ.get("WANDB_MODE") == ("online" if known == "mode" else None)


def test_nested_metrics_get_names_with_slashes() -> None:
    assert flattened({"a": {"b": {"c": 1, "d": {"e": 2}}}, 3: 4}) == {"a/b/c": 1, "3": 4}

"""`torchconsole check`: whether a preset would train, without training it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchconsole.engine.text import printable
from torchconsole.tui.cli.choosing import agree_to_own_code, choose_preset
from torchconsole.tui.cli.options import AsJson, Overrides, PresetName, Trust
from torchconsole.tui.cli.output import print_json
from torchconsole.tui.cli.report import make_preset_report

if TYPE_CHECKING:
    from torchconsole.engine.protocol.reports import CheckReport

WELL = "all is well"
NOT_FINITE = "the first loss is not finite: look at the data, data.normalize and model.init"


def check(
    preset: PresetName, overrides: Overrides = None, trust: Trust = False, as_json: AsJson = False
) -> int:
    """Check that a preset would train, without training it.

    Builds everything that it names, and runs one batch forward and backward.
    """
    from torchconsole.engine.protocol.reports import CheckReport

    loaded = choose_preset(preset, overrides)
    agree_to_own_code(loaded, trust)
    report = make_preset_report(CheckReport, "check", loaded)
    if as_json:
        print_json(report.model_dump(mode="json"))
        return 0
    for heading, told in _lines(report, loaded.model.name):
        print(f"{heading:9}  {printable(told)}")
    print(WELL if report.loss is not None else NOT_FINITE)
    return 0


def _lines(report: CheckReport, model: str) -> Iterator[tuple[str, str]]:
    """What was found, part by part."""
    shape = "x".join(map(str, report.input_shape))
    samples = f"{report.train_samples:,} samples of {shape} in {report.steps_per_epoch:,} steps an epoch"
    yield "data", f"{report.task}: {samples}, {report.val_samples:,} for validation"
    for note in report.notes:
        yield "", note
    parameters = f"{report.params:,} parameters, {report.trainable:,} of them trained"
    yield "model", f"{model}: {parameters}, {report.outputs} outputs"
    loss = "not finite" if report.loss is None else f"{report.loss:.4g}"
    yield "one batch", f"forward and backward on {report.device}: loss {loss}"
    yield "took", ", ".join(f"{phase} {seconds:.2f} s" for phase, seconds in report.seconds.items())

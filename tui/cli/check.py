"""`torchconsole check`: whether a preset would train, without training it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torchconsole.tui.cli.options import AsJson, Overfit, Overrides, PresetName, Trust
from torchconsole.tui.cli.overfit import print_overfit
from torchconsole.tui.cli.presets import load_checked_preset, require_trust
from torchconsole.tui.cli.report import make_preset_report
from torchconsole.tui.cli.terminal import print_facts, print_json, print_wrapped

if TYPE_CHECKING:
    from torchconsole.engine.protocol.reports import CheckReport

OK = "no problem found"
NOT_FINITE = "the first loss is not finite; check the data, data.normalize and model.init"
INDENT = 11


def check(
    preset: PresetName,
    overrides: Overrides = None,
    trust: Trust = False,
    as_json: AsJson = False,
    overfit: Overfit = False,
) -> int:
    """Check that a preset can be trained.

    Builds everything that the preset names, and runs one batch forward and backward.
    """
    from torchconsole.engine.protocol.reports import CheckReport

    loaded = load_checked_preset(preset, overrides)
    require_trust(loaded, trust)
    report = make_preset_report(CheckReport, "check", loaded, *(["overfit"] if overfit else []))
    if as_json:
        print_json(report.model_dump(mode="json"))
        return 0
    print_facts(_facts(report, loaded.model.name), INDENT)
    print_wrapped(OK if report.loss is not None else NOT_FINITE)
    if report.overfit is not None:
        print_overfit(report.overfit)
    return 0


def _facts(report: CheckReport, model: str) -> Iterator[tuple[str, str]]:
    """Yield labels and what was found about each part."""
    shape = "x".join(map(str, report.input_shape))
    samples = f"{report.train_samples:,} samples of {shape} in {report.steps_per_epoch:,} steps per epoch"
    yield "data", f"{report.task}: {samples}, {report.val_samples:,} for validation"
    for note in report.notes:
        yield "", note
    parameters = f"{report.params:,} parameters, {report.trainable:,} trainable"
    yield "model", f"{model}: {parameters}, {math.prod(report.output_shape)} outputs"
    loss = "not finite" if report.loss is None else f"{report.loss:.4g}"
    yield "one batch", f"forward and backward on {report.device}: loss {loss}"
    yield "took", ", ".join(f"{phase} {seconds:.2f} s" for phase, seconds in report.seconds.items())

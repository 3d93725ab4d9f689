"""`torchconsole check`: whether a preset would train, without training it."""

from __future__ import annotations

from torchconsole.tui.cli.choosing import agree_to_own_code, choose_preset
from torchconsole.tui.cli.options import AsJson, Overrides, PresetName, Trust
from torchconsole.tui.cli.output import print_json
from torchconsole.tui.cli.report import make_preset_report
from torchconsole.tui.printable import printable


def check(
    preset: PresetName, overrides: Overrides = None, trust: Trust = False, as_json: AsJson = False
) -> int:
    """Check that a preset would train, without training it.

    Builds everything that it names, and runs one batch forward and backward.
    """
    from torchconsole.engine.protocol.events import CheckReport

    loaded = choose_preset(preset, overrides)
    agree_to_own_code(loaded, trust)
    report = make_preset_report(CheckReport, "check", loaded)
    if as_json:
        print_json(report.model_dump(mode="json"))
        return 0
    shape = "x".join(map(str, report.input_shape))
    loss = "not finite" if report.loss is None else f"{report.loss:.4g}"
    print(
        f"{report.task} on {report.device}: {report.train_samples:,} samples of {shape} in "
        f"{report.steps_per_epoch:,} steps an epoch, {report.val_samples:,} for validation; "
        f"{report.params:,} parameters, {report.outputs} outputs; first loss {loss}"
    )
    for note in report.notes:
        print(printable(note))
    print("all is well" if report.loss is not None else "the first loss is not finite: lower optimizer.lr?")
    return 0

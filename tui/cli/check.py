"""`torchconsole check`: whether a preset would train well, without training it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from torchconsole.tui.cli.options import (
    AsJson,
    Overfit,
    Overrides,
    PlannedProcesses,
    PresetName,
    Trust,
    require_device,
    with_processes,
)
from torchconsole.tui.cli.output import print_colored
from torchconsole.tui.cli.overfit import print_overfit
from torchconsole.tui.cli.presets import load_checked_preset, refuse_options, require_trust
from torchconsole.tui.cli.report import make_preset_report
from torchconsole.tui.cli.terminal import announce, print_facts, print_json, print_wrapped

if TYPE_CHECKING:
    from torchconsole.engine.protocol.reports import CheckReport, ClassCount, DataColumn, Finding

OK = "no problem found"
NOT_FINITE = "the first loss is not finite; check the data, data.normalize and model.init"
INDENT = 11

MOST_CLASSES = 20
"""Classes that are all listed; of more only the largest and the smallest are."""

MOST_COLUMNS = 60
"""Columns of a table that are all listed; of more the numeric ones are only counted."""

COLORS = {"error": "1;31", "warning": "1;33", "hint": "1;36"}


def check(
    preset: PresetName,
    overrides: Overrides = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE",
            callback=require_device,
            help="Device to check on: auto, cpu, mps, cuda or cuda:N (same as --set training.device=DEVICE).",
        ),
    ] = None,
    nproc: PlannedProcesses = None,
    trust: Trust = False,
    as_json: AsJson = False,
    overfit: Overfit = False,
) -> int:
    """Check that a preset can be trained.

    Makes the dry run of a start: one whole training step and one whole evaluation on real batches. Prints
    what it saw and the pitfalls that it found. Exit status: 2 if there is an error, which also refuses the
    start of a run, else 0. For a program of yours ([script]), prints its arguments, and whether it accepts
    what the preset gives them.
    """
    from torchconsole.engine.client.processes import choose_processes
    from torchconsole.engine.config.script_presets import load_script
    from torchconsole.engine.protocol.reports import CheckReport

    if (script := load_script(preset, overrides or [])) is not None:
        from torchconsole.tui.cli.program import check_program

        refuse_options(script, {"--device": device, "--overfit": overfit, "--nproc": nproc is not None})
        require_trust(script, trust)
        return check_program(script, as_json)
    shorthand = [f"training.device={device}"] if device else []
    loaded = load_checked_preset(preset, with_processes([*(overrides or []), *shorthand], nproc))
    choose_processes(loaded)
    require_trust(loaded, trust)
    announce("loading the data and making a dry run...")  # can take a minute on a busy machine
    report = make_preset_report(CheckReport, "check", loaded, *(["overfit"] if overfit else []))
    status = 2 if any(finding.level == "error" for finding in report.findings) else 0
    if as_json:
        print_json(report.model_dump(mode="json"))
        return status
    print_facts(_facts(report, loaded.model.name), INDENT)
    if report.findings:
        print()
    for finding in report.findings:
        print_finding(finding)
    for line in _verdict(report):
        print_wrapped(line)
    if report.overfit is not None:
        print_overfit(report.overfit)
    return status


def print_finding(finding: Finding) -> None:
    """Print the level, the evidence, the reason and the remedy of a finding."""
    print_colored(f"{finding.level:<{INDENT}}", COLORS[finding.level])
    print(finding.name)
    print_facts([("", finding.evidence), ("why", finding.reason), ("to fix it", finding.remedy)], INDENT)


def _verdict(report: CheckReport) -> Iterator[str]:
    levels = [finding.level for finding in report.findings]
    if levels:
        yield _count_findings(levels)
    else:
        yield OK if report.loss is not None else NOT_FINITE


def _count_findings(levels: Sequence[str]) -> str:
    """Return how many findings there are of each level, and what that means for a start."""
    counts = [_count(levels.count(level), level) for level in COLORS if level in levels]
    found = ", ".join(counts)
    if "error" in levels:
        return f"{found}: a run would not start; fix the errors, or start it with --anyway"
    return f"{found}; a run would start"


def _facts(report: CheckReport, model: str) -> Iterator[tuple[str, str]]:
    """Yield labels and what was found about each part."""
    yield "data", ", ".join(_parts(report))
    if report.classes:
        yield "classes", _describe_classes(report.classes)
    for number, column in enumerate(_describe_columns(report.columns)):
        yield "" if number else "columns", column
    for number, note in enumerate(report.notes):
        yield "" if number else "notes", note
    batch = f"batches of {report.batch_size:,}, {_count(report.steps_per_epoch, 'step')} per epoch"
    yield "input", f"{_shape(report.input_shape)} {report.input_type}, {batch}"
    if report.output_shape:
        yield "output", f"{_shape(report.output_shape)} for {report.task}"
    yield "model", f"{model}: {report.params:,} parameters, {report.trainable:,} trainable"
    unit = f", on {report.loss_unit}" if report.loss_unit else ""
    loss = "not finite" if report.loss is None else f"{report.loss:.4g}"
    yield "dry run", f"on {report.device} in {report.precision}: loss {loss} on the first batch{unit}"
    from torchconsole.tui.formatting import format_bytes, format_step_memory

    if report.processes > 1:
        yield "processes", _describe_processes(report)
    memory = "" if report.memory is None else f", {format_bytes(report.memory)} of memory"
    yield "", f"a step takes {_time(report.step_seconds)}{memory}"
    workers = ""
    if report.num_workers is not None:
        workers = f"; a run uses {_count(report.num_workers, 'data loader worker')}"
    yield "", f"loading a batch takes {_time(report.batch_seconds)}{workers}"
    if report.memory_parts is not None:
        yield "memory", format_step_memory(report.memory_parts)
    yield "lr", _describe_lr(report)
    yield "took", ", ".join(f"{phase} {seconds:.2f} s" for phase, seconds in report.seconds.items())


def _describe_processes(report: CheckReport) -> str:
    """Return what a step of all processes is; what else is said is of one of them."""
    steps = report.effective_batch // (report.batch_size * report.processes)
    accumulated = f" x {steps} (training.grad_accum_steps)" if steps > 1 else ""
    factor = "" if report.lr_factor == 1 else f"; the lr is multiplied by {report.lr_factor:.4g}"
    return (
        f"{report.processes}, {_count(report.threads, 'thread')} each: {report.effective_batch:,} samples a "
        f"step = {report.processes} x {report.batch_size:,}{accumulated}{factor}"
    )


def _parts(report: CheckReport) -> Iterator[str]:
    yield f"{_count(report.train_samples, 'sample')} for training"
    yield f"{report.val_samples:,} for validation"
    if report.test_samples is not None:
        yield f"{report.test_samples:,} for testing"


def _describe_classes(classes: Sequence[ClassCount]) -> str:
    """Return all classes with their training samples; of many, the largest and the smallest."""
    if len(classes) <= MOST_CLASSES:
        return f"{len(classes)}: {', '.join(map(_describe_class, classes))}"
    if any(each.samples is None for each in classes):
        return f"{len(classes):,}: {', '.join(each.name for each in classes[:3])}, ..."
    ordered = sorted(classes, key=lambda each: each.samples or 0)
    largest, smallest = _describe_class(ordered[-1]), _describe_class(ordered[0])
    return f"{len(classes):,}: largest {largest}, smallest {smallest} and {len(classes) - 2:,} more"


def _describe_class(each: ClassCount) -> str:
    return each.name if each.samples is None else f"{each.name} ({each.samples:,})"


def _describe_columns(columns: Sequence[DataColumn]) -> Iterator[str]:
    """Yield a line for each column; of many, only those that are not plain numbers, and a count."""
    shown = [each for each in columns if len(columns) <= MOST_COLUMNS or each.role != "numeric"]
    for each in shown[:MOST_COLUMNS]:
        yield f"{each.name}: {each.role}{f', {each.detail}' if each.detail else ''}"
    if len(columns) > (count := len(shown[:MOST_COLUMNS])):
        numeric = sum(each.role == "numeric" for each in columns)
        yield f"and {len(columns) - count:,} more; {numeric:,} columns are numeric (see --json)"


def _describe_lr(report: CheckReport) -> str:
    from torchconsole.tui.cli.lr_curve import describe_epochs

    schedule = report.lr_unit or "constant, without a schedule"
    return f"{describe_epochs(report.lrs)}; {schedule}"


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "one number"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"

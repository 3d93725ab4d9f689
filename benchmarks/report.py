"""Formats the results as text for a terminal and as a block of docs/figures.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, median

from benchmarks.document import Document
from benchmarks.figures import Figure
from benchmarks.variants import ATTACHED, BARE, OURS, PLAIN, RICH, UNATTENDED

SPEED, CONSOLE, RANKS = "figures", "console", "ranks"
"""The blocks of docs/figures.md, between `<!-- NAME: begin -->` and `<!-- NAME: end -->`."""

COLUMNS = ("best plain", OURS, UNATTENDED, ATTACHED, BARE, RICH)


def as_text(document: Document) -> str:
    """Every variant of every workload, the other figures, and the targets."""
    lines = [_origin(document), ""]
    for workload in document["workloads"]:
        lines += [*_workload_lines(workload), ""]
    lines += [
        f"{figure['name']}: {_number(figure['value'])} {figure['unit']}" for figure in document["figures"]
    ]
    lines += ["", "targets"]
    for result in document["targets"]:
        lines.append(
            f"  {_verdict(result):6}  {_number(result['value']):>6}  {_bound(result):>9}  {result['what']}"
        )
    return "\n".join(lines)


def as_markdown(document: Document) -> str:
    """The block of docs/figures.md, without the comments that mark it."""
    lines = [
        f"Medians of paired ratios to the tutorial loop, {_origin(document)}.",
        "",
        f"| | {' | '.join(COLUMNS)} |",
        f"|---|{'---|' * len(COLUMNS)}",
    ]
    for workload in document["workloads"]:
        ratios = {**workload["ratios"], "best plain": workload["ratios"][workload["best_plain"]]}
        cells = [f"{ratios[column]['median']:.2f}" if column in ratios else "" for column in COLUMNS]
        lines.append(f"| {workload['label']} | {' | '.join(cells)} |")
    lines += ["", "| target | measured | |", "|---|---|---|"]
    for result in document["targets"]:
        lines.append(
            f"| {result['what']} {_bound(result)} | {_number(result['value'])} | {_verdict(result)} |"
        )
    others = [figure for figure in document["figures"] if figure["most"] is None]
    if others:
        formatted = [
            f"{figure['name']} {_number(figure['value'])} {figure['unit']}".strip() for figure in others
        ]
        lines += ["", f"Also measured: {'; '.join(formatted)}."]
    return "\n".join(lines)


def console_as_markdown(figures: Sequence[Figure], environment: Document) -> str:
    """The block of the console's figures, without the comments that mark it."""
    lines = [f"Measured on {_machine(environment)}.", "", "| | measured | at most |", "|---|---|---|"]
    for figure in figures:
        most = "" if figure.most is None else f"{figure.most:g} {figure.unit}"
        if figure.most is not None and figure.value > figure.most:
            most += ", missed"
        lines.append(f"| {figure.name} | {_number(figure.value)} {figure.unit} | {most} |")
    return "\n".join(lines)


def update_figures(path: Path, name: str, block: str) -> None:
    """Replace the block of this name. Raises ValueError if one of its marks is missing."""
    start, stop = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, begin, rest = path.read_text(encoding="utf-8").partition(start)
    _, end, after = rest.partition(stop)
    if not begin or not end:
        raise ValueError(f"{path}: the marks {start} and {stop} are missing")
    path.write_text(f"{before}{begin}\n{block}\n{end}{after}", encoding="utf-8")


def _origin(document: Document) -> str:
    return f"{document['rounds']} or more rounds on {_machine(document)}"


def _machine(document: Document) -> str:
    machine, versions = document["machine"], document["versions"]
    return (
        f"{machine['cores']} cores of {machine['cpu']}, Python {versions['python']}, "
        f"torch {versions['torch']}, commit {document['commit']}, {document['date']}"
    )


def _workload_lines(workload: Document) -> Iterator[str]:
    yield f"{workload['label']}, batch {workload['batch_size']}"
    yield f"  {'':20} {'samples/s':>10} {'/ tutorial':>10} {'quartiles':>13} {'/ best plain':>12}"
    for name, rates in workload["rates"].items():
        ratio, to_plain = workload["ratios"][name], workload["to_best_plain"][name]["median"]
        quartiles = f"{ratio['low']:.2f} to {ratio['high']:.2f}"
        yield (f"  {name:20} {median(rates):10,.0f} {ratio['median']:10.2f} {quartiles:>13} {to_plain:12.2f}")
    ours, plain = workload["losses"][OURS], workload["losses"][PLAIN[0]]
    verdict = "equal" if workload["equal_losses"] and workload["equal_updates"] else "NOT EQUAL"
    yield (
        f"  training {verdict}: mean loss {fmean(ours):.4f} ours, {fmean(plain):.4f} plain; "
        f"{workload['updates'][OURS]} and {workload['updates'][PLAIN[0]]} updates"
    )
    if console := workload["console"]:
        yield (
            f"  console: {100 * median(console['cpu_share']):.1f}% of a core, "
            f"{median(console['bytes_per_second']) / 1000:.1f} kB/s, "
            f"{median(console['first_frame_seconds']):.2f} s from attach to the first frame"
        )


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 0.1 else f"{value:,.2f}"


def _bound(result: Document) -> str:
    return f"{'<=' if result['is_limit'] else '>='} {result['target']:g}"


def _verdict(result: Document) -> str:
    return "met" if result["met"] else "missed"

"""The results as text for a terminal and as the block of the README."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, median

from benchmarks.document import Document
from benchmarks.variants import ATTACHED, BARE, OURS, PLAIN, RICH, UNATTENDED

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
COLUMNS = ("best plain", OURS, UNATTENDED, ATTACHED, BARE, RICH)


def as_text(document: Document) -> str:
    """Every arm of every workload, the other figures, and the aims."""
    lines = [_origin(document), ""]
    for workload in document["workloads"]:
        lines += [*_arms(workload), ""]
    lines += [
        f"{figure['name']}: {_number(figure['value'])} {figure['unit']}" for figure in document["figures"]
    ]
    lines += ["", "aims"]
    for aim in document["reach"]:
        lines.append(f"  {_verdict(aim):6}  {_number(aim['value']):>6}  {_bound(aim):>9}  {aim['what']}")
    return "\n".join(lines)


def as_markdown(document: Document) -> str:
    """The block between the README's marks, without them."""
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
    lines += ["", "| aim | reached | |", "|---|---|---|"]
    for aim in document["reach"]:
        lines.append(f"| {aim['what']} {_bound(aim)} | {_number(aim['value'])} | {_verdict(aim)} |")
    others = [figure for figure in document["figures"] if figure["most"] is None]
    if others:
        told = [f"{figure['name']} {_number(figure['value'])} {figure['unit']}".strip() for figure in others]
        lines += ["", f"Also: {'; '.join(told)}."]
    return "\n".join(lines)


def rewrite(readme: Path, document: Document) -> None:
    """Put the block between its marks. Raises ValueError where they are not there."""
    before, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{readme}: the marks {BEGIN} and {END} are not there")
    readme.write_text(f"{before}{begin}\n{as_markdown(document)}\n{end}{after}", encoding="utf-8")


def _origin(document: Document) -> str:
    machine, versions = document["machine"], document["versions"]
    return (
        f"{document['rounds']} or more rounds on {machine['cores']} cores of {machine['cpu']}, "
        f"Python {versions['python']}, torch {versions['torch']}, commit {document['commit']}, "
        f"{document['date']}"
    )


def _arms(workload: Document) -> Iterator[str]:
    yield f"{workload['label']}, batch {workload['batch_size']}"
    yield f"  {'':20} {'samples/s':>10} {'/ tutorial':>10} {'quartiles':>13} {'/ best plain':>12}"
    for arm, rates in workload["rates"].items():
        ratio, plain = workload["ratios"][arm], workload["to_best_plain"][arm]["median"]
        quartiles = f"{ratio['low']:.2f} to {ratio['high']:.2f}"
        yield (f"  {arm:20} {median(rates):10,.0f} {ratio['median']:10.2f} {quartiles:>13} {plain:12.2f}")
    ours, plain_losses = workload["losses"][OURS], workload["losses"][PLAIN[0]]
    equal = "equal" if workload["equal_losses"] and workload["equal_updates"] else "NOT EQUAL"
    yield (
        f"  training {equal}: mean loss {fmean(ours):.4f} ours, {fmean(plain_losses):.4f} plain; "
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


def _bound(aim: Document) -> str:
    return f"{'<=' if aim['is_limit'] else '>='} {aim['aim']:g}"


def _verdict(aim: Document) -> str:
    return "met" if aim["met"] else "missed"

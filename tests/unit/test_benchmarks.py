"""The benchmarks' statistics, targets and tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import document, report
from benchmarks.figures import Figure
from benchmarks.paired_stats import Ratio, fastest, interleave, losses_match, paired_ratio
from benchmarks.speed import Speeds
from benchmarks.targets import check_targets


def speeds(rates: dict[str, list[float]], threads: int = 1, workload: str = "digits-mlp") -> Speeds:
    """Results of a workload whose variants all end with the same loss."""
    return Speeds(
        workload=workload,
        label=f"{workload}, {threads} thread",
        device="cpu",
        threads=threads,
        cores=2,
        batch_size=64,
        samples_per_epoch=1437,
        epochs=20,
        rates={"tutorial": [1.0, 1.0], "plain": [2.0, 2.0], "ours": [3.0, 3.0], **rates},
        losses={"plain": [0.5, 0.6], "ours": [0.5, 0.6]},
        updates={"plain": 460, "ours": 460},
    )


def test_each_round_measures_every_variant_once_and_starts_with_a_different_one() -> None:
    order: list[str] = []

    def turn(*names: str) -> Callable[[int], dict[str, str]]:
        def measure(number: int) -> dict[str, str]:
            order.extend(names)
            return {name: f"{name}{number}" for name in names}

        return measure

    results = interleave([turn("a"), turn("b", "c")], 3)
    assert results == {"a": ["a0", "a1", "a2"], "b": ["b0", "b1", "b2"], "c": ["c0", "c1", "c2"]}
    assert "".join(order) == "abc" + "bca" + "abc"


def test_a_slow_round_does_not_change_the_paired_ratio() -> None:
    assert paired_ratio([100.0, 10.0, 120.0], [50.0, 5.0, 60.0]) == Ratio(2.0, 2.0, 2.0)
    assert paired_ratio([2.0, 30.0, 1.0], [1.0, 10.0, 1.0]) == Ratio(2.0, 1.5, 2.5)
    assert paired_ratio([3.0], [2.0]) == Ratio(1.5, 1.5, 1.5)


def test_the_fastest_variant_is_the_same_for_all_rounds() -> None:
    rates = {"a": [10.0, 10.0, 10.0], "b": [12.0, 12.0, 5.0], "c": [9.0, 9.0, 99.0]}
    assert fastest(rates, ("a", "b", "c")) == "b"
    assert fastest({"a": [2.0], "b": [1.0]}, ("a", "b")) == "a"


def test_losses_match_within_two_percent_or_statistical_noise() -> None:
    noisy = [1.0, 1.3, 0.8, 1.1]
    assert losses_match(noisy, [1.2, 1.0, 1.0, 0.9])
    assert losses_match([1.01, 1.01], [1.0, 1.0])
    assert losses_match([1.49, 1.56, 1.46], [1.45, 1.47, 1.42]), "three pairs are too few to tell them apart"
    assert not losses_match([1.1, 1.1, 1.1, 1.11], [1.0, 1.0, 1.0, 1.0])
    assert not losses_match([0.9, 0.91, 0.9, 0.9], [1.0, 1.0, 1.0, 1.0]), "a lower loss is a difference too"


def test_targets_are_checked_against_the_best_plain_loop() -> None:
    rates = {"attached": [1.9, 1.9], "unattended": [2.0, 2.0], "plain, foreach": [1.0, 1.0]}
    rates["plain, fused"] = [2.5, 2.5]
    results = {result.what: result for result in check_targets([speeds(rates)], [])}
    best = results["digits-mlp, 1 thread: attached / best plain"]
    assert (best.value, best.target, best.met) == (pytest.approx(1.9 / 2.5), 0.9, False)
    assert not results["digits-mlp, 1 thread: attached / tutorial"].met
    assert results["attached / unattended, a core free"].value == pytest.approx(0.95)
    assert not any("lightning" in what for what in results), "a variant that was not measured has no result"


def test_workloads_on_all_cores_have_a_target_of_their_own() -> None:
    plain = {"plain, foreach": [1.0, 1.0], "plain, fused": [1.0, 1.0]}
    attached = {"attached": [1.92, 1.92], "unattended": [2.0, 2.0]}
    [*_, busy] = check_targets([speeds(plain | attached, threads=2)], [])
    assert (busy.what, busy.met) == ("attached / unattended, all cores busy", True)


def test_a_figure_below_its_limit_meets_the_target() -> None:
    figures = [Figure("stall", 1.5, "", most=2.0), Figure("share", 6.0, "%", most=5.0), Figure("x", 1.0, "s")]
    assert [(result.what, result.met) for result in check_targets([], figures)] == [
        ("stall", True),
        ("share", False),
    ]


@pytest.fixture
def results(tmp_path: Path) -> document.Document:
    """The document that `python -m benchmarks` writes and `--figures` reads."""
    rates = {name: [2.0, 2.0] for name in ("plain, foreach", "plain, fused", "unattended", "attached")}
    metadata = {
        "date": "2026-11-21",
        "commit": "abc",
        "rounds": 2,
        "quick": False,
        "machine": {"cores": 2, "cpu": "a processor"},
        "versions": {"python": "3.11", "torch": "2.13"},
    }
    figures = [Figure("stall", 1.5, "", most=2.0), Figure("first frame", 0.31, "s")]
    document.write(document.compose(metadata, [speeds(rates)], figures), tmp_path / "results.json")
    return document.read(tmp_path / "results.json")


def test_the_table_shows_every_variant_and_every_target(results: document.Document) -> None:
    text = report.as_text(results)
    assert "  plain, fused                  2       2.00  2.00 to 2.00         1.00" in text.splitlines()
    assert "  missed    1.00    >= 0.99" not in text
    assert "  met       1.50       <= 2  stall" in text.splitlines()
    assert "training equal" in text
    assert "first frame: 0.31 s" in text


def test_update_figures_replaces_only_the_marked_block(tmp_path: Path, results: document.Document) -> None:
    page = tmp_path / "figures.md"
    page.write_text("before\n<!-- figures: begin -->\nold\n<!-- figures: end -->\nafter\n")
    report.update_figures(page, report.SPEED, report.as_markdown(results))
    text = page.read_text()
    assert text.startswith("before\n<!-- figures: begin -->\n")
    assert text.endswith("\n<!-- figures: end -->\nafter\n")
    assert "old" not in text
    assert "| digits-mlp, 1 thread | 2.00 | 3.00 | 2.00 | 2.00 |  |  |" in text
    assert "| digits-mlp, 1 thread: attached / tutorial >= 2 | 2.00 | met |" in text


def test_the_figures_of_the_console_say_which_are_missed(results: document.Document) -> None:
    figures = [
        Figure("first screen", 8.1, "kB", 25.0),
        Figure("share", 6.0, "%", 5.0),
        Figure("other", 1.0, "s"),
    ]
    block = report.console_as_markdown(figures, results)
    assert "| first screen | 8.10 kB | 25 kB |" in block
    assert "| share | 6.00 % | 5 %, missed |" in block
    assert "| other | 1.00 s |  |" in block


def test_update_figures_rejects_a_page_without_marks(tmp_path: Path) -> None:
    page = tmp_path / "figures.md"
    page.write_text("before")
    with pytest.raises(ValueError, match="marks"):
        report.update_figures(page, report.CONSOLE, "new")
    assert page.read_text() == "before"

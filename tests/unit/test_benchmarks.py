"""What the benchmarks make of what they measured: pairs, medians, aims and tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import document, report
from benchmarks.figures import Figure
from benchmarks.paired_stats import Ratio, alike, fastest, interleaved, paired
from benchmarks.speed import Speeds
from benchmarks.targets import reached


def speeds(rates: dict[str, list[float]], threads: int = 1, workload: str = "digits-mlp") -> Speeds:
    """Of a workload whose arms all end with the same loss."""
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


def test_every_round_measures_each_arm_once_and_begins_with_another() -> None:
    order: list[str] = []

    def turn(*names: str) -> Callable[[int], dict[str, str]]:
        def measure(number: int) -> dict[str, str]:
            order.extend(names)
            return {name: f"{name}{number}" for name in names}

        return measure

    results = interleaved([turn("a"), turn("b", "c")], 3)
    assert results == {"a": ["a0", "a1", "a2"], "b": ["b0", "b1", "b2"], "c": ["c0", "c1", "c2"]}
    assert "".join(order) == "abc" + "bca" + "abc"


def test_a_machine_that_slows_down_for_a_round_moves_no_paired_ratio() -> None:
    assert paired([100.0, 10.0, 120.0], [50.0, 5.0, 60.0]) == Ratio(2.0, 2.0, 2.0)
    assert paired([2.0, 30.0, 1.0], [1.0, 10.0, 1.0]) == Ratio(2.0, 1.5, 2.5)
    assert paired([3.0], [2.0]) == Ratio(1.5, 1.5, 1.5)


def test_the_fastest_is_one_arm_for_all_rounds() -> None:
    rates = {"a": [10.0, 10.0, 10.0], "b": [12.0, 12.0, 5.0], "c": [9.0, 9.0, 99.0]}
    assert fastest(rates, ("a", "b", "c")) == "b"
    assert fastest({"a": [2.0], "b": [1.0]}, ("a", "b")) == "a"


def test_losses_are_alike_within_chance_or_two_percent_and_else_not() -> None:
    noisy = [1.0, 1.3, 0.8, 1.1]
    assert alike(noisy, [1.2, 1.0, 1.0, 0.9])
    assert alike([1.01, 1.01], [1.0, 1.0])
    assert alike([1.49, 1.56, 1.46], [1.45, 1.47, 1.42]), "three pairs say little"
    assert not alike([1.1, 1.1, 1.1, 1.11], [1.0, 1.0, 1.0, 1.0])
    assert not alike([0.9, 0.91, 0.9, 0.9], [1.0, 1.0, 1.0, 1.0]), "less loss is not equal either"


def test_the_aims_are_judged_against_the_best_plain_loop() -> None:
    rates = {"attached": [1.9, 1.9], "unattended": [2.0, 2.0], "plain, foreach": [1.0, 1.0]}
    rates["plain, fused"] = [2.5, 2.5]
    results = {result.what: result for result in reached([speeds(rates)], [])}
    best = results["digits-mlp, 1 thread: attached / best plain"]
    assert (best.value, best.aim, best.met) == (pytest.approx(1.9 / 2.5), 0.9, False)
    assert not results["digits-mlp, 1 thread: attached / tutorial"].met
    assert results["attached / unattended, a core free"].value == pytest.approx(0.95)
    assert not any("lightning" in what for what in results), "an arm that was not measured has no verdict"


def test_cores_that_are_all_busy_have_an_aim_of_their_own() -> None:
    plain = {"plain, foreach": [1.0, 1.0], "plain, fused": [1.0, 1.0]}
    attached = {"attached": [1.92, 1.92], "unattended": [2.0, 2.0]}
    [*_, busy] = reached([speeds(plain | attached, threads=2)], [])
    assert (busy.what, busy.met) == ("attached / unattended, all cores busy", True)


def test_a_figure_with_a_limit_is_met_below_it() -> None:
    figures = [Figure("stall", 1.5, "", most=2.0), Figure("share", 6.0, "%", most=5.0), Figure("x", 1.0, "s")]
    assert [(result.what, result.met) for result in reached([], figures)] == [
        ("stall", True),
        ("share", False),
    ]


@pytest.fixture
def results(tmp_path: Path) -> document.Document:
    """As `python -m benchmarks` writes them and `--readme` reads them."""
    rates = {name: [2.0, 2.0] for name in ("plain, foreach", "plain, fused", "unattended", "attached")}
    about = {
        "date": "2026-11-21",
        "commit": "abc",
        "rounds": 2,
        "quick": False,
        "machine": {"cores": 2, "cpu": "a processor"},
        "versions": {"python": "3.11", "torch": "2.13"},
    }
    figures = [Figure("stall", 1.5, "", most=2.0), Figure("first frame", 0.31, "s")]
    document.write(document.compose(about, [speeds(rates)], figures), tmp_path / "results.json")
    return document.read(tmp_path / "results.json")


def test_the_table_shows_every_arm_and_every_verdict(results: document.Document) -> None:
    text = report.as_text(results)
    assert "  plain, fused                  2       2.00  2.00 to 2.00         1.00" in text.splitlines()
    assert "  missed    1.00    >= 0.99" not in text
    assert "  met       1.50       <= 2  stall" in text.splitlines()
    assert "training equal" in text
    assert "first frame: 0.31 s" in text


def test_the_readme_gets_its_block_and_keeps_the_rest(tmp_path: Path, results: document.Document) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.rewrite(readme, results)
    text = readme.read_text()
    assert text.startswith(f"before\n{report.BEGIN}\n")
    assert text.endswith(f"\n{report.END}\nafter\n")
    assert "old" not in text
    assert "| digits-mlp, 1 thread | 2.00 | 3.00 | 2.00 | 2.00 |  |  |" in text
    assert "| digits-mlp, 1 thread: attached / tutorial >= 2 | 2.00 | met |" in text


def test_a_readme_without_marks_is_refused(tmp_path: Path, results: document.Document) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before")
    with pytest.raises(ValueError, match="marks"):
        report.rewrite(readme, results)
    assert readme.read_text() == "before"

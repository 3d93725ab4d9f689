"""Out of memory: the run fails, names the key to lower, changes nothing itself, and can be resumed."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.fault_runs import Runs
from torchconsole.engine.config.loading import read_preset

Tally = Callable[[str], None]


def test_too_large_a_batch_is_reported_before_the_first_step(runs: Runs, tally: Tally) -> None:
    folder = runs.make(f"model.name={runs.subject}:Hungry", "model.mebibytes=64")
    reason = runs.fail(folder, memory=300)
    assert "out of memory: can't allocate memory: you tried to allocate 536870912 bytes" in reason
    assert "lower data.batch_size (now 8)" in reason
    assert folder.load_record().status == "failed"
    assert read_preset(folder.preset_file).data.batch_size == 8
    tally("out of memory in the first batch: the key to lower is named")


def test_a_run_that_ran_out_of_memory_can_be_resumed(runs: Runs, tally: Tally) -> None:
    """It resumes from the last checkpoint, which was saved before the evaluation that failed."""
    # A step needs far less than an evaluation: threads take some of the limit, how much depends on the heap.
    sizes = "model.mebibytes=16", "data.batch_size=4", "data.eval_batch_size=24"
    overrides = (f"model.name={runs.subject}:Hungry", *sizes)
    folder = runs.make(*overrides)
    assert "data.eval_batch_size if this was an evaluation" in runs.fail(folder, memory=380)
    assert folder.load_record().step == 12
    runs.change(folder, "data.eval_batch_size=4")
    assert runs.resume(folder) == runs.finish(runs.make(*overrides, "data.eval_batch_size=4"))
    tally("out of memory in an evaluation: resumed with a smaller batch")

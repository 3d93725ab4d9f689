"""What is said instead of resuming, evaluating or exporting a run of a program of the user's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.fake_checkpoints import fake_checkpoint
from tests.support.runs import make_folder
from torchconsole.engine.config.script import Script, write_script
from torchconsole.engine.errors import RunError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.names import MANIFEST_FILE
from torchconsole.engine.run.own_programs import note_program
from torchconsole.engine.run.script_runs import refuse_script, resume_advice


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run of train.py."""
    run = make_folder(tmp_path / "runs", status="stopped")
    write_script(Script(file=str(tmp_path / "train.py"), folder=str(tmp_path)), run.preset_file)
    return run


def lightning_checkpoint(run: RunFolder) -> str:
    """Make a checkpoint of Lightning; return the line that resumes from it."""
    folder = fake_checkpoint(run, 5)
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    described = {"made_by": "Lightning", "resume": "fit(PATH)"}
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest | described))
    return f"fit('{folder / 'state.pt'}')"


def test_a_program_that_is_gone_cannot_be_resumed(run: RunFolder) -> None:
    note_program(run, ["model"], "")
    with pytest.raises(RunError, match=r"train\.py does not exist"):
        refuse_script(run, "resume")


def test_a_program_that_keeps_its_state_is_resumed(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "train.py").touch()
    note_program(run, ["model"], "")
    assert resume_advice(run) == ""
    refuse_script(run, "resume")


def test_one_that_says_nothing_cannot_be(run: RunFolder, tmp_path: Path) -> None:
    fake_checkpoint(run, 5)
    again = f"torchconsole run --cwd={tmp_path} {tmp_path}/train.py"
    assert resume_advice(run) == (
        f"it cannot be resumed: its program does not say what its state is; to run it again: {again}"
    )


def test_one_that_several_processes_have_run_can_be_too(run: RunFolder, tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.touch()
    write_script(Script(file=str(file), folder=str(tmp_path), processes=2), run.preset_file)
    with pytest.raises(RunError, match="--nproc=2"):
        refuse_script(run, "resume")
    note_program(run, ["model"], "")
    assert resume_advice(run) == ""
    refuse_script(run, "resume")


def test_a_framework_resumes_from_its_own_checkpoint(run: RunFolder) -> None:
    line = lightning_checkpoint(run)
    assert resume_advice(run) == f"its program can resume from the newest checkpoint: {line}"
    with pytest.raises(RunError) as raised:
        refuse_script(run, "resume")
    assert str(raised.value).endswith(
        f"one of Lightning, from which only its program (train.py) can resume: {line}"
    )


def test_a_checkpoint_of_a_framework_is_not_exported(run: RunFolder) -> None:
    line = lightning_checkpoint(run)
    with pytest.raises(RunError, match="its newest checkpoint is one of Lightning") as raised:
        refuse_script(run, "export")
    assert line in str(raised.value)


def test_what_evaluates_a_program_is_named(run: RunFolder) -> None:
    with pytest.raises(RunError, match=f"the key e and `torchconsole send {run.name} eval` call"):
        refuse_script(run, "evaluate")


def test_no_file_is_named_that_is_not_there(run: RunFolder) -> None:
    with pytest.raises(RunError, match=r"it has no checkpoint$"):
        refuse_script(run, "export")
    fake_checkpoint(run, 5, links=("last",))
    with pytest.raises(RunError) as raised:
        refuse_script(run, "export")
    assert repr(str(run.checkpoints / "last" / "state.pt")) in str(raised.value)
    with pytest.raises(RunError, match="give that file to --from"):
        refuse_script(run, "take the weights of")

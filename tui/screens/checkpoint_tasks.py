"""What the console does with a checkpoint: resume, branch, evaluate, export and delete, with questions."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from textual.message import Message

from torchconsole.engine.errors import TorchconsoleError
from torchconsole.engine.run.folder import RunFolder
from torchconsole.engine.run.names import STATE_FILE
from torchconsole.engine.text import printable, printable_lines
from torchconsole.tui.formatting import format_bytes, format_named_metric
from torchconsole.tui.screens.dialogs import Choice, ChoiceScreen

if TYPE_CHECKING:
    from textual.worker import Worker

    from torchconsole.engine.run.checkpoints import CheckpointInfo
    from torchconsole.tui.state import ConsoleState
    from torchconsole.tui.widgets.checkpoints_pane import CheckpointsPane

MOST_METRICS = 8
RESULT_SECONDS = 30

Program = Literal["", "own", "watched"]
"""A program of the user's own that has made a run: one that keeps its state, or one that is only watched."""


@dataclass
class StartFromCheckpoint(Message):
    """The user wants to train on from a checkpoint; with `changes` the form asks for settings first."""

    folder: Path
    checkpoint: Path
    changes: bool


class CheckpointScreen(ChoiceScreen):
    """Offers what can be done with a checkpoint. Returns an action or None."""

    def __init__(
        self, info: CheckpointInfo, *, is_newest: bool, is_live: bool, program: Program = ""
    ) -> None:
        resumes = is_newest and not is_live
        choices = [
            Choice(("r",), "resume", "resume the run from it" if resumes else "resume from it, as a new run"),
            Choice(("b",), "branch", "branch: a new run with other settings"),
            Choice(("e",), "evaluate", "evaluate it on the validation data"),
            Choice(("x",), "export", "export its weights to a file"),
        ]
        explanation = f"epoch {info.epoch}, {format_bytes(info.bytes or 0)}" if info.epoch is not None else ""
        if program == "own":
            choices = [choices[0], Choice(("b",), "branch", "branch: a new run with other arguments")]
        elif program == "watched":
            choices = []
            explanation += (
                ".\n\nOnly the program knows its data and model, so that only it can use this checkpoint:\n"
                f"torch.load({str(Path(info.path) / STATE_FILE)!r}, weights_only=True)"
            )
        if info.made_by:
            choices = []
            explanation = f"A checkpoint of {printable(info.made_by)}. {explanation}"
            if info.resume:
                explanation += f"\n\nTo resume from it:\n{printable(info.resume)}"
        if info.problem:
            choices, explanation = [], f"It is damaged: {printable(info.problem)}"
        delete = Choice(("D", "delete"), "delete", "delete it; asks first")
        super().__init__(f"Checkpoint of step {info.step:,}", explanation, [*choices, delete])


class DeleteCheckpointScreen(ChoiceScreen):
    """Asks before a checkpoint is deleted. Returns `delete` or None."""

    def __init__(self, name: str, question: str) -> None:
        super().__init__(
            f"Delete {printable(name)}?",
            f"{printable(question)}\n\nThis cannot be undone.",
            [Choice(("y",), "delete", "delete the checkpoint")],
        )


class CheckpointTasks:
    """Asks what has to be asked, and does the work in another thread or process."""

    def __init__(self, pane: CheckpointsPane) -> None:
        self._pane = pane

    def offer(self, state: ConsoleState, info: CheckpointInfo) -> None:
        """Ask what to do with a checkpoint, and do it."""
        _: Worker[None] = self._pane.run_worker(partial(self._offer, state, info), group="checkpoint tasks")

    def delete(self, state: ConsoleState, info: CheckpointInfo) -> None:
        """Ask, then delete a checkpoint."""
        _: Worker[None] = self._pane.run_worker(partial(self._delete, state, info), group="checkpoint tasks")

    async def _offer(self, state: ConsoleState, info: CheckpointInfo) -> None:
        run = state.run
        is_newest = info.step == max(row.step for row in self._pane.rows() if row.abandoned == info.abandoned)
        is_newest = is_newest and not info.abandoned  # a new run continues the way that the run has left
        folder, checkpoint = Path(run.folder), Path(info.path)
        program = await asyncio.to_thread(_program, RunFolder(folder)) if state.is_program else ""
        question = CheckpointScreen(info, is_newest=is_newest, is_live=run.is_live, program=program)
        choice = await self._pane.app.push_screen_wait(question)
        if choice in ("resume", "branch"):
            self._pane.post_message(StartFromCheckpoint(folder, checkpoint, changes=choice == "branch"))
        elif choice == "delete":
            await self._delete(state, info)
        elif choice in ("evaluate", "export"):
            await self._report(RunFolder(folder), info, "evaluate" if choice == "evaluate" else "export")

    async def _delete(self, state: ConsoleState, info: CheckpointInfo) -> None:
        from torchconsole.engine.run.checkpoint_deletion import delete_checkpoint, deletion_question

        folder = RunFolder(Path(state.run.folder))
        if state.run.is_live and state.read_only:
            state.say(f"cannot delete a checkpoint: {state.read_only}", "attn")
            return
        try:
            question = await asyncio.to_thread(deletion_question, folder, info.name)
            if await self._pane.app.push_screen_wait(DeleteCheckpointScreen(info.name, question)) is None:
                return
            await asyncio.to_thread(delete_checkpoint, folder, info.name)
        except (TorchconsoleError, OSError) as error:
            self._fail("the checkpoint is not deleted", error)
        else:
            state.say(f"deleted {printable(info.name)}", "good")
        self._pane.read_again()

    async def _report(
        self, folder: RunFolder, info: CheckpointInfo, kind: Literal["evaluate", "export"]
    ) -> None:
        from torchconsole.engine.config.loading import read_preset
        from torchconsole.tui import launch
        from torchconsole.tui.screens.preset_dialogs import ask_for_trust

        doing = "evaluating" if kind == "evaluate" else "exporting"
        try:
            if kind == "evaluate":
                preset = await asyncio.to_thread(read_preset, folder.preset_file)
                files = await asyncio.to_thread(launch.untrusted_files, preset)
                if not await ask_for_trust(self._pane.app, files):
                    return
            self._pane.notify(f"{doing} step {info.step:,}...", timeout=5, markup=False)
            text = await (_evaluate(info) if kind == "evaluate" else _export(folder, info))
        except (TorchconsoleError, OSError) as error:
            self._fail(f"{doing} step {info.step:,} failed", error)
        else:
            title = f"step {info.step:,}, {'evaluated' if kind == 'evaluate' else 'exported'}"
            self._pane.notify(printable_lines(text), title=title, timeout=RESULT_SECONDS, markup=False)

    def _fail(self, title: str, reason: object) -> None:
        self._pane.notify(printable_lines(str(reason)), title=title, severity="error", markup=False)


def _program(folder: RunFolder) -> Program:
    """Return whether the program of a run can resume from the run's checkpoints."""
    from torchconsole.engine.run.own_programs import own_program

    return "own" if own_program(folder) else "watched"


async def _evaluate(info: CheckpointInfo) -> str:
    """Evaluate a checkpoint on the validation data, and describe the result."""
    from torchconsole.engine.protocol.model_reports import EvaluationReport
    from torchconsole.tui.launch import report

    found = await report(EvaluationReport, "evaluate", info.path, "val", "auto")
    metrics = {name: value for name, value in found.metrics.items() if name.count("/") < 2}
    lines = [f"{name} {format_named_metric(name, value)}" for name, value in metrics.items()]
    more = [f"and {len(lines) - MOST_METRICS} more"] if len(lines) > MOST_METRICS else []
    return "\n".join([f"{found.samples:,} samples", *lines[:MOST_METRICS], *more])


async def _export(folder: RunFolder, info: CheckpointInfo) -> str:
    """Write the weights of a checkpoint to a file in the current folder, and return its path and size."""
    from torchconsole.engine.protocol.reports import ExportReport
    from torchconsole.tui.launch import report

    output = Path.cwd() / f"{folder.name}-{info.name}.safetensors"
    if await asyncio.to_thread(output.exists):
        raise TorchconsoleError(f"{output} already exists; remove it, or use `torchconsole export`")
    found = await report(ExportReport, "export", info.path, str(output), "safetensors", "auto")
    return f"{found.file}\n{found.tensors:,} tensors, {format_bytes(found.bytes)}"

"""Commands as words on the screen."""

from __future__ import annotations

from torchconsole.engine.protocol.commands import Command, HoldLearningRate, SetLearningRate, UnknownCommand
from torchconsole.engine.protocol.events import CommandApplied
from torchconsole.engine.text import printable
from torchconsole.tui.formatting import format_lr, format_number

_NAMES = {
    "PauseRun": "pause",
    "UnpauseRun": "unpause",
    "ReleaseLearningRate": "release",
    "SaveCheckpoint": "save",
    "RunEvaluation": "evaluate",
    "StopRun": "stop",
    "ChangePreset": "change the preset",
}


def command_name(command: Command | UnknownCommand) -> str:
    """What a command is called on screen: `pause`, `lr 0.01`, `lr x0.5`."""
    if isinstance(command, SetLearningRate):
        if command.value is not None:
            return f"lr {format_lr(command.value)}"
        return f"lr x{format_number(command.factor or 1.0)}"
    if isinstance(command, HoldLearningRate):
        return "hold" if command.value is None else f"hold {format_lr(command.value)}"
    return _NAMES.get(command.type) or printable(command.type)


def effect(applied: CommandApplied) -> str:
    """What became of a command in the engine's words, or its name where the engine says no more."""
    return printable(applied.detail) or command_name(applied.command)

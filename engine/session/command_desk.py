"""Takes commands in: each is queued once, and its answer is kept for whoever asks again."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from torchconsole.engine.protocol.commands import Command
from torchconsole.engine.protocol.events import CommandAccepted, CommandApplied, CommandRejected, Event
from torchconsole.engine.protocol.messages import CommandRequest

REMEMBERED = 300
"""Answers kept, the newest: who sends a command again does so as soon as the connection is back."""

Answer = CommandAccepted | CommandApplied | CommandRejected


class CommandSink(Protocol):
    """Where accepted commands go: the training thread fetches them there."""

    def put(self, id: str, command: Command, by: str) -> None:
        """Hand in a command. Called in the server's thread; must not wait."""


class CommandDesk:
    """Knows of each command whether it waits, was applied or was rejected."""

    def __init__(self, sink: CommandSink) -> None:
        self._sink = sink
        self._answers: OrderedDict[str, Answer] = OrderedDict()

    def answer_to(self, id: str) -> Answer | None:
        """The latest answer to a command already taken in; None for a new one."""
        return self._answers.get(id)

    def accept(self, request: CommandRequest, by: str) -> CommandAccepted:
        """Put a new command into the queue; returns the answer."""
        accepted = CommandAccepted(id=request.id)
        self._answers[request.id] = accepted
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        self._sink.put(request.id, request.command, by)
        return accepted

    def settle(self, event: Event) -> None:
        """Note what the training made of a command."""
        if isinstance(event, CommandApplied | CommandRejected) and event.id in self._answers:
            self._answers[event.id] = event

    def unsettled(self) -> list[str]:
        """The ids of commands that the training has not answered yet, oldest first."""
        return [id for id, answer in self._answers.items() if isinstance(answer, CommandAccepted)]

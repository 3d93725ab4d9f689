"""The state of a scheduler as a checkpoint may hold it, with the generators and objects of user code."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import lr_scheduler

from torchconsole.engine.components.object_walk import Member
from torchconsole.engine.components.own_state import load, pieces, save
from torchconsole.engine.components.plain_state import NotPlainError, copied, decode, encode, is_same

CALLABLES = "lr_lambdas"
"""Entry of a state dict with the attributes of the objects that compute an lr."""


class SchedulerState:
    """Saves and restores a scheduler; `section` is its section in the preset."""

    def __init__(self, section: str, scheduler: lr_scheduler.LRScheduler) -> None:
        self._scheduler = scheduler
        self._roots: dict[str, object] = {section: scheduler}
        self._covered = self._find_covered(section)
        self._initial = {
            piece.member.path: state
            for piece in pieces(self._roots, self._is_inside)
            if piece.kind == "value" and (state := _plain_copy(piece.member.value)) is not None
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the scheduler's own state dict, and what else it keeps and has changed."""
        return {"scheduler": self._plain(), "own": save(self._roots, self._has_changed)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._scheduler.load_state_dict(decode(state["scheduler"]))
        load(self._roots, state["own"], torch.device("cpu"))

    def _plain(self) -> dict[str, Any]:
        """Return what a checkpoint may hold of the scheduler's own state dict."""
        plain: dict[str, Any] = {}
        for key, value in self._scheduler.state_dict().items():
            try:
                plain[key] = [_attributes(each) for each in value] if key == CALLABLES else encode(value)
            except NotPlainError:
                continue
        return plain

    def _find_covered(self, section: str) -> tuple[str, ...]:
        """Return the beginnings of the paths in the lists and dicts that the scheduler's state dict has."""
        keys = self._plain().keys() - {CALLABLES}
        return tuple(f"{section}.{key}{separator}" for key in keys for separator in ".[")

    def _is_inside(self, member: Member) -> bool:
        """Whether an object that the scheduler keeps has a value, and not the scheduler's own state dict."""
        return member.owner is not self._scheduler and not member.path.startswith(self._covered)

    def _has_changed(self, member: Member) -> bool:
        now = _plain_copy(member.value)
        return self._is_inside(member) and not is_same(self._initial.get(member.path), now)


def _plain_copy(value: Any) -> Any:
    try:
        return copied(encode(value))
    except NotPlainError:
        return None


def _attributes(attributes: Any) -> Any:
    """Return those attributes of an object that a checkpoint may hold."""
    if not isinstance(attributes, dict):
        return None
    return {key: plain for key, value in attributes.items() if (plain := _plain_copy(value)) is not None}

"""What the state of a run takes over from a changed setting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torchconsole.engine.protocol.run_state import RunState


def change_setting(state: RunState, result: dict[str, Any]) -> None:
    """Apply the result of a `ChangeSetting`: `after` is the value of `key` now; None if it is not set."""
    key, after = result.get("key"), result.get("after")
    if not isinstance(key, str):
        return
    state.config = _with_value(state.config, key.split("."), after)
    if key == "title" and isinstance(after, str):
        state.title = after
    if key == "early_stopping" and after is None:
        state.early_stopping = None


def _with_value(content: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    """Return a copy of plain content with a value at a path. A snapshot may share the content."""
    first, *rest = path
    if rest:
        inner = content.get(first)
        value = _with_value(inner if isinstance(inner, dict) else {}, rest, value)
    if value is None:
        return {name: inner for name, inner in content.items() if name != first}
    return {**content, first: value}

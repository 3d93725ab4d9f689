"""What of a run people want to be told when they are not looking, and the sentence that tells it."""

from __future__ import annotations

from typing import Literal

Happening = Literal["finished", "stopped", "failed", "diverged", "lost", "interrupted", "best", "test"]

NOT_FINITE = ("was not finite", "were not finite")
"""The reason of a run that has diverged contains one of these."""

LEAST_SECONDS = 600.0
"""Seconds from one message about a new best to the next; a run may have one in every epoch."""


def happening_of(status: str, reason: str) -> Happening | None:
    """Return what has happened to a run with this status; None while it is live."""
    match status:
        case "failed":
            return "diverged" if any(words in reason for words in NOT_FINITE) else "failed"
        case "finished" | "stopped" | "lost" | "interrupted":
            return status
    return None


def describe(happening: Happening, name: str, step: int, reason: str = "", best: str = "") -> str:
    """Return one line such as `run NAME finished after step 1,380; best val/loss 0.12 at step 900`.

    `best` has metric, value and step, if there are any.
    """
    if happening == "best":
        return f"run {name} has a new best {best}"
    verb = {"diverged": "has diverged", "test": "is only an example, of `torchconsole notify --test`"}
    parts = [f"run {name} {verb.get(happening, happening)}"]
    parts[0] += f" after step {step:,}" if happening != "test" else ""
    parts += [" ".join(reason.split()), f"best {best}" if best else ""]
    return "; ".join(part for part in parts if part)

"""Why a process of ours failed, as far as its exit status and its standard error tell."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from torchconsole.engine.crash_report import keep, where_kept
from torchconsole.engine.files import working_folder_exists
from torchconsole.engine.run.memory_kills import describe_exit
from torchconsole.engine.system_limits import explain_limit


def failure_reason(status: int, errors: Sequence[str], before: Mapping[str, int]) -> str:
    """Return why a process of ours failed, from its exit status and the lines that it wrote to stderr.

    Keeps a traceback among these in a file, and names it.
    """
    if not working_folder_exists():
        return "the working folder was removed; change to another folder"
    if status < 0 or not errors:
        return describe_exit(status, before)
    if limit := explain_limit(errors[-1]):
        return limit
    reason = errors[-1]
    if not any(line.startswith("Traceback ") for line in errors):
        return reason
    return f"{reason}; {where_kept(keep(os.linesep.join(errors)))}"

"""Notices that a run which has ended goes on again: another console, or a command, may have resumed it."""

from __future__ import annotations

import asyncio

from torchconsole.engine.errors import RunError
from torchconsole.engine.run.folder import RunFolder

LOOK_SECONDS = 2.0


async def wait_until_live(folder: RunFolder) -> bool:
    """Look at a run that has ended every LOOK_SECONDS, beside the loop, until it is live again.

    False where there is no point in looking: the run was another machine's, or its folder is gone.
    """
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            record = await asyncio.to_thread(folder.read_record)
        except RunError:
            return False
        if record.is_live or not record.is_here:
            return record.is_live

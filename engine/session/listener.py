"""Keeps a run's socket in its place: deleted, or its folder with it, it is made anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from torchconsole.engine.errors import RunError
from torchconsole.engine.protocol.messages import CLIENT_LINE_LIMIT
from torchconsole.engine.run.sockets import listen

CHECK_SECONDS = 2.0

Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]


class Listener:
    """Listens at an address. Clients that are connected do not notice when the socket is made anew."""

    def __init__(self, address: Path, accept: Accept) -> None:
        self._address = address
        self._accept = accept
        self._server: asyncio.Server | None = None
        self._inode: int | None = None

    async def open(self) -> None:
        """Listen. Raises RunError when the socket cannot be made."""
        listening = listen(self._address)
        self._inode = self._inode_there()
        replaced = self._server
        self._server = await asyncio.start_unix_server(self._accept, sock=listening, limit=CLIENT_LINE_LIMIT)
        if replaced:
            replaced.close()

    async def keep(self, complain: Callable[[str], None]) -> None:
        """Watch over the socket for ever. What prevents a new one is said once."""
        trouble = ""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            if self._inode_there() == self._inode:
                continue
            try:
                await self.open()
                trouble = ""
            except RunError as error:
                if str(error) != trouble:
                    trouble = str(error)
                    complain(trouble)

    def close(self) -> None:
        """Listen no more, and leave nothing behind."""
        if self._server:
            self._server.close()
            if self._inode_there() == self._inode:
                self._address.unlink()

    def _inode_there(self) -> int | None:
        try:
            return self._address.lstat().st_ino
        except OSError:
            return None
